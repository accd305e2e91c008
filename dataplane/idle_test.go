package dataplane

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"

	"github.com/bpfwall/bpfwall/ruleset"
)

// chainOf is a base chain, with one rule if there are matches.
func chainOf(h ruleset.Hook, policy ruleset.VerdictKind, m ...ruleset.Match) *ruleset.Chain {
	c := &ruleset.Chain{Name: h.String(), Hook: h, Policy: policy}
	if len(m) > 0 {
		c.Rules = []*ruleset.Rule{{Name: "one", Matches: m, Verdict: ruleset.Verdict{Kind: ruleset.Drop}}}
	}
	return c
}

func rulesOf(chains ...*ruleset.Chain) *ruleset.Ruleset { return &ruleset.Ruleset{Chains: chains} }

// outputRules drops what the host answers from all but one TCP port.
func outputRules(port uint64) *ruleset.Ruleset {
	r := allowPort(port)
	r.Matches[1].Field = ruleset.FieldSrcPort
	return rulesOf(&ruleset.Chain{Name: "output", Hook: ruleset.HookOutput, Policy: ruleset.Drop, Rules: []*ruleset.Rule{r}})
}

// TestReasons: what each hook of tc is attached for, by ruleset and host.
func TestReasons(t *testing.T) {
	port := ruleset.Match{Field: ruleset.FieldDstPort, Ranges: []ruleset.Range{{From: 9, To: 9}}}
	state := ruleset.Match{Field: ruleset.FieldState, Masked: []ruleset.Masked{{Value: ruleset.StateNew, Mask: ruleset.StateNew}}}
	mac := ruleset.Match{Field: ruleset.FieldSrcMAC, Ranges: []ruleset.Range{{From: 9, To: 9}}}
	logs := chainOf(ruleset.HookForward, ruleset.Accept, port)
	logs.Rules[0].Statements = []ruleset.Statement{{Log: &ruleset.Log{}}}
	in, out, forward := ruleset.HookInput, ruleset.HookOutput, ruleset.HookForward
	accepts := []*ruleset.Chain{chainOf(in, ruleset.Accept), chainOf(forward, ruleset.Accept), chainOf(out, ruleset.Accept),
		chainOf(ruleset.HookPrerouting, ruleset.Accept), chainOf(ruleset.HookRawOutput, ruleset.Accept)}
	fragments := []string{"forwarded IPv6 fragments, which the kernel puts together"}
	for _, c := range []struct {
		name            string
		rs              *ruleset.Ruleset
		host            task
		ingress, egress []string
	}{
		{"no chain", rulesOf(), task{}, nil, nil},
		{"chains that accept", rulesOf(accepts...), task{}, nil, nil},
		{"what only listens", rulesOf(chainOf(ruleset.HookListen, ruleset.Accept, port)), task{}, nil, nil},
		{"input", rulesOf(append(accepts, chainOf(in, ruleset.Accept, port))...), task{}, []string{"input rules"}, nil},
		{"input's policy", rulesOf(chainOf(in, ruleset.Drop), chainOf(forward, ruleset.Accept)), task{}, []string{"input rules"}, nil},
		{"forward", rulesOf(append(accepts, chainOf(forward, ruleset.Accept, port))...), task{}, nil, []string{"forward rules"}},
		{"forward's policy", rulesOf(chainOf(forward, ruleset.Drop)), task{}, nil, []string{"forward rules"}},
		{"output", rulesOf(chainOf(out, ruleset.Accept, port)), task{}, nil, []string{"output rules"}},
		{"raw output", rulesOf(chainOf(ruleset.HookRawOutput, ruleset.Accept, port)), task{}, nil, []string{"output rules"}},
		{"prerouting", rulesOf(chainOf(ruleset.HookPrerouting, ruleset.Accept, port)), task{}, []string{"prerouting rules"}, nil},
		{"state of what is forwarded", rulesOf(chainOf(forward, ruleset.Accept, state)), task{defrag: true},
			[]string{"connection tracking", "fragments, which netfilter's hooks judge"},
			[]string{"forward rules", "connection tracking", "fragments, which netfilter's hooks judge"}},
		{"flows of a source", &ruleset.Ruleset{Conntrack: &ruleset.Conntrack{PerSource: 1}}, task{}, []string{"connection tracking"}, []string{"connection tracking"}},
		{"nothing beside NAT", rulesOf(), task{nat: true}, []string{"the kernel's NAT"}, []string{"the kernel's NAT"}},
		{"MACs of what is forwarded", rulesOf(chainOf(forward, ruleset.Accept, mac)), task{}, []string{"source MACs of forwarded packets"}, []string{"forward rules"}},
		{"logs of what is forwarded", rulesOf(logs), task{}, []string{"source MACs of forwarded packets"}, []string{"forward rules"}},
		{"an old kernel", rulesOf(chainOf(forward, ruleset.Drop)), task{old: true}, []string{"a kernel before Linux 6.2"}, []string{"forward rules"}},
		{"an old kernel, input", rulesOf(chainOf(in, ruleset.Drop)), task{old: true}, []string{"input rules"}, nil},
		{"the kernel defragments, forward", rulesOf(chainOf(forward, ruleset.Drop)), task{reassembles: true}, fragments, []string{"forward rules"}},
		{"the kernel defragments, output", rulesOf(chainOf(out, ruleset.Drop)), task{reassembles: true}, fragments, []string{"output rules"}},
		{"the kernel defragments, input", rulesOf(chainOf(in, ruleset.Drop)), task{reassembles: true}, []string{"input rules"}, nil},
	} {
		c.host.Ruleset, c.host.used = c.rs, c.rs.Used()
		if diff := cmp.Diff([][]string{c.ingress, c.egress}, [][]string{c.host.reasons(ingress), c.host.reasons(egress)}); diff != "" {
			t.Errorf("%s: %s", c.name, diff)
		}
	}
}

// isOpen reports whether a port is open, or closed, as it should be. A busy machine may keep an open one waiting.
func (w *world) isOpen(port int, want bool) bool {
	for range 10 {
		if w.reaches(port) == want {
			return true
		}
		if !want {
			return false
		}
	}
	return false
}

// attachedHooks are the hooks of veth0 that have a dispatcher.
func (w *world) attachedHooks() (dirs []string) {
	w.tb.Helper()
	w.in(w.host, func() error {
		l, err := netlink.LinkByName("veth0")
		if err != nil {
			return err
		}
		modes, err := w.open().modes()
		for h := range modes {
			if h.ifindex == l.Attrs().Index {
				dirs = append(dirs, string(h.dir))
			}
		}
		return err
	})
	slices.Sort(dirs)
	return dirs
}

// TestIdleHooks: hooks without work have no program, whatever was in force before, and get one when there is work.
func TestIdleHooks(t *testing.T) {
	if !canCast() {
		t.Skip("before Linux 6.2 ingress has work wherever egress judges")
	}
	for _, mode := range hookModes() {
		w := newWorld(t)
		w.serve(80)
		w.serve(81)
		d := w.open()
		check := func(what string, reaches80, reaches81 bool, hooks ...string) {
			t.Helper()
			if diff := cmp.Diff(hooks, w.attachedHooks()); diff != "" {
				t.Errorf("%s, %s: %s", mode, what, diff)
			}
			if !w.isOpen(80, reaches80) || !w.isOpen(81, reaches81) {
				t.Errorf("%s, %s: want port 80 open: %t, 81: %t", mode, what, reaches80, reaches81)
			}
			w.whole()
			s, err := d.Status()
			must(t, err)
			if len(s.Warnings) > 0 || len(s.Idle)+len(hooks) != 2 {
				t.Errorf("%s, %s: idle %q, warnings %q", mode, what, s.Idle, s.Warnings)
			}
		}
		opts := Options{Mode: mode}
		w.apply(onlyInput(80), opts)
		check("input", true, false, "ingress")
		w.apply(outputRules(81), opts)
		check("output", false, true, "egress")
		_, err := d.Rollback(context.Background(), Meta{})
		must(t, err)
		check("rolled back", true, false, "ingress")
		_, err = d.Rollback(context.Background(), Meta{})
		must(t, err)
		check("back again", false, true, "egress")
		w.apply(inputRules(80), opts)
		check("both", true, false, "egress", "ingress")
		res := w.apply(rulesOf(chainOf(ruleset.HookInput, ruleset.Accept)), opts)
		if len(res.Hooks) != 0 {
			t.Errorf("hooks: %+v", res.Hooks)
		}
		check("nothing", true, true)
		w.apply(outputRules(80), opts)
		w.in(w.host, func() error {
			return netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "new0"}, PeerName: "new1"})
		})
		res, err = d.Refresh(context.Background())
		must(t, err)
		if len(res.Hooks) != 4 { // egress of lo, veth0, new0 and new1
			t.Errorf("%s: %d hooks after the refresh", mode, len(res.Hooks))
		}
		check("refreshed", true, false, "egress")
		w.disable()
		if got := w.attachedHooks(); got != nil {
			t.Errorf("%s: attached after disable: %q", mode, got)
		}
	}
}

// TestKilledBetweenHooks kills a process in front of every step of a change from rules at one hook of tc to rules at the other, and of the rollback.
func TestKilledBetweenHooks(t *testing.T) {
	w := newWorld(t)
	w.serve(80)
	w.serve(81)
	for how, steps := range map[string][]step{"out81": applySteps, "back": rollbackSteps} {
		for _, s := range steps {
			w.apply(outputRules(81), Options{})
			w.apply(onlyInput(80), Options{})
			_ = w.spawn(how, s.name).Wait()
			flipped := s.name == "retire"
			if !w.isOpen(80, !flipped) || !w.isOpen(81, flipped) {
				t.Errorf("%s, killed before %q: want port 80 open: %t, 81: %t; now %t, %t", how, s.name, !flipped, flipped, w.reaches(80), w.reaches(81))
			}
			w.apply(onlyInput(80), Options{})
			w.whole()
			if diff := cmp.Diff([]string{"ingress"}, w.attachedHooks()); diff != "" {
				t.Errorf("%s, killed before %q: %s", how, s.name, diff)
			}
		}
	}
}

// TestIdleIsFailClosed: at a hook that is attached and has no program nothing passes, as ever; the idle one has a program while it is attached.
func TestIdleIsFailClosed(t *testing.T) {
	w := newWorld(t)
	w.serve(80)
	w.apply(onlyInput(80), Options{})
	d := w.open()
	for name := range slotMaps {
		if name != "progs_ingress" && name != "progs_egress" {
			continue
		}
		m, err := d.openPinned(name)
		must(t, err)
		var id uint32
		if err := m.Lookup(uint32(1), &id); err != nil || id == 0 {
			t.Errorf("%s of generation 1: %d, %v: want a program in both", name, id, err)
		}
		_ = m.Close()
	}
}

// TestIdlePolicies: what policies accept where nothing is attached is not counted, and the list says so.
func TestIdlePolicies(t *testing.T) {
	w := newWorld(t)
	w.serve(80)
	rs := outputRules(80)
	rs.Chains = append(rs.Chains, chainOf(ruleset.HookInput, ruleset.Accept), chainOf(ruleset.HookForward, ruleset.Accept), chainOf(ruleset.HookPrerouting, ruleset.Accept))
	w.apply(rs, Options{})
	if !w.isOpen(80, true) {
		t.Fatal("closed")
	}
	all, err := w.open().Counters()
	must(t, err)
	var got []string
	for _, c := range all {
		if c.Rule == nil {
			got = append(got, fmt.Sprintf("%s idle %t packets %t", c.ID, c.Idle, c.Packets > 0))
		}
	}
	want := []string{"output#policy idle false packets false", "input#policy idle true packets false", "forward#policy idle false packets false",
		"prerouting#policy idle true packets false"}
	got[0] = strings.Replace(got[0], "packets true", "packets false", 1) // whatever else the host sends
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestPlannedHooks: plan says what apply does.
func TestPlannedHooks(t *testing.T) {
	w := newWorld(t)
	d := w.open()
	for _, rs := range []*ruleset.Ruleset{rulesOf(), onlyInput(80), outputRules(80), inputRules(80), statefulRules()} {
		uses, err := d.Uses(rs)
		must(t, err)
		var planned []string
		for _, u := range uses {
			if len(u.For) > 0 {
				planned = append(planned, u.Direction)
			}
		}
		slices.Sort(planned)
		w.apply(rs, Options{})
		if diff := cmp.Diff(planned, w.attachedHooks()); diff != "" {
			t.Error(diff)
		}
	}
}

// TestLinksOfIdleHooks: their pins go too.
func TestLinksOfIdleHooks(t *testing.T) {
	w := newWorld(t)
	w.apply(inputRules(80), Options{})
	w.apply(onlyInput(80), Options{})
	pins, _ := os.ReadDir(w.open().at.links)
	for _, p := range pins {
		if strings.HasSuffix(p.Name(), string(egress)) {
			t.Errorf("left over: %s", filepath.Join("links", p.Name()))
		}
	}
}
