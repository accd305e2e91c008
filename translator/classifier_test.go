package translator

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/bpfwall/bpfwall/bpf"
	"github.com/bpfwall/bpfwall/ruleset"
)

// overlapping is a chain of rules that overlap in many ways: prefixes and ranges in one another, all but an address, near duplicates, rules
// that others shadow; a few in between do more than decide, or ask for more than addresses and ports.
func (g gen) overlapping(f ruleset.Family, n int) *ruleset.Ruleset {
	c := &ruleset.Chain{Name: "INPUT", Family: f, Hook: ruleset.HookInput, Policy: ruleset.Drop}
	long := &ruleset.Chain{Name: "long", Family: f}
	c.Rules = []*ruleset.Rule{{Verdict: ruleset.Verdict{Kind: ruleset.Jump, Chain: "long"}}}
	rare := pick(g, 60, 60, 12) // the last: more stops than a group has, and rules that count in between
	for i := range n {
		r := &ruleset.Rule{Pos: ruleset.Pos{File: "overlapping", Line: i + 1}, Matches: g.overlap(f)}
		if i > 0 && g.IntN(3) == 0 {
			near := long.Rules[g.IntN(i)].Matches
			r.Matches = append(append([]ruleset.Match{}, near[:g.IntN(len(near)+1)]...), r.Matches...)
		}
		r.Verdict.Kind = pick(g, ruleset.Accept, ruleset.Drop, ruleset.Reject, ruleset.Return)
		g.enrich(r, f, rare)
		long.Rules = append(long.Rules, r)
	}
	side := &ruleset.Chain{Name: "side", Family: f}
	for i := range 3 {
		r := &ruleset.Rule{Pos: ruleset.Pos{File: "side", Line: i + 1}, Matches: g.overlap(f)}
		r.Verdict.Kind = pick(g, ruleset.Accept, ruleset.Return, ruleset.Continue)
		r.Statements = []ruleset.Statement{{SetMark: &ruleset.SetMark{Value: 1, Mask: 0xff}}}
		side.Rules = append(side.Rules, r)
	}
	return &ruleset.Ruleset{Chains: []*ruleset.Chain{c, long, side}}
}

// enrich makes one rule of so many do more than decide, or ask for what tables do not hold.
func (g gen) enrich(r *ruleset.Rule, f ruleset.Family, rare int) {
	also := func(m ruleset.Match) { r.Matches = slices.Insert(r.Matches, g.IntN(len(r.Matches)+1), m) }
	switch g.IntN(rare) {
	case 0, 10, 11:
		r.Verdict.Kind = ruleset.Continue
	case 1:
		r.Statements = []ruleset.Statement{{SetMark: &ruleset.SetMark{Value: uint32(g.IntN(3)), Mask: 0xff}}}
		r.Verdict.Kind = pick(g, ruleset.Continue, r.Verdict.Kind)
	case 2:
		r.Statements = []ruleset.Statement{{Log: &ruleset.Log{Prefix: "x"}}}
		r.Verdict.Kind = pick(g, ruleset.Continue, r.Verdict.Kind)
	case 3:
		also(ruleset.Match{Field: ruleset.FieldLimit, Limit: &ruleset.Limit{Rate: 1000, Per: 1e9, Burst: 1 << 21}})
	case 4:
		r.Verdict = ruleset.Verdict{Kind: pick(g, ruleset.Jump, ruleset.Jump, ruleset.Goto), Chain: "side"}
	case 5, 6:
		also(ruleset.Match{Field: ruleset.FieldMark, Masked: []ruleset.Masked{{Value: uint64(g.IntN(3)), Mask: 0xff}}})
	case 7:
		also(ruleset.Match{Field: ruleset.FieldSocket, Ranges: []ruleset.Range{{From: 1, To: 1}}})
	case 8, 9:
		m := ruleset.Match{Field: pick(g, ruleset.FieldSrcAddr, ruleset.FieldDstAddr), Not: g.IntN(4) == 0}
		for range 10 + g.IntN(30) {
			m.Addrs = append(m.Addrs, g.AddrRange(g.FamilyIn(f)))
		}
		also(m)
	}
}

// overlap is what a rule asks for: some of addresses, ports and the rest.
func (g gen) overlap(f ruleset.Family) (out []ruleset.Match) {
	add := func(m ruleset.Match) { m.Not = g.IntN(8) == 0; out = append(out, m) }
	for _, id := range []ruleset.FieldID{ruleset.FieldSrcAddr, ruleset.FieldDstAddr} {
		if g.IntN(5) > 0 {
			m := ruleset.Match{Field: id}
			for range pick(g, 1, 1, 1, 3) {
				m.Addrs = append(m.Addrs, g.AddrRange(g.FamilyIn(f)))
			}
			add(m)
		}
	}
	for _, id := range []ruleset.FieldID{ruleset.FieldSrcPort, ruleset.FieldDstPort} {
		if g.IntN(3) == 0 {
			m := ruleset.Match{Field: id}
			for range pick(g, 1, 1, 4) {
				from := uint64(g.IntN(40))
				m.Ranges = append(m.Ranges, ruleset.Range{From: from, To: from + uint64(g.IntN(3)*g.IntN(30))})
			}
			add(m)
		}
	}
	switch g.IntN(8) {
	case 0, 1:
		proto := pick[uint64](g, 6, 17, 1)
		add(ruleset.Match{Field: ruleset.FieldProto, Ranges: []ruleset.Range{{From: proto, To: proto}}})
	case 2:
		add(ruleset.Match{Field: ruleset.FieldTCPFlags, Masked: []ruleset.Masked{{Value: 2, Mask: 0x17}}})
	case 3:
		add(ruleset.Match{Field: ruleset.FieldState, Masked: []ruleset.Masked{{Value: 10, Mask: 10}}})
	case 4:
		add(ruleset.Match{Field: ruleset.FieldInIface, Names: []string{pick(g, "eth0", "eth+")}})
	case 5:
		add(ruleset.Match{Field: ruleset.FieldICMPType, Ranges: []ruleset.Range{{From: 8, To: 8}}})
	}
	return out
}

// TestClassifierOverlaps compares classifiers of rules that overlap with the evaluator: verdicts, who decided, and all counters.
func TestClassifierOverlaps(t *testing.T) {
	first, n, packets := *seed, 9, 400
	if first == 0 {
		first = rand.Uint64N(1 << 32)
	}
	if *long {
		n, packets = 30, 1_000_000
	}
	made := 0
	for i := range n {
		s := first + uint64(i)
		t.Run(fmt.Sprintf("seed=%d", s), func(t *testing.T) {
			g := newGen(s)
			rs := g.overlapping([]ruleset.Family{ruleset.FamilyIPv4, ruleset.FamilyIPv6, ruleset.FamilyAny}[i%3], []int{40, 150, 500}[i/3%3])
			j := newJudgeOf(t, rs, EngineClassifiers)
			made += len(j.out.plan.classifiers)
			want := map[string]bpf.Counter{}
			for range packets {
				p := g.Packet()
				j.agree(t, rs, &p, ruleset.HookInput, nil)
				expect(want, rs, ruleset.HookInput, &p)
			}
			j.counted(t, rs, want)
		})
	}
	if made < n {
		t.Errorf("%d rulesets made %d classifiers", n, made)
	}
}

// expect adds a packet to the counters of what it meets.
func expect(want map[string]bpf.Counter, rs *ruleset.Ruleset, h ruleset.Hook, p *ruleset.Packet) {
	_, trace := rs.Eval(h, p, nil)
	for _, s := range trace.Steps {
		id := ""
		switch {
		case s.Rule == nil:
			id = s.Chain.PolicyID()
		case s.Failed == nil:
			id = s.Rule.ID
		default:
			continue
		}
		c := want[id]
		want[id] = bpf.Counter{Packets: c.Packets + 1, Bytes: c.Bytes + uint64(p.Length)}
	}
}

// counted compares all counters.
func (j *judge) counted(t *testing.T, rs *ruleset.Ruleset, want map[string]bpf.Counter) {
	t.Helper()
	for id, slot := range j.out.Slots.Counters {
		if got := j.counter(t, slot); got != want[id] {
			t.Errorf("counter of %s: %+v, want %+v\n%s", id, got, want[id], rs)
		}
	}
}

// TestLastAddresses asks for the first and the last addresses, behind which there are starts that stand for none.
func TestLastAddresses(t *testing.T) {
	at := func(i int) netip.Addr {
		if i < 0 {
			return netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}) // far away, so that the others share a window
		}
		return netip.AddrFrom4([4]byte{255, 255, 255, byte(255 - i)})
	}
	for _, engine := range []Engine{EngineClassifiers, EngineVectors} {
		for _, n := range []int{1, 2, 3, 9, 40} {
			c := &ruleset.Chain{Name: "INPUT", Family: ruleset.FamilyIPv4, Hook: ruleset.HookInput, Policy: ruleset.Drop}
			for i := -2; i < n; i++ {
				to := ruleset.Match{Field: ruleset.FieldDstAddr, Addrs: []ruleset.AddrRange{{From: at(2 * i), To: at(2 * i)}}}
				c.Rules = append(c.Rules, &ruleset.Rule{Matches: []ruleset.Match{to}, Verdict: ruleset.Verdict{Kind: ruleset.Accept}})
			}
			rs := &ruleset.Ruleset{Chains: []*ruleset.Chain{c}}
			j := newJudgeOf(t, rs, engine)
			p := newGen(1).Packet()
			for i := -5; i < 2*n+3; i++ {
				p.Family, p.Src, p.Dst = ruleset.FamilyIPv4, netip.AddrFrom4([4]byte{0, 0, 0, byte(i)}), at(i)
				j.agree(t, rs, &p, ruleset.HookInput, nil)
				p.Src, p.Dst = p.Dst, p.Src
				j.agree(t, rs, &p, ruleset.HookInput, nil)
			}
		}
	}
}
