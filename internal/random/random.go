// Package random makes random rulesets and packets for comparisons of engines. Values are from small pools, so that rules and packets
// meet.
package random

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"

	"github.com/bpfwall/bpfwall/ruleset"
)

// Gen is a source of random rulesets and packets; one seed makes the same ones always.
type Gen struct{ *rand.Rand }

// New starts a source.
func New(seed uint64) Gen { return Gen{rand.New(rand.NewPCG(seed, 1))} }

// Pick is one of some values.
func Pick[T any](g Gen, from ...T) T { return from[g.IntN(len(from))] }

// packetHooks are the hooks that packets meet: all but the last, listen, where most rules would mean nothing.
var packetHooks = ruleset.Hooks[:len(ruleset.Hooks)-1]

// Ruleset is up to three base chains, user chains that jump to later ones, and sets.
func (g Gen) Ruleset() *ruleset.Ruleset {
	rs := &ruleset.Ruleset{}
	for i := range 3 {
		s := &ruleset.Set{Name: fmt.Sprintf("s%d", i)}
		for range Pick(g, 0, 3, 12, 40) {
			s.Members = append(s.Members, g.AddrRange(g.Family()))
		}
		rs.Sets = append(rs.Sets, s)
	}
	rs.Sets = append(rs.Sets, g.pairs())
	users := map[ruleset.Family]int{}
	for range 1 + g.IntN(4) {
		f, h := Pick(g, ruleset.FamilyAny, ruleset.FamilyAny, ruleset.FamilyIPv4, ruleset.FamilyIPv6), Pick(g, packetHooks...)
		c := &ruleset.Chain{Name: fmt.Sprintf("base%d", len(rs.Chains)), Family: f, Hook: h, Policy: Pick(g, ruleset.Accept, ruleset.Drop)}
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
	Checked(rs)
	return rs
}

// Checked takes out the rules that Check refuses, such as a state match before conntrack.
func Checked(rs *ruleset.Ruleset) {
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
func (g Gen) rules(rs *ruleset.Ruleset, c *ruleset.Chain, from, to int) {
	for i := range Pick(g, 0, 1, 3, 8, 15) {
		r := &ruleset.Rule{Pos: ruleset.Pos{File: c.Key(), Line: 100*len(c.Rules) + i + 1}}
		for range Pick(g, 0, 1, 1, 2, 3) {
			r.Matches = append(r.Matches, g.match(c.Family))
		}
		r.Statements = g.statements()
		r.Verdict = g.verdict(from, to)
		c.Rules = append(c.Rules, r)
	}
}

// run adds rules that all ask for one field, so that an index over them pays.
func (g Gen) run(c *ruleset.Chain, to int) {
	field := Pick(g, ruleset.FieldSrcAddr, ruleset.FieldDstAddr, ruleset.FieldDstPort, ruleset.FieldSrcPort, ruleset.FieldTTL)
	for range Pick(g, 0, 0, 20, 60) {
		m := ruleset.Match{Field: field}
		if field <= ruleset.FieldDstAddr {
			for range Pick(g, 1, 1, 1, 3) {
				m.Addrs = append(m.Addrs, g.plainAddr(g.FamilyIn(c.Family)))
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
func (g Gen) plainAddr(f ruleset.Family) ruleset.AddrRange {
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

func (g Gen) statements() (out []ruleset.Statement) {
	switch g.IntN(8) {
	case 0:
		out = append(out, ruleset.Statement{SetMark: &ruleset.SetMark{Value: g.Uint32(), Mask: Pick(g, g.Uint32(), 0, ^uint32(0), 0xff)}})
	case 1:
		out = append(out, ruleset.Statement{Log: &ruleset.Log{Prefix: "x"}})
	case 2:
		out = append(out, ruleset.Statement{NoTrack: &ruleset.NoTrack{}})
	}
	return out
}

func (g Gen) verdict(from, to int) ruleset.Verdict {
	v := ruleset.Verdict{Kind: Pick(g, ruleset.Continue, ruleset.Accept, ruleset.Drop, ruleset.Reject, ruleset.Return, ruleset.Jump, ruleset.Jump, ruleset.Goto)}
	switch {
	case v.Kind == ruleset.Reject:
		v.With = Pick(g, ruleset.RejectDefault, ruleset.RejectHost, ruleset.RejectPolicyFail)
	case v.Kind >= ruleset.Jump && from >= to:
		return ruleset.Verdict{Kind: ruleset.Accept}
	case v.Kind >= ruleset.Jump:
		v.Chain = fmt.Sprintf("user%d", from+g.IntN(to-from))
	}
	return v
}

// pairs is a set of addresses with ports.
func (g Gen) pairs() *ruleset.Set {
	s := &ruleset.Set{Name: "pairs", Parts: []ruleset.Part{ruleset.PartAddress, ruleset.PartPort}}
	for range Pick(g, 0, 3, 40) {
		a := g.AddrRange(g.Family()).From
		p, _ := a.Prefix(Pick(g, a.BitLen(), a.BitLen(), a.BitLen()/2))
		s.Tuples = append(s.Tuples, ruleset.Tuple{Net: p, Proto: Pick[uint8](g, 6, 17), Port: uint16(g.number(ruleset.FieldDstPort))})
	}
	return s
}

// match is a match of any field, with few or many operands.
func (g Gen) match(f ruleset.Family) ruleset.Match {
	m := ruleset.Match{Field: ruleset.FieldID(g.IntN(len(ruleset.Fields))), Not: g.IntN(4) == 0}
	info := ruleset.Fields[m.Field]
	n := Pick(g, 1, 1, 2, 5, 20)
	switch info.Kind {
	case ruleset.KindAddr:
		if f == ruleset.FamilyAny && g.IntN(2) == 0 {
			m.Set = fmt.Sprintf("s%d", g.IntN(3))
			return m
		}
		for range n {
			m.Addrs = append(m.Addrs, g.AddrRange(g.FamilyIn(f)))
		}
	case ruleset.KindIface:
		m.Names = append(m.Names, Pick(g, "eth0", "eth1", "eth+", "+", "wg-longname-123", "wg-longname-12+", "e+"))
	case ruleset.KindCgroup:
		m.Names = append(m.Names, Pick(g, "/", "/a", "/a/b", "x.service", "a.slice"))
	case ruleset.KindLimit:
		m.Not, m.Limit = false, &ruleset.Limit{Rate: 1000, Per: 1e9, Burst: 1 << 20}
	case ruleset.KindSample:
		m.Sample = &ruleset.Sample{Every: 1} // as above: one that does not tell packets apart
	case ruleset.KindElement:
		m.Set, m.Parts = "pairs", []ruleset.FieldID{Pick(g, ruleset.FieldSrcAddr, ruleset.FieldDstAddr), Pick(g, ruleset.FieldSrcPort, ruleset.FieldDstPort)}
	case ruleset.KindQuota:
		m.Quota = &ruleset.Quota{Bytes: 1 << 40}
	case ruleset.KindRecent:
		m.Not, m.Recent = false, &ruleset.Recent{List: "r", Op: ruleset.RecentSet, Bits: ruleset.KeyBits{IPv4: 32, IPv6: 128}}
	case ruleset.KindFlows:
		m.Flows = &ruleset.Flows{Max: ruleset.MaxFlowsOfKey, Bits: ruleset.KeyBits{IPv4: 32, IPv6: 128}}
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

func (g Gen) numbers(m *ruleset.Match, n int) {
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

func (g Gen) masked(bits int) ruleset.Masked {
	top := uint64(1)<<bits - 1
	mask := Pick(g, 0, 1, 3, 0x17, top, top) & top
	return ruleset.Masked{Mask: mask, Value: g.Uint64() & mask}
}
