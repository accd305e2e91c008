package translator

import (
	"fmt"
	"strings"
	"testing"

	"github.com/bpfwall/bpfwall/internal/classbench"
	"github.com/bpfwall/bpfwall/ruleset"
)

// TestEngineChoice pins what BenchmarkEngines measures as the cheaper one: the sizes up to which a kind of rules stands in code.
func TestEngineChoice(t *testing.T) {
	for _, g := range classbench.AllGrown {
		if g.Name == "zones" || g.Name == "networks apart" || g.Name == "chains by destination" {
			continue // several runs of rules
		}
		for _, p := range classbench.Profiles {
			for _, n := range []int{20, 100, 200, 300, 1000, 2000} {
				o, err := Translate(g.Ruleset(classbench.Generate(p, n, 1)), Slots{})
				if err != nil {
					t.Fatal(err)
				}
				if inCode := len(o.plan.classifiers) == 0; inCode != (n <= forksUpTo) {
					t.Errorf("%s, %s, %d rules: in code %v\n%.300s", p, g.Name, n, inCode, o.Plan())
				}
				if !strings.Contains(o.Plan(), "in code") && !strings.Contains(o.Plan(), "more than") && n >= classifyMin+3 {
					t.Errorf("%s, %s, %d rules: the plan does not say why", p, g.Name, n)
				}
			}
		}
	}
}

// TestCodeBudget: many chains, each of which would be cheaper in code, do not make programs that the kernel refuses.
func TestCodeBudget(t *testing.T) {
	base := &ruleset.Chain{Name: "INPUT", Family: ruleset.FamilyIPv4, Hook: ruleset.HookInput, Policy: ruleset.Drop}
	rs := &ruleset.Ruleset{Chains: []*ruleset.Chain{base}}
	for i := range 40 {
		c := classbench.Ruleset("filters", classbench.Generate(classbench.ACL, forksUpTo, uint64(i))).Chains[0]
		c.Name, c.Hook, c.Policy = fmt.Sprintf("side%d", i), ruleset.HookNone, 0
		rs.Chains = append(rs.Chains, c)
		base.Rules = append(base.Rules, &ruleset.Rule{Pos: ruleset.Pos{File: "budget", Line: i + 1}, Verdict: ruleset.Verdict{Kind: ruleset.Jump, Chain: c.Name}})
	}
	o, err := Translate(rs, Slots{})
	if err != nil {
		t.Fatal(err)
	}
	if n := len(o.plan.classifiers); n < 25 || n > 38 {
		t.Errorf("%d of 40 chains are tables", n)
	}
}

// TestSpilled: rules that ask for more different marks than tables have room for are stops of a table, and exact.
func TestSpilled(t *testing.T) {
	c := &ruleset.Chain{Name: "INPUT", Family: ruleset.FamilyIPv4, Hook: ruleset.HookInput, Policy: ruleset.Drop}
	for i := range 1200 {
		r := classbench.Ruleset("spilled", classbench.Generate(classbench.ACL, 1200, 1)[i:i+1]).Chains[0].Rules[0]
		r.Pos.Line = i + 1
		if i%4 == 0 {
			r.Matches = append(r.Matches, ruleset.Match{Field: ruleset.FieldMark, Masked: []ruleset.Masked{{Value: uint64(i), Mask: 0xffff}}})
		}
		c.Rules = append(c.Rules, r)
	}
	rs := &ruleset.Ruleset{Chains: []*ruleset.Chain{c}}
	j := newJudge(t, rs)
	if n := len(j.out.plan.classifiers); n == 0 || n > 2 {
		t.Errorf("%d classifiers", n)
	}
	for i, h := range classbench.Headers(classbench.Generate(classbench.ACL, 1200, 1), classbench.Uniform, 600, 2) {
		p := h.Packet()
		p.Mark = uint32(i * 2)
		j.agree(t, rs, &p, ruleset.HookInput, nil)
	}
}
