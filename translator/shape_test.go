package translator

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"

	"github.com/bpfwall/bpfwall/ruleset"
)

// expanders change the shape of a ruleset and not its meaning.
var expanders = []struct {
	name   string
	expand func(*ruleset.Ruleset)
}{
	{"1000 rules in front that never match", deadRules},
	{"5000 rules in front that go into a classifier and never match", deadAddresses},
	{"20 chains around each base chain", nest},
	{"a jump to an empty chain before every rule", emptyJumps},
	{"every chain in two", halve},
}

// never holds for no packet: no interface has this name.
func never() []ruleset.Match {
	return []ruleset.Match{{Field: ruleset.FieldLength, Ranges: []ruleset.Range{{From: 70000, To: 70000}}}}
}

func deadRules(rs *ruleset.Ruleset) {
	for _, c := range rs.Chains {
		var dead []*ruleset.Rule
		for range 1000 {
			dead = append(dead, &ruleset.Rule{Matches: never(), Verdict: ruleset.Verdict{Kind: ruleset.Drop}})
		}
		if c.Hook != ruleset.HookNone {
			c.Rules = append(dead, c.Rules...)
		}
	}
}

// deadAddresses puts rules about addresses in front that no packet of the tests has: near each other and in each other, with ports.
func deadAddresses(rs *ruleset.Ruleset) {
	for _, c := range rs.Chains {
		if c.Hook == ruleset.HookNone {
			continue
		}
		var dead []*ruleset.Rule
		for i := range 5000 {
			a := netip.AddrFrom4([4]byte{198, 18, byte(i >> 8), byte(i)})
			if c.Family == ruleset.FamilyIPv6 {
				a = netip.AddrFrom16([16]byte{0: 0x20, 1: 1, 14: byte(i >> 8), 15: byte(i)})
			}
			dead = append(dead, &ruleset.Rule{Matches: []ruleset.Match{
				{Field: []ruleset.FieldID{ruleset.FieldSrcAddr, ruleset.FieldDstAddr}[i%2],
					Addrs: []ruleset.AddrRange{ruleset.Prefix(netip.PrefixFrom(a, a.BitLen()-i%9))}},
				{Field: ruleset.FieldDstPort, Not: i%5 == 0, Ranges: []ruleset.Range{{From: uint64(i % 80), To: uint64(i%80 + i%7)}}},
			}, Verdict: ruleset.Verdict{Kind: pick(newGen(uint64(i)), ruleset.Drop, ruleset.Drop, ruleset.Accept)}})
			if i%50 == 0 {
				dead[i].Verdict.Kind = ruleset.Continue
			}
		}
		c.Rules = append(dead, c.Rules...)
	}
}

// nest moves a base chain's rules to the end of 20 chains that jump one to the next.
func nest(rs *ruleset.Ruleset) {
	for i, c := range rs.Chains {
		if c.Hook == ruleset.HookNone {
			continue
		}
		rules := c.Rules
		for depth := range 20 {
			next := &ruleset.Chain{Name: fmt.Sprintf("nest%d.%d", i, depth), Family: c.Family}
			c.Rules = []*ruleset.Rule{{Verdict: ruleset.Verdict{Kind: ruleset.Jump, Chain: next.Name}}}
			rs.Chains = append(rs.Chains, next)
			c = next
		}
		c.Rules = rules
	}
}

func emptyJumps(rs *ruleset.Ruleset) {
	for _, f := range []ruleset.Family{ruleset.FamilyAny, ruleset.FamilyIPv4, ruleset.FamilyIPv6} {
		rs.Chains = append(rs.Chains, &ruleset.Chain{Name: "empty", Family: f})
	}
	for _, c := range rs.Chains {
		var rules []*ruleset.Rule
		for _, r := range c.Rules {
			rules = append(rules, &ruleset.Rule{Verdict: ruleset.Verdict{Kind: ruleset.Jump, Chain: "empty"}}, r)
		}
		c.Rules = rules
	}
}

// halve moves the second half of every chain's rules to a chain of its own, that the first half ends with a goto to.
func halve(rs *ruleset.Ruleset) {
	for i, c := range rs.Chains {
		half := len(c.Rules) / 2
		rest := &ruleset.Chain{Name: fmt.Sprintf("half%d", i), Family: c.Family, Rules: c.Rules[half:]}
		c.Rules = append(c.Rules[:half:half], &ruleset.Rule{Verdict: ruleset.Verdict{Kind: ruleset.Goto, Chain: rest.Name}})
		rs.Chains = append(rs.Chains, rest)
	}
}

// TestShapes: however the rules are spread over chains, and whatever stands beside them, packets fare the same.
func TestShapes(t *testing.T) {
	for i, x := range expanders {
		t.Run(x.name, func(t *testing.T) {
			for s := range uint64(6) {
				g := newGen(100*uint64(i) + s)
				plain := g.Ruleset()
				plain.AssignIDs()
				bigger := newGen(100*uint64(i) + s).Ruleset()
				bigger.AssignIDs() // before expanding: rules keep their IDs
				x.expand(bigger)
				j := newJudgeOf(t, bigger, []Engine{EngineAuto, EngineVectors}[s%2])
				for range 40 {
					p, h := g.Packet(), pick(g, ruleset.Hooks...)
					if want, got := eval(plain, &p, h, nil), j.run(t, &p, h); want != got {
						t.Errorf("%s: %+v: %+v, want %+v\n%s", h, p, got, want, plain)
					}
				}
			}
		})
	}
}

// TestDeepCalls: chains that are too large and too much used to be written where they are jumped to nest as deep as the kernel
// allows, and an error says so where they nest deeper.
func TestDeepCalls(t *testing.T) {
	deep := func(depth, rules int) *ruleset.Ruleset {
		rs := &ruleset.Ruleset{}
		for i := range depth {
			c := &ruleset.Chain{Name: fmt.Sprintf("c%d", i), Pos: ruleset.Pos{File: "deep", Line: i + 1}}
			if i == 0 {
				c.Hook, c.Policy = ruleset.HookInput, ruleset.Drop
			}
			for k := range rules {
				c.Rules = append(c.Rules, &ruleset.Rule{Matches: []ruleset.Match{
					{Field: ruleset.FieldMark, Masked: []ruleset.Masked{{Value: uint64(k + 1), Mask: 0xffffffff}}},
				}, Verdict: ruleset.Verdict{Kind: ruleset.Drop}})
			}
			for range 2 {
				v := ruleset.Verdict{Kind: ruleset.Jump, Chain: fmt.Sprintf("c%d", i+1)}
				if i == depth-1 {
					v = ruleset.Verdict{Kind: ruleset.Accept}
				}
				c.Rules = append(c.Rules, &ruleset.Rule{Matches: []ruleset.Match{{Field: ruleset.FieldFamily, Ranges: []ruleset.Range{{From: 4, To: 4}}}}, Verdict: v})
			}
			rs.Chains = append(rs.Chains, c)
		}
		return rs
	}
	rs := deep(12, 5)
	newJudge(t, rs).agree(t, rs, unmatched(), ruleset.HookInput, nil)
	_, err := Translate(deep(12, 1500), Slots{})
	var limit *LimitError
	if !errors.As(err, &limit) || limit.Pos.File != "deep" {
		t.Errorf("12 chains of 1500 rules, each jumped to twice: %v, want a LimitError with its place", err)
	}
}

// TestManyChains loads more chains than the kernel takes functions, as container hosts have them.
func TestManyChains(t *testing.T) {
	base := &ruleset.Chain{Name: "FORWARD", Hook: ruleset.HookForward, Policy: ruleset.Accept}
	rs := &ruleset.Ruleset{Chains: []*ruleset.Chain{base}}
	for i := range 600 {
		c := &ruleset.Chain{Name: fmt.Sprintf("KUBE-%d", i)}
		for k := range 12 {
			c.Rules = append(c.Rules, &ruleset.Rule{Matches: []ruleset.Match{
				{Field: ruleset.FieldDstPort, Ranges: []ruleset.Range{{From: uint64(i*20 + k), To: uint64(i*20 + k)}}},
			}, Verdict: ruleset.Verdict{Kind: ruleset.Drop}})
		}
		rs.Chains = append(rs.Chains, c)
		for range 1 + i%2 {
			base.Rules = append(base.Rules, &ruleset.Rule{Verdict: ruleset.Verdict{Kind: ruleset.Jump, Chain: c.Name}})
		}
	}
	j := newJudge(t, rs)
	for _, port := range []int{5, 25, 20 * 599, 20*599 + 11, 20*599 + 12} {
		p := unmatched()
		p.DstPort = port
		j.agree(t, rs, p, ruleset.HookForward, nil)
	}
}
