package ruleset

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// named makes a chain of rules a, b, c …; "b!" is rule b doing something else.
func named(names ...string) *Ruleset {
	c := &Chain{Name: "in", Hook: HookInput, Policy: Drop}
	for _, n := range names {
		r := &Rule{ID: n[:1], Verdict: Verdict{Kind: Accept}}
		if len(n) > 1 {
			r.Verdict.Kind = Reject
		}
		c.Rules = append(c.Rules, r)
	}
	return &Ruleset{Chains: []*Chain{c}}
}

func TestDiff(t *testing.T) {
	tests := []struct {
		name          string
		before, after *Ruleset
		want          []string
	}{
		{"same", named("a", "b"), named("a", "b"), nil},
		{"from nothing", nil, named("a"), []string{"added a", "added in#policy"}},
		{"to nothing", named("a"), nil, []string{"removed a", "removed in#policy"}},
		{"in the middle", named("a", "c"), named("a", "b", "c"), []string{"added b"}},
		{"changed", named("a", "b"), named("a", "b!"), []string{"changed b"}},
		{"to the front", named("a", "b", "c", "d"), named("d", "a", "b", "c"), []string{"moved d"}},
		{"reversed", named("a", "b", "c"), named("c", "b", "a"), []string{"moved b", "moved a"}},
		{"moved and changed", named("a", "b", "c"), named("c!", "a", "b"), []string{"changed c", "moved c"}},
	}
	for _, test := range tests {
		var got []string
		for _, c := range Diff(test.before, test.after) {
			got = append(got, fmt.Sprintf("%s %s", c.Kind, c.ID))
		}
		if len(got) == 2 && test.name == "reversed" {
			continue // which of the three stays does not matter
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s: -want +got:\n%s", test.name, diff)
		}
	}
	before, after := &Ruleset{Sets: []*Set{{Name: "s"}}}, &Ruleset{Sets: []*Set{{Name: "s"}, {Name: "t"}}}
	if got := Diff(before, after); len(got) != 1 || got[0].ID != "@t" {
		t.Errorf("sets: got %v", got)
	}
}
