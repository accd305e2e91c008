package classbench

import (
	"fmt"
	"net/netip"

	"github.com/bpfwall/bpfwall/ruleset"
)

// Grown is a way in which rulesets grow that is more than a list of filters: rules that log, count, are limited, mark, or jump.
type Grown struct {
	Name string
	make func(filters []Filter) *ruleset.Ruleset
}

// Ruleset is filters that have grown so.
func (g Grown) Ruleset(filters []Filter) *ruleset.Ruleset {
	if len(filters) == 0 {
		return Ruleset("null", nil)
	}
	return g.make(filters)
}

// AllGrown are all ways.
var AllGrown = []Grown{
	{"filters", func(f []Filter) *ruleset.Ruleset { return Ruleset("filters", f) }},
	{"1% log, 1% limited", each(func(i, n int, r *ruleset.Rule) {
		switch i % max(2, min(n, 100)) {
		case min(n, 100) * 3 / 10:
			r.Statements = []ruleset.Statement{{Log: &ruleset.Log{Prefix: "x"}}}
		case min(n, 100) * 7 / 10:
			r.Matches = append(r.Matches, ruleset.Match{Field: ruleset.FieldLimit, Limit: &ruleset.Limit{Rate: 1, Per: 1e9, Burst: 5}})
		}
	})},
	{"every fifth counts", every(5, func(r *ruleset.Rule) { r.Verdict.Kind = ruleset.Continue })},
	{"every tenth is limited", every(10, func(r *ruleset.Rule) {
		r.Matches = append(r.Matches, ruleset.Match{Field: ruleset.FieldLimit, Limit: &ruleset.Limit{Rate: 1, Per: 1e9, Burst: 5}})
	})},
	{"every tenth asks for a user", every(10, func(r *ruleset.Rule) {
		r.Matches = append(r.Matches, ruleset.Match{Field: ruleset.FieldUID, Ranges: []ruleset.Range{{From: 1000, To: 1000}}})
	})},
	{"every tenth asks a set", inSets},
	{"a tenth marks first", marked},
	{"zones", zones},
	{"networks apart", apart},
	{"chains by destination", inChains},
}

// each changes every rule.
func each(change func(i, n int, r *ruleset.Rule)) func([]Filter) *ruleset.Ruleset {
	return func(filters []Filter) *ruleset.Ruleset {
		rs := Ruleset("filters", filters)
		for i, r := range rs.Chains[0].Rules {
			change(i, len(filters), r)
		}
		return rs
	}
}

// every changes one rule of so many.
func every(of int, change func(r *ruleset.Rule)) func([]Filter) *ruleset.Ruleset {
	return each(func(i, _ int, r *ruleset.Rule) {
		if i%of == of/2 {
			change(r)
		}
	})
}

// inSets makes every tenth rule ask for a set that changes, in place of its own source.
func inSets(filters []Filter) *ruleset.Ruleset {
	rs := every(10, func(r *ruleset.Rule) {
		r.Matches = append(r.Matches, ruleset.Match{Field: ruleset.FieldSrcAddr, Live: []string{"bad"}})
	})(filters)
	rs.Sets = append(rs.Sets, &ruleset.Set{Name: "bad", Live: &ruleset.Live{Dynamic: true, Timeout: 60}})
	return rs
}

// marked puts rules in front that mark what comes from some networks, as those who route by marks do, and has one of fifty of the others
// ask for a mark.
func marked(filters []Filter) *ruleset.Ruleset {
	rs := each(func(i, _ int, r *ruleset.Rule) {
		if i%50 == 20 {
			r.Matches = append(r.Matches, ruleset.Match{Field: ruleset.FieldMark, Masked: []ruleset.Masked{{Value: uint64(i), Mask: 0xffff}}})
		}
	})(filters)
	var marks []*ruleset.Rule
	for i := 0; i < len(filters); i += 10 {
		f := Filter{Src: filters[i].Src, Dst: anyAddress, SrcPort: anyPort, DstPort: anyPort}
		r := f.rule()
		r.Pos = ruleset.Pos{File: "marks", Line: i + 1}
		r.Statements = []ruleset.Statement{{SetMark: &ruleset.SetMark{Value: uint32(i + 1), Mask: 0xffff}}}
		r.Verdict.Kind = ruleset.Continue
		marks = append(marks, r)
	}
	c := rs.Chains[0]
	c.Rules = append(marks, c.Rules...)
	return rs
}

var anyAddress = netip.MustParsePrefix("0.0.0.0/0")

// jump is a rule that jumps.
func jump(to *ruleset.Chain, line int, m ...ruleset.Match) *ruleset.Rule {
	return &ruleset.Rule{Pos: ruleset.Pos{File: to.Name, Line: line}, Matches: m, Verdict: ruleset.Verdict{Kind: ruleset.Jump, Chain: to.Name}}
}

// zones spreads rules over zones as firewalld and ufw do: the interface says which one it is; the chain of a zone is jumps to chains of its
// own for what comes first, what is logged, what is refused and what is allowed.
func zones(filters []Filter) *ruleset.Ruleset {
	rs := Ruleset("filters", filters)
	base := rs.Chains[0]
	rules := base.Rules
	base.Rules = nil
	n := max(2, min(len(rules)/40, Interfaces))
	for z := range n {
		zone := &ruleset.Chain{Name: fmt.Sprintf("IN_zone%d", z), Family: base.Family}
		rs.Chains = append(rs.Chains, zone)
		base.Rules = append(base.Rules, jump(zone, z+1, ruleset.Match{Field: ruleset.FieldInIface, Names: []string{fmt.Sprintf("eth%d", z)}}))
		for i, part := range []string{"pre", "log", "deny", "allow", "post"} {
			c := &ruleset.Chain{Name: zone.Name + "_" + part, Family: base.Family}
			rs.Chains = append(rs.Chains, c)
			zone.Rules = append(zone.Rules, jump(c, i+1))
			for k, r := range rules {
				if k%n == z && (r.Verdict.Kind == ruleset.Accept) == (part == "allow") && (part == "allow" || part == "deny") {
					c.Rules = append(c.Rules, r)
				}
			}
		}
	}
	return rs
}

// apart keeps networks apart as container engines do: what comes from one of them and leaves for elsewhere meets a chain that drops what goes
// to any other, and returns.
func apart(filters []Filter) *ruleset.Ruleset {
	rs := Ruleset("filters", filters)
	base := rs.Chains[0]
	var first []*ruleset.Rule
	second := &ruleset.Chain{Name: "ISOLATION-STAGE-2", Family: base.Family}
	seen := map[netip.Prefix]bool{}
	for i, f := range filters {
		net := netip.PrefixFrom(f.Src.Addr(), min(24, f.Src.Bits())).Masked()
		if f.Src.Bits() < 16 || seen[net] || len(seen) >= max(2, min(30, len(filters)/20)) {
			continue
		}
		seen[net] = true
		there := ruleset.Match{Field: ruleset.FieldDstAddr, Addrs: []ruleset.AddrRange{ruleset.Prefix(net)}}
		elsewhere, here := there, there
		elsewhere.Not, here.Field = true, ruleset.FieldSrcAddr
		first = append(first, jump(second, i+1, here, elsewhere))
		second.Rules = append(second.Rules, &ruleset.Rule{Pos: ruleset.Pos{File: "apart", Line: i + 1}, Matches: []ruleset.Match{there},
			Verdict: ruleset.Verdict{Kind: ruleset.Drop}})
	}
	second.Rules = append(second.Rules, &ruleset.Rule{Pos: ruleset.Pos{File: "apart"}, Verdict: ruleset.Verdict{Kind: ruleset.Return}})
	rs.Chains = append(rs.Chains, second)
	base.Rules = append(first, base.Rules...)
	return rs
}

// inChains moves rules to chains of their own, by the destination that they ask for.
func inChains(filters []Filter) *ruleset.Ruleset {
	rs := Ruleset("filters", filters)
	base := rs.Chains[0]
	rules := base.Rules
	base.Rules = nil
	for i := range 10 {
		c := &ruleset.Chain{Name: fmt.Sprintf("zone%d", i), Family: base.Family}
		var nets []ruleset.AddrRange
		for k, f := range filters {
			if int(f.Dst.Addr().As4()[1])%10 == i {
				c.Rules = append(c.Rules, rules[k])
				nets = append(nets, ruleset.Prefix(netip.PrefixFrom(f.Dst.Addr(), min(16, f.Dst.Bits())).Masked()))
			}
		}
		if nets == nil {
			continue
		}
		base.Rules = append(base.Rules, jump(c, i+1, ruleset.Match{Field: ruleset.FieldDstAddr, Addrs: nets}))
		rs.Chains = append(rs.Chains, c)
	}
	return rs
}
