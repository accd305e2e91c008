package translator

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/bpfwall/bpfwall/bpf"
	"github.com/bpfwall/bpfwall/ruleset"
)

var (
	long = flag.Bool("long", false, "run many more random rulesets")
	seed = flag.Uint64("seed", 0, "seed of the first random ruleset; 0: a new one")
)

// gen makes random rulesets and packets from small pools of values, so that they meet.
type gen struct{ *rand.Rand }

func newGen(seed uint64) gen { return gen{rand.New(rand.NewPCG(seed, 1))} }

func pick[T any](g gen, from ...T) T { return from[g.IntN(len(from))] }

// TestRandom compares the evaluator and the compiled program on random rulesets and packets: verdicts, marks, who decided, and in
// the end all counters.
func TestRandom(t *testing.T) {
	first, n := *seed, 60
	if first == 0 {
		first = rand.Uint64N(1 << 32)
	}
	if *long {
		n = 2000
	}
	for i := range n {
		s := first + uint64(i)
		t.Run(fmt.Sprintf("seed=%d", s), func(t *testing.T) { compareRandom(t, newGen(s)) })
		if t.Failed() {
			return
		}
	}
}

// compareRandom judges random packets by a random ruleset.
func compareRandom(t *testing.T, g gen) {
	rs := g.ruleset()
	j := newJudge(t, rs)
	want := map[string]bpf.Counter{}
	add := func(id string, p *ruleset.Packet) {
		c := want[id]
		want[id] = bpf.Counter{Packets: c.Packets + 1, Bytes: c.Bytes + uint64(p.Length)}
	}
	for range 60 {
		p, h := g.packet(), pick(g, ruleset.Hooks...)
		j.agree(t, rs, &p, h, nil)
		_, trace := rs.Eval(h, &p, nil)
		for _, s := range trace.Steps {
			switch {
			case s.Rule == nil:
				add(s.Chain.PolicyID(), &p)
			case s.Failed == nil:
				add(s.Rule.ID, &p)
			}
		}
	}
	for id, slot := range j.out.Slots.Counters {
		if got := j.counter(t, slot); got != want[id] {
			t.Errorf("counter of %s: %+v, want %+v\n%s", id, got, want[id], rs)
		}
	}
}

// ruleset is up to three base chains, user chains that jump to later ones, and sets.
func (g gen) ruleset() *ruleset.Ruleset {
	rs := &ruleset.Ruleset{}
	for i := range 3 {
		s := &ruleset.Set{Name: fmt.Sprintf("s%d", i)}
		for range pick(g, 0, 3, 12, 40) {
			s.Members = append(s.Members, g.addrRange(g.family()))
		}
		rs.Sets = append(rs.Sets, s)
	}
	users := map[ruleset.Family]int{}
	for range 1 + g.IntN(4) {
		f, h := pick(g, ruleset.FamilyAny, ruleset.FamilyAny, ruleset.FamilyIPv4, ruleset.FamilyIPv6), pick(g, ruleset.Hooks...)
		c := &ruleset.Chain{Name: fmt.Sprintf("base%d", len(rs.Chains)), Family: f, Hook: h, Policy: pick(g, ruleset.Accept, ruleset.Drop)}
		users[f] = 1 + g.IntN(4)
		g.rules(rs, c, 0, users[f])
		g.run(c, users[f])
		g.rules(rs, c, 0, users[f])
		rs.Chains = append(rs.Chains, c)
	}
	for _, f := range []ruleset.Family{ruleset.FamilyAny, ruleset.FamilyIPv4, ruleset.FamilyIPv6} {
		for i := range users[f] {
			c := &ruleset.Chain{Name: fmt.Sprintf("user%d", i), Family: f}
			rs.Chains = append(rs.Chains, c)
			g.rules(rs, c, i+1, users[f])
		}
	}
	g.untilChecked(rs)
	return rs
}

// untilChecked takes out the rules that Check refuses, such as a state match before conntrack.
func (g gen) untilChecked(rs *ruleset.Ruleset) {
	for {
		bad := map[ruleset.Pos]bool{}
		errs, _ := rs.Check().(ruleset.ErrorList)
		for _, e := range errs {
			bad[e.Pos] = true
		}
		if len(errs) == 0 {
			return
		}
		for _, c := range rs.Chains {
			c.Rules = slices.DeleteFunc(c.Rules, func(r *ruleset.Rule) bool { return bad[r.Pos] })
		}
	}
}

// rules fills a chain; it jumps to the user chains from one on.
func (g gen) rules(rs *ruleset.Ruleset, c *ruleset.Chain, from, to int) {
	for i := range pick(g, 0, 1, 3, 8, 15) {
		r := &ruleset.Rule{Pos: ruleset.Pos{File: c.Key(), Line: 100*len(c.Rules) + i + 1}}
		for range pick(g, 0, 1, 1, 2, 3) {
			r.Matches = append(r.Matches, g.match(c.Family))
		}
		r.Statements = g.statements()
		r.Verdict = g.verdict(from, to)
		c.Rules = append(c.Rules, r)
	}
}

// run adds rules that all ask for one field, so that an index over them pays.
func (g gen) run(c *ruleset.Chain, to int) {
	field := pick(g, ruleset.FieldSrcAddr, ruleset.FieldDstAddr, ruleset.FieldDstPort, ruleset.FieldSrcPort, ruleset.FieldTTL)
	for range pick(g, 0, 0, 20, 60) {
		m := ruleset.Match{Field: field}
		if field <= ruleset.FieldDstAddr {
			for range pick(g, 1, 1, 1, 3) {
				m.Addrs = append(m.Addrs, g.plainAddr(g.familyIn(c.Family)))
			}
		} else {
			for m.Ranges == nil {
				g.numbers(&m, 1)
				m.Masked = nil
			}
		}
		r := &ruleset.Rule{Pos: ruleset.Pos{File: c.Key(), Line: 100*len(c.Rules) + 50}, Matches: []ruleset.Match{m}, Verdict: g.verdict(0, to)}
		if g.IntN(2) == 0 {
			r.Matches = append(r.Matches, g.match(c.Family))
		}
		switch g.IntN(12) {
		case 0, 1:
			slices.Reverse(r.Matches)
		case 2:
			r.Matches = r.Matches[1:]
		}
		r.Statements = g.statements()
		c.Rules = append(c.Rules, r)
	}
}

// plainAddr is an address, sometimes a prefix or a small range.
func (g gen) plainAddr(f ruleset.Family) ruleset.AddrRange {
	a, b := g.addr(f), g.addr(f)
	switch g.IntN(8) {
	case 0:
		return ruleset.Prefix(netip.PrefixFrom(a, a.BitLen()-g.IntN(8)))
	case 1:
		return ruleset.Prefix(netip.PrefixFrom(a, a.BitLen()/2))
	case 2:
		if a.Less(b) {
			return ruleset.AddrRange{From: a, To: b}
		}
	}
	return ruleset.AddrRange{From: a, To: a}
}

func (g gen) statements() (out []ruleset.Statement) {
	switch g.IntN(8) {
	case 0:
		out = append(out, ruleset.Statement{SetMark: &ruleset.SetMark{Value: g.Uint32(), Mask: pick(g, g.Uint32(), 0, ^uint32(0), 0xff)}})
	case 1:
		out = append(out, ruleset.Statement{Log: &ruleset.Log{Prefix: "x"}})
	case 2:
		out = append(out, ruleset.Statement{NoTrack: &ruleset.NoTrack{}})
	}
	return out
}

func (g gen) verdict(from, to int) ruleset.Verdict {
	v := ruleset.Verdict{Kind: pick(g, ruleset.Continue, ruleset.Accept, ruleset.Drop, ruleset.Reject, ruleset.Return, ruleset.Jump, ruleset.Jump, ruleset.Goto)}
	switch {
	case v.Kind == ruleset.Reject:
		v.With = pick(g, ruleset.RejectDefault, ruleset.RejectHost, ruleset.RejectPolicyFail)
	case v.Kind >= ruleset.Jump && from >= to:
		return ruleset.Verdict{Kind: ruleset.Accept}
	case v.Kind >= ruleset.Jump:
		v.Chain = fmt.Sprintf("user%d", from+g.IntN(to-from))
	}
	return v
}

// match is a match of any field, with few or many operands.
func (g gen) match(f ruleset.Family) ruleset.Match {
	m := ruleset.Match{Field: ruleset.FieldID(g.IntN(len(ruleset.Fields))), Not: g.IntN(4) == 0}
	info := ruleset.Fields[m.Field]
	n := pick(g, 1, 1, 2, 5, 20)
	switch info.Kind {
	case ruleset.KindAddr:
		if f == ruleset.FamilyAny && g.IntN(2) == 0 {
			m.Set = fmt.Sprintf("s%d", g.IntN(3))
			return m
		}
		for range n {
			m.Addrs = append(m.Addrs, g.addrRange(g.familyIn(f)))
		}
	case ruleset.KindIface:
		m.Names = append(m.Names, pick(g, "eth0", "eth1", "eth+", "+", "wg-longname-123", "wg-longname-12+", "e+"))
	case ruleset.KindLimit:
		m.Not, m.Limit = false, &ruleset.Limit{Rate: 1000, Per: 1e9, Burst: 1 << 20}
	case ruleset.KindBits:
		b := uint64(1) << g.IntN(min(info.Bits, 5))
		m.Masked = append(m.Masked, ruleset.Masked{Value: b | 2, Mask: b | 2})
	case ruleset.KindFlags:
		m.Masked = append(m.Masked, g.masked(info.Bits))
	default:
		g.numbers(&m, n)
	}
	return m
}

func (g gen) numbers(m *ruleset.Match, n int) {
	top := uint64(1)<<ruleset.Fields[m.Field].Bits - 1
	if g.IntN(6) == 0 {
		m.Masked = append(m.Masked, g.masked(ruleset.Fields[m.Field].Bits))
		return
	}
	for range n {
		a, b := g.number(m.Field)&top, g.number(m.Field)&top
		if g.IntN(2) == 0 {
			b = a
		}
		m.Ranges = append(m.Ranges, ruleset.Range{From: min(a, b), To: max(a, b)})
	}
}

func (g gen) masked(bits int) ruleset.Masked {
	top := uint64(1)<<bits - 1
	mask := pick(g, 0, 1, 3, 0x17, top, top) & top
	return ruleset.Masked{Mask: mask, Value: g.Uint64() & mask}
}

// number is a value that packets have too.
func (g gen) number(f ruleset.FieldID) uint64 {
	switch f {
	case ruleset.FieldFamily:
		return pick[uint64](g, 4, 6)
	case ruleset.FieldProto:
		return pick[uint64](g, 6, 17, 1, 58)
	case ruleset.FieldLength:
		return pick[uint64](g, 40, 100, 1500)
	case ruleset.FieldSrcMAC:
		return pick[uint64](g, 0, 0x020000000001, 0xffffffffffff)
	}
	return pick(g, 0, 1, 2, 8, uint64(g.IntN(30)), 53, 80, 443, 1024, 65535)
}

func (g gen) family() ruleset.Family { return pick(g, ruleset.FamilyIPv4, ruleset.FamilyIPv6) }

func (g gen) familyIn(f ruleset.Family) ruleset.Family {
	if f == ruleset.FamilyAny {
		return g.family()
	}
	return f
}

func (g gen) addr(f ruleset.Family) netip.Addr {
	if f == ruleset.FamilyIPv4 {
		return netip.AddrFrom4([4]byte{pick[byte](g, 10, 192), 0, byte(g.IntN(3)), byte(g.IntN(20))})
	}
	a := [16]byte{0: pick[byte](g, 0xfd, 10), 7: byte(g.IntN(3)), 15: byte(g.IntN(20))}
	return netip.AddrFrom16(a)
}

func (g gen) addrRange(f ruleset.Family) ruleset.AddrRange {
	a, b := g.addr(f), g.addr(f)
	if b.Less(a) {
		a, b = b, a
	}
	switch g.IntN(5) {
	case 0:
		return ruleset.AddrRange{From: a, To: b}
	case 1:
		return ruleset.MaskedAddr(a, b)
	case 2:
		return ruleset.Prefix(netip.PrefixFrom(a, g.IntN(a.BitLen()+1)))
	}
	return ruleset.AddrRange{From: a, To: a}
}

// packet is a random packet. It need not be one that the network could bring.
func (g gen) packet() ruleset.Packet {
	p := ruleset.Packet{
		In: pick(g, "", "eth0", "eth1", "wg-longname-123"), Out: pick(g, "", "eth0", "wg-longname-124"),
		Family: g.family(), Proto: pick[uint8](g, 6, 17, 1, 58), SrcPort: ruleset.Absent, DstPort: ruleset.Absent,
		TCPFlags: ruleset.Absent, TCPMSS: ruleset.Absent, ICMPType: ruleset.Absent, ICMPCode: ruleset.Absent,
		State: 1 << g.IntN(5), Mark: pick(g, 0, 1, g.Uint32()), Length: pick[uint32](g, 40, 100, 1500), TTL: uint8(g.number(ruleset.FieldTTL)),
		TOS: pick[uint8](g, 0, 1, 0x17, 255), Fragment: g.IntN(8) == 0, PktType: 1 << g.IntN(3),
		SrcType: 1 << g.IntN(9), DstType: 1 << g.IntN(9), Malformed: g.IntN(30) == 0,
	}
	p.Src, p.Dst = g.addr(p.Family), g.addr(p.Family)
	if g.IntN(2) == 0 {
		p.HasMAC, p.SrcMAC = true, g.number(ruleset.FieldSrcMAC)
	}
	g.transport(&p)
	return p
}

func (g gen) transport(p *ruleset.Packet) {
	if p.Proto == 1 || p.Proto == 58 {
		p.ICMPType, p.ICMPCode = int(g.number(ruleset.FieldICMPType)&0xff), g.IntN(4)
		return
	}
	p.SrcPort, p.DstPort = int(g.number(ruleset.FieldSrcPort)), int(g.number(ruleset.FieldDstPort))
	if p.Proto != 6 {
		return
	}
	p.TCPFlags = pick(g, 2, 18, 16, 1, 0x17, 255)
	if g.IntN(2) == 0 {
		p.TCPOptions, p.TCPMSS = []byte{2, pick[byte](g, 1, 8, 80, 200)}, pick(g, 0, 80, 1024, 65535)
	}
}
