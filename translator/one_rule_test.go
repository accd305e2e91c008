package translator

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/bpfwall/bpfwall/internal/classbench"
	"github.com/bpfwall/bpfwall/ruleset"
)

// edits are what an operator does to one of many rules, the one at a place.
var edits = []struct {
	name string
	edit func(rules []*ruleset.Rule, at int) []*ruleset.Rule
}{
	{"insert", func(rules []*ruleset.Rule, at int) []*ruleset.Rule { return slices.Insert(rules, at, webRule(4711)) }},
	{"delete", func(rules []*ruleset.Rule, at int) []*ruleset.Rule { return slices.Delete(rules, at, at+1) }},
	{"another port", func(rules []*ruleset.Rule, at int) []*ruleset.Rule {
		r := *rules[at]
		r.Matches = slices.DeleteFunc(slices.Clone(r.Matches), func(m ruleset.Match) bool { return m.Field == ruleset.FieldDstPort })
		r.Matches = append(r.Matches, ruleset.Match{Field: ruleset.FieldDstPort, Ranges: []ruleset.Range{{From: 4711, To: 4711}}})
		rules[at] = &r
		return rules
	}},
	{"move", func(rules []*ruleset.Rule, at int) []*ruleset.Rule {
		r := rules[at]
		rules = slices.Delete(rules, at, at+1)
		return slices.Insert(rules, (at+1+len(rules)/2)%len(rules), r)
	}},
}

// webRule accepts a port for an address that no other rule has.
func webRule(port uint64) *ruleset.Rule {
	return &ruleset.Rule{Matches: []ruleset.Match{
		{Field: ruleset.FieldProto, Ranges: []ruleset.Range{{From: 6, To: 6}}},
		{Field: ruleset.FieldSrcAddr, Addrs: []ruleset.AddrRange{ruleset.Prefix(netip.MustParsePrefix("203.0.113.77/32"))}},
		{Field: ruleset.FieldDstPort, Ranges: []ruleset.Range{{From: port, To: port}}},
	}, Verdict: ruleset.Verdict{Kind: ruleset.Accept}}
}

// One rule more, less, changed or moved is data: the code stays the same, so that the kernel need not verify anything.
func TestOneRuleIsData(t *testing.T) {
	tables := Options{Engine: EngineClassifiers}
	for _, profile := range []classbench.Profile{classbench.ACL, classbench.FW, classbench.IPC} {
		for _, n := range []int{1000, 3000} {
			filters := classbench.Generate(profile, n, 1)
			before, err := tables.Translate(classbench.Ruleset("set", filters), Slots{})
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range edits {
				for place, at := range map[string]int{"head": 0, "middle": n / 2, "end": n - 1} {
					rs := classbench.Ruleset("set", filters)
					rs.Chains[0].Rules = e.edit(rs.Chains[0].Rules, at)
					after, err := tables.Translate(rs, before.Slots)
					if err != nil {
						t.Fatal(err)
					}
					if what := differs(before, after); what != "" {
						t.Errorf("%v, %d rules, %s at the %s: %s", profile, n, e.name, place, what)
					}
				}
			}
		}
	}
}

// differs is the first difference between two outputs for the verifier; "": none.
func differs(a, b *Output) string {
	for name, p := range a.Spec.Programs {
		x, y := p.Instructions, b.Spec.Programs[name].Instructions
		for i := range min(len(x), len(y)) {
			was, is := x[i], y[i]
			same := was.OpCode == is.OpCode && was.Dst == is.Dst && was.Src == is.Src && was.Offset == is.Offset && was.Constant == is.Constant
			if !same || was.Reference() != is.Reference() {
				return fmt.Sprintf("%s, instruction %d: %v, was %v", name, i, is, was)
			}
		}
		if len(x) != len(y) {
			return fmt.Sprintf("%s: %d instructions, were %d", name, len(y), len(x))
		}
	}
	if was, is := a.TableBytes(), b.TableBytes(); was != is {
		return fmt.Sprintf("table of %d bytes, was %d", is, was)
	}
	return ""
}
