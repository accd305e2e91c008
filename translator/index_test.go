package translator

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"

	"github.com/bpfwall/bpfwall/bpf"
	"github.com/bpfwall/bpfwall/ruleset"
)

// TestIndexLarge compares long chains of nested prefixes, hosts and ports with the evaluator: their indexes are cut into pieces and
// binned, and rules that do not ask for the field stand between the others.
func TestIndexLarge(t *testing.T) {
	for i, f := range []ruleset.Family{ruleset.FamilyIPv4, ruleset.FamilyIPv6, ruleset.FamilyAny} {
		t.Run(f.String(), func(t *testing.T) {
			g := newGen(uint64(i) + *seed)
			jump := &ruleset.Rule{Verdict: ruleset.Verdict{Kind: ruleset.Jump, Chain: "long"}}
			base := &ruleset.Chain{Name: "INPUT", Family: f, Hook: ruleset.HookInput, Policy: ruleset.Accept, Rules: []*ruleset.Rule{jump, jump}}
			c := &ruleset.Chain{Name: "long", Family: f}
			for k := range 3000 {
				c.Rules = append(c.Rules, g.indexable(f, k))
			}
			rs := &ruleset.Ruleset{Chains: []*ruleset.Chain{base, c}}
			j := newJudgeOf(t, rs, EngineForks)
			for range 200 {
				p := g.Packet()
				p.Src, p.DstPort, p.Proto = g.wideAddr(p.Family), g.IntN(70), pick[uint8](g, 6, 17)
				j.agree(t, rs, &p, ruleset.HookInput, nil)
			}
			if n := forks(j.out.plan); n == 0 {
				t.Error("no index was made")
			}
		})
	}
}

// TestIndexKeepsLimits: a limit in front of the field that rules are indexed by takes its token from packets of every value.
func TestIndexKeepsLimits(t *testing.T) {
	c := &ruleset.Chain{Name: "INPUT", Hook: ruleset.HookInput, Policy: ruleset.Drop}
	for k := range uint64(30) {
		c.Rules = append(c.Rules, &ruleset.Rule{Matches: []ruleset.Match{
			{Field: ruleset.FieldLimit, Limit: &ruleset.Limit{Rate: 1, Per: 3600e9, Burst: 2}},
			{Field: ruleset.FieldDstPort, Ranges: []ruleset.Range{{From: k, To: k}}},
		}, Verdict: ruleset.Verdict{Kind: ruleset.Accept}})
	}
	rs := &ruleset.Ruleset{Chains: []*ruleset.Chain{c}}
	j := newJudge(t, rs)
	var st ruleset.State
	for _, port := range []int{7, 40, 7, 8} {
		p := unmatched()
		p.DstPort = port
		j.agree(t, rs, p, ruleset.HookInput, &st)
	}
}

// TestIndexKeepsOthers: rules that do not ask for the field of an index are met by packets of whatever value, the packets that lack the
// field included.
func TestIndexKeepsOthers(t *testing.T) {
	for id, info := range ruleset.Fields {
		if info.Kind != ruleset.KindNumber || !ruleset.FieldID(id).On(ruleset.HookOutput) || info.Bits < 8 || ruleset.FieldID(id) == ruleset.FieldTCPOption {
			continue
		}
		t.Run(info.Name, func(t *testing.T) {
			c := &ruleset.Chain{Name: "OUTPUT", Hook: ruleset.HookOutput, Policy: ruleset.Drop}
			for k := range uint64(60) {
				c.Rules = append(c.Rules, &ruleset.Rule{Matches: []ruleset.Match{{Field: ruleset.FieldID(id), Ranges: []ruleset.Range{{From: 2 * k, To: 2 * k}}}}, Verdict: ruleset.Verdict{Kind: ruleset.Accept}})
			}
			c.Rules[30] = &ruleset.Rule{Matches: []ruleset.Match{{Field: ruleset.FieldMark, Masked: []ruleset.Masked{{Mask: 0xff, Value: 7}}}}, Verdict: ruleset.Verdict{Kind: ruleset.Accept}}
			rs := &ruleset.Ruleset{Chains: []*ruleset.Chain{c}}
			j, g := newJudgeOf(t, rs, EngineForks), newGen(uint64(id))
			for k := range 200 {
				p := g.Packet()
				p.Mark = uint32(7 * (k % 2))
				j.agree(t, rs, &p, ruleset.HookOutput, nil)
			}
		})
	}
}

// TestFamilyIsLearned: a rule that asks for IPv4 addresses knows the family behind the first of them, but not behind one that it
// asks not to be.
func TestFamilyIsLearned(t *testing.T) {
	v4 := func(f ruleset.FieldID, p string, not bool) ruleset.Match {
		return ruleset.Match{Field: f, Not: not, Addrs: []ruleset.AddrRange{ruleset.Prefix(netip.MustParsePrefix(p))}}
	}
	for _, not := range []bool{false, true} {
		c := &ruleset.Chain{Name: "INPUT", Hook: ruleset.HookInput, Policy: ruleset.Accept, Rules: []*ruleset.Rule{{
			Matches: []ruleset.Match{v4(ruleset.FieldSrcAddr, "192.0.2.0/24", not), v4(ruleset.FieldDstAddr, "10.0.0.0/8", false)},
			Verdict: ruleset.Verdict{Kind: ruleset.Drop},
		}}}
		rs := &ruleset.Ruleset{Chains: []*ruleset.Chain{c}}
		j := newJudge(t, rs)
		for _, a := range []string{"192.0.2.1 10.0.0.1", "192.0.3.1 10.0.0.1", "2001:db8::1 a00::1"} {
			p := unmatched()
			src, dst, _ := strings.Cut(a, " ")
			p.Src, p.Dst = netip.MustParseAddr(src), netip.MustParseAddr(dst)
			p.Family = familyOf(p.Src)
			j.agree(t, rs, p, ruleset.HookInput, nil)
		}
	}
}

// TestMalformedBeforeAll: of several base chains, the first counts no malformed packet that a later one would not have: all of them see it, or none.
func TestMalformedBeforeAll(t *testing.T) {
	open := &ruleset.Chain{Name: "open", Hook: ruleset.HookInput, Policy: ruleset.Accept}
	asks := &ruleset.Chain{Name: "asks", Family: ruleset.FamilyIPv4, Hook: ruleset.HookInput, Policy: ruleset.Accept, Rules: []*ruleset.Rule{{
		Matches: []ruleset.Match{{Field: ruleset.FieldDstPort, Ranges: []ruleset.Range{{From: 23, To: 23}}}}, Verdict: ruleset.Verdict{Kind: ruleset.Drop}}}}
	rs := &ruleset.Ruleset{Chains: []*ruleset.Chain{open, asks}}
	j := newJudge(t, rs)
	want := map[string]bpf.Counter{}
	for _, f := range []ruleset.Family{ruleset.FamilyIPv4, ruleset.FamilyIPv6} {
		for _, malformed := range []bool{false, true} {
			p := unmatched()
			p.Malformed = malformed
			if p.Family = f; f == ruleset.FamilyIPv6 {
				p.Src, p.Dst = netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2")
			}
			j.agree(t, rs, p, ruleset.HookInput, nil)
			expect(want, rs, ruleset.HookInput, p)
		}
	}
	j.counted(t, rs, want)
}

// TestFamilyIsForgotten: behind an index of addresses of one family the packet may be of the other.
func TestFamilyIsForgotten(t *testing.T) {
	c := &ruleset.Chain{Name: "INPUT", Hook: ruleset.HookInput, Policy: ruleset.Accept}
	for k := range 40 {
		a := netip.AddrFrom16([16]byte{0: 0xfd, 15: byte(k)})
		c.Rules = append(c.Rules, &ruleset.Rule{
			Matches: []ruleset.Match{{Field: ruleset.FieldSrcAddr, Addrs: []ruleset.AddrRange{{From: a, To: a}}}},
			Verdict: ruleset.Verdict{Kind: ruleset.Drop},
		})
	}
	c.Rules = append(c.Rules, &ruleset.Rule{
		Matches: []ruleset.Match{{Field: ruleset.FieldDstAddr, Addrs: []ruleset.AddrRange{ruleset.Prefix(netip.MustParsePrefix("a00::/16"))}}},
		Verdict: ruleset.Verdict{Kind: ruleset.Drop},
	})
	rs := &ruleset.Ruleset{Chains: []*ruleset.Chain{c}}
	p := unmatched()
	p.Dst = netip.MustParseAddr("10.0.0.1")
	newJudge(t, rs).agree(t, rs, p, ruleset.HookInput, nil)
}

// indexable is a rule about a source, mostly, and a port.
func (g gen) indexable(f ruleset.Family, k int) *ruleset.Rule {
	a := g.wideAddr(g.FamilyIn(f))
	src := ruleset.Match{Field: ruleset.FieldSrcAddr, Addrs: []ruleset.AddrRange{{From: a, To: a}}}
	if bits := pick(g, 0, 0, 0, 2, 4, 12, a.BitLen()/2); bits > 0 {
		src.Addrs[0] = ruleset.Prefix(netip.PrefixFrom(a, a.BitLen()-bits))
	}
	from := uint64(g.IntN(64))
	port := ruleset.Match{Field: ruleset.FieldDstPort, Ranges: []ruleset.Range{{From: from, To: from + uint64(g.IntN(3))}}}
	r := &ruleset.Rule{Pos: ruleset.Pos{File: "index", Line: k + 1}, Matches: []ruleset.Match{src, port}}
	r.Verdict.Kind = pick(g, ruleset.Accept, ruleset.Drop, ruleset.Continue, ruleset.Return)
	if g.IntN(30) == 0 {
		r.Matches = r.Matches[1:]
	}
	return r
}

// wideAddr is one of some thousand addresses, near each other in places.
func (g gen) wideAddr(f ruleset.Family) netip.Addr {
	if f == ruleset.FamilyIPv4 {
		return netip.AddrFrom4([4]byte{10, 0, byte(g.IntN(8)), byte(g.IntN(256))})
	}
	return netip.AddrFrom16([16]byte{0: 0xfd, 7: byte(g.IntN(40)), 14: byte(g.IntN(2)), 15: byte(g.IntN(256))})
}

// forks counts a plan's indexes.
func forks(p *plan) (n int) {
	for _, f := range p.functions {
		steps := f.part
		for _, b := range f.entry {
			if !f.piece() {
				steps = append(steps, b.steps...)
			}
		}
		each(steps, func(s *step) {
			if s.fork != nil {
				n++
			}
		})
	}
	return n
}

// TestSliced: every value is in the slab of exactly the operands that contain it.
func TestSliced(t *testing.T) {
	for s := range uint64(200) {
		r := rand.New(rand.NewPCG(s, 2))
		var all []interval
		for i := range 1 + r.IntN(12) {
			a, b := r.Uint64N(40), r.Uint64N(40)
			all = append(all, interval{from: min(a, b), to: max(a, b), step: i})
		}
		slabs, ok := sliced(append([]interval{}, all...), 1000)
		if !ok {
			t.Fatalf("seed %d: over the limit", s)
		}
		for v := range uint64(45) {
			if want, got := fmt.Sprint(meeting(all, v)), fmt.Sprint(inSlab(slabs, v)); want != got {
				t.Fatalf("seed %d: %d is in %s, want %s", s, v, got, want)
			}
		}
	}
}

// meeting is the steps whose interval has a value, by number.
func meeting(all []interval, v uint64) map[int]bool {
	out := map[int]bool{}
	for _, i := range all {
		if i.from <= v && v <= i.to {
			out[i.step] = true
		}
	}
	return out
}

func inSlab(slabs []slab, v uint64) map[int]bool {
	for _, s := range slabs {
		if s.from <= v && v <= s.to {
			return meeting(s.active, v)
		}
	}
	return map[int]bool{}
}
