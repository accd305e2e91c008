package translator

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/cilium/ebpf"

	"github.com/bpfwall/bpfwall/bpf"
	"github.com/bpfwall/bpfwall/ruleset"
)

// leaveToTC is what the rules return to connect() if they cannot tell yet, as the C has it (LEAVE in bpf/cgroup_connect.c): a reject
// with an answer that there is not.
const leaveToTC = uint32(ruleset.Reject) | 0x3e<<8

// addConnect compiles the rules for what this host sends once more, for the moment when a TCP socket is told to connect, or a UDP socket to
// send to somebody it is not connected to: as far as they can be known to drop or reject the first packet. It does so if any rule asks for sockets; what cannot be compiled is left to tc.
func (o *Output) addConnect(prev Slots) error {
	rs := o.plan.rs
	if !o.plan.asksSender() && !(o.plan.used.Has(ruleset.FieldCgroup) && rs.AsksSenderCgroup()) {
		return nil
	}
	spec, err := bpf.Connect.Spec()
	if err != nil {
		return fmt.Errorf("connect object: %s", err)
	}
	maps.DeleteFunc(spec.Programs, func(name string, _ *ebpf.ProgramSpec) bool { return slices.Contains(listenPrograms, name) })
	obj, err := newObject(spec)
	if err != nil {
		return err
	}
	p, err := connectPlan(rs, prev, obj.limits(), spec.ByteOrder)
	if err != nil {
		o.NoConnect = err.Error()
		return nil
	}
	if !p.refuses() {
		o.NoConnect = "no rule is sure to stop a packet before it is made"
		return nil
	}
	code, err := p.compile(obj, o.at)
	if err == nil {
		err = obj.replace(code)
	}
	if err != nil {
		o.NoConnect = err.Error()
		return nil
	}
	o.Connect, o.connectPlan = spec, p
	return nil
}

// compile writes the functions.
func (p *plan) compile(obj *object, at *layout) ([]*code, error) {
	var out []*code
	for i := 0; i < len(p.functions); i++ { // lookups add to them
		f := p.functions[i]
		insns, err := p.lower(f, at)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.doc, err)
		}
		out = append(out, obj.generated(f.name, f.numbers(), insns))
	}
	return out, nil
}

// connectPlan is the plan of the chains that locally made packets meet, with the steps that connect() can tell. Sets have the names
// that they have in the plan of everything, since those passes do the same there.
func connectPlan(rs *ruleset.Ruleset, prev Slots, l limits, order binary.ByteOrder) (*plan, error) {
	p := newPlan(rs, rs.Used(), prev)
	p.limits, p.engine, p.order, p.atConnect = l, EngineForks, order, true
	for _, pass := range passes {
		if pass.name == "cheap first" {
			p.onlySent()
			for _, b := range p.blocks {
				b.knownAtConnect()
			}
		}
		if err := pass.run(p); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// onlySent keeps the blocks that packets of this host can reach.
func (p *plan) onlySent() {
	keep := map[*block]bool{}
	var visit func(b *block)
	visit = func(b *block) {
		keep[b] = true
		for _, s := range b.steps {
			if s.target != nil && !keep[s.target] {
				visit(s.target)
			}
		}
	}
	for _, b := range p.blocks {
		if h := b.chain.Hook; h == ruleset.HookRawOutput || h == ruleset.HookOutput {
			visit(b)
		}
	}
	p.blocks = slices.DeleteFunc(p.blocks, func(b *block) bool { return !keep[b] })
}

// refuses reports whether any packet may be refused.
func (p *plan) refuses() bool {
	for _, b := range p.blocks {
		if slices.ContainsFunc(b.steps, func(s *step) bool { return s.verb == verbDecide && s.slot != NoRule }) {
			return true
		}
		open := len(b.steps) == 0 || !b.steps[len(b.steps)-1].ends()
		if b.chain.Hook != ruleset.HookNone && b.chain.Policy == ruleset.Drop && open {
			return true
		}
	}
	return false
}

// knownAtConnect makes of a chain's rules what is certain before there is a packet. A rule that may hold, or that would log or change a set, leaves the
// packet to tc, unless it goes on anyway. Only what refuses counts: tc counts all other packets.
func (b *block) knownAtConnect() {
	if b.chain.Policy == ruleset.Accept {
		b.slot = NoRule
	}
	var out []*step
	for _, s := range b.steps {
		if !s.forConnections() {
			continue
		}
		n := len(s.tests)
		s.tests = slices.DeleteFunc(s.tests, func(t *test) bool { return !knownAtConnect(t) })
		speaks := slices.ContainsFunc(s.does, func(a action) bool { return a.SetMark == nil }) // a mark is not known anyway
		s.does = nil
		switch {
		case speaks, len(s.tests) < n && s.verb != verbNext:
			s.verb, s.code, s.target, s.slot = verbDecide, leaveToTC, nil, NoRule
		case s.verb == verbNext:
			continue
		case s.verb != verbDecide || s.code == uint32(ruleset.Accept):
			s.slot = NoRule
		}
		out = append(out, s)
	}
	b.steps = out
}

// forConnections takes out the tests that the first packet of a flow passes by being one, and reports whether one of TCP or UDP can pass
// the others.
func (s *step) forConnections() bool {
	never := false
	s.tests = slices.DeleteFunc(s.tests, func(t *test) bool {
		var holds bool
		switch t.Field {
		case ruleset.FieldState:
			holds = slices.ContainsFunc(t.Masked, func(k ruleset.Masked) bool { return k.Mask&ruleset.StateNew != 0 })
		case ruleset.FieldProto:
			never = never || t.number(protoTCP) == t.Not && t.number(protoUDP) == t.Not
			return false
		default:
			return false
		}
		never = never || holds == t.Not
		return true
	})
	return !never
}

const protoTCP, protoUDP = 6, 17

// tcpFlags is the flags that are the same in every first packet of a connection: ECN takes the other two.
const tcpFlags = 0x3f

// knownAtConnect reports whether connect() and sendmsg() know what a test asks for. The packet is the first of a flow, in state NEW: a SYN, or a
// datagram.
// That it leaves by lo is known of local addresses, and that it does not of others (bpf/cgroup_connect.c).
func knownAtConnect(t *test) bool {
	switch t.Field {
	case ruleset.FieldFamily, ruleset.FieldDstAddr, ruleset.FieldProto, ruleset.FieldDstPort, ruleset.FieldState, ruleset.FieldFragment,
		ruleset.FieldICMPType, ruleset.FieldICMPCode, ruleset.FieldSocket, ruleset.FieldUID, ruleset.FieldGID, ruleset.FieldCgroup:
		return true
	case ruleset.FieldTCPFlags:
		return !slices.ContainsFunc(t.Masked, func(k ruleset.Masked) bool { return k.Mask&^tcpFlags != 0 })
	case ruleset.FieldOutIface:
		return strings.Join(t.Names, " ") == loopback
	}
	return false
}

const loopback = "lo"

// ConnectAsksForLoopback reports whether the rules at connect() ask whether a packet stays on this host.
func (o *Output) ConnectAsksForLoopback() bool {
	if o.connectPlan == nil {
		return false
	}
	for _, b := range o.connectPlan.blocks {
		for _, s := range b.steps {
			if slices.ContainsFunc(s.tests, func(t *test) bool { return t.Field == ruleset.FieldOutIface }) {
				return true
			}
		}
	}
	return false
}
