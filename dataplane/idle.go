package dataplane

import (
	"fmt"
	"slices"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"

	"github.com/bpfwall/bpfwall/bpf"
	"github.com/bpfwall/bpfwall/ruleset"
)

// task is a ruleset, and what of the host says which hooks of tc have to do with it.
type task struct {
	*ruleset.Ruleset
	used        ruleset.Used
	nat, defrag bool // of the generation
	old         bool // the kernel does not let programs read what it has of a packet
	reassembles bool // it puts together fragments of IPv6 packets that it forwards
}

// reason is why a generation is attached at hooks of tc.
type reason struct {
	text string
	at   []direction
	of   func(task) bool
}

// reasons are all of them. A hook without one is idle: nothing is attached there, so that no packet pays for it. The generation's program
// for it lets everything pass, should the hook be attached because another one has work there.
var reasons = []reason{
	{"prerouting rules", incoming, deciding(ruleset.HookPrerouting)},
	{"input rules", incoming, deciding(ruleset.HookInput)},
	{"forward rules", outgoing, deciding(ruleset.HookForward)},
	{"output rules", outgoing, deciding(ruleset.HookRawOutput, ruleset.HookOutput)},
	{"connection tracking", both, func(t task) bool { return t.used.Tracks(t.Conntrack) }},
	{"the kernel's NAT", both, func(t task) bool { return t.nat }},
	{"fragments, which netfilter's hooks judge", both, func(t task) bool { return t.defrag }},
	{"source MACs of forwarded packets", incoming, func(t task) bool { return (t.used.Has(ruleset.FieldSrcMAC) || t.Logs()) && t.AsksForwardedMAC() }},
	// What egress cannot tell by itself is whether this host has made a fragment of IPv6, or forwards it (unmarked in bpf/frag.h).
	{"a kernel before Linux 6.2", incoming, func(t task) bool { return t.old && t.leaves() }},
	{"forwarded IPv6 fragments, which the kernel puts together", incoming, func(t task) bool { return t.reassembles && t.leaves() }},
}

var incoming, outgoing, both = []direction{ingress}, []direction{egress}, []direction{ingress, egress}

func deciding(hooks ...ruleset.Hook) func(task) bool {
	return func(t task) bool { return slices.ContainsFunc(hooks, t.Decides) }
}

// leaves reports whether egress judges anything.
func (t task) leaves() bool {
	return deciding(ruleset.HookForward, ruleset.HookRawOutput, ruleset.HookOutput)(t)
}

// reasons are those that hold at a hook, as texts.
func (t task) reasons(at direction) (why []string) {
	for _, r := range reasons {
		if slices.Contains(r.at, at) && r.of(t) {
			why = append(why, r.text)
		}
	}
	return why
}

// idle reports whether none holds.
func (t task) idle(at direction) bool {
	return !slices.ContainsFunc(reasons, func(r reason) bool { return slices.Contains(r.at, at) && r.of(t) })
}

// task is the generation's on this host.
func (d *Dataplane) task(rs *ruleset.Ruleset, used ruleset.Used, nat, defrag bool) task {
	t := task{Ruleset: rs, used: used, nat: nat, defrag: defrag, old: !canCast()}
	if t.leaves() && t.idle(ingress) { // else it does not matter
		t.reassembles = d.reassembles()
	}
	return t
}

// chooseHooks finds out where the next generation has nothing to decide.
func (t *transaction) chooseHooks() error {
	task := t.d.task(t.rs, t.uses(), t.next.NAT, t.next.Defrag)
	for _, dir := range both {
		if task.idle(dir) {
			t.next.Idle = append(t.next.Idle, string(dir))
		}
	}
	return nil
}

// idle reports whether a generation has nothing to decide at a hook.
func (g *Generation) idle(dir direction) bool { return slices.Contains(g.Idle, string(dir)) }

// counts reports whether what meets a base chain's policy is counted: not at hooks that have nothing to decide.
func (g *Generation) counts(rs *ruleset.Ruleset, c *ruleset.Chain) bool {
	switch c.Hook {
	case ruleset.HookPrerouting, ruleset.HookRawOutput:
		return rs.Decides(c.Hook) // else the programs leave them out
	case ruleset.HookInput:
		return !g.idle(ingress)
	case ruleset.HookForward, ruleset.HookOutput:
		return !g.idle(egress)
	}
	return true
}

// HookUse is what a hook of tc is attached for; nothing: it is not attached.
type HookUse struct {
	Direction string   `json:"direction"`
	For       []string `json:"for"`
}

// Uses says what tc hooks a ruleset would be attached to on this host, and what for.
func (d *Dataplane) Uses(rs *ruleset.Ruleset) (uses []HookUse, err error) {
	err = d.look(func() error {
		nat, _ := natRules()
		used := rs.Used()
		task := d.task(rs, used, len(nat) > 0, len(nat) == 0 && asksWhole(rs, used))
		for _, dir := range both {
			uses = append(uses, HookUse{string(dir), append([]string{}, task.reasons(dir)...)})
		}
		return nil
	})
	return uses, err
}

// reassembles reports whether the kernel puts together what it forwards of IPv6, for whoever but us, or does not tell.
func (d *Dataplane) reassembles() bool {
	users, err := defragUsers()
	return err != nil || users < 0 || users > d.ownDefragUsers()
}

// defragUsers is for how many the kernel does so, in this network namespace; -1: it does not tell, 0: for nobody, or it forwards no IPv6.
func defragUsers() (int, error) {
	spec, err := bpf.LoadProbe()
	if err != nil {
		return 0, err
	}
	coll, err := load(spec, nil)
	if err != nil {
		return 0, fmt.Errorf("probe of the host: %w", errKernel(err))
	}
	defer coll.Close()
	n, err := coll.Programs["defrag_users"].Run(&ebpf.RunOptions{Data: make([]byte, 64)})
	return int(int32(n)), err
}

// ownDefragUsers is how many of these are links of ours (attachNetfilter), which are there as long as a generation needs them.
func (d *Dataplane) ownDefragUsers() (n int) {
	for _, h := range netfilterHooks {
		l, err := link.LoadPinnedLink(d.at.netfilterPin(h), nil)
		if h.family == link.NetfilterProtoIPv6 && err == nil {
			n++
		}
		if err == nil {
			_ = l.Close()
		}
	}
	return n
}

// missesFragments reports whether the ingress of a generation would not be idle if it were applied now.
func (d *Dataplane) missesFragments(g *Generation) bool {
	return g.idle(ingress) && !g.idle(egress) && d.reassembles()
}

// idleStatus tells when an ingress that is not attached would have something to do by now.
func (d *Dataplane) idleStatus(s *Status) {
	s.Idle = s.Generation.Idle
	if d.missesFragments(s.Generation) {
		s.warn("the kernel has begun to put IPv6 fragments together since the apply (another program tracks connections): those that are forwarded are judged as from an interface without a name; apply again")
	}
}
