package translator

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/bpfwall/bpfwall/internal/classbench"
	"github.com/bpfwall/bpfwall/ruleset"
)

// edited is rules and the filters that they say, with one more, one less, or one elsewhere.
func edited(r *rand.Rand, rules []*ruleset.Rule, filters []classbench.Filter, fresh classbench.Filter) ([]*ruleset.Rule, []classbench.Filter) {
	rules, filters = slices.Clone(rules), slices.Clone(filters)
	rule, at := classbench.Ruleset("one", []classbench.Filter{fresh}).Chains[0].Rules[0], r.IntN(len(rules))
	if kind := r.IntN(3); kind > 0 {
		if kind == 2 {
			rule, fresh = rules[at], filters[at]
		}
		rules, filters = slices.Delete(rules, at, at+1), slices.Delete(filters, at, at+1)
		if kind == 1 {
			return rules, filters
		}
		at = r.IntN(len(rules) + 1)
	}
	rule.ID = ""
	return slices.Insert(rules, at, rule), slices.Insert(filters, at, fresh)
}

// Edit after edit, tables that are divided as those before find in the kernel the rules that the filters say, and mostly need no other code.
func TestEditsInKernel(t *testing.T) {
	again, same, all := 0, 0, 0
	for i, profile := range []classbench.Profile{classbench.ACL, classbench.FW, classbench.IPC} {
		r := rand.New(rand.NewPCG(uint64(i), 5))
		filters := classbench.Generate(profile, 700, 1)
		more := classbench.Generate(profile, 900, 2)[700:]
		rules := classbench.Ruleset("filters", filters).Chains[0].Rules
		var before *Output
		for round := range 13 {
			rs := classbench.Ruleset("filters", nil)
			rs.Chains[0].Rules = rules
			headers := classbench.Headers(filters, classbench.Mixed, 1<<12, uint64(round))
			prev := Slots{}
			if before != nil {
				prev = before.Slots
			}
			now, err := Translate(rs, prev)
			if err != nil {
				t.Fatal(err)
			}
			if before != nil {
				all++
				if differs(before, now) == "" {
					same++
				}
				if now.Slots.Shapes[0].Memory.Drift > before.Slots.Shapes[0].Memory.Drift {
					again++
				}
			}
			if round%4 == 0 {
				exactUnder(t, rs, EngineAuto, prev, headers, counted(rs, filters, headers))
			}
			before = now
			rules, filters = edited(r, rules, filters, more[round])
		}
	}
	t.Logf("of %d edits, %d left the division and %d the code", all, again, same)
	if again < all/2 || same < all*3/4 {
		t.Errorf("of %d edits, %d left the division and %d the code", all, again, same)
	}
}
