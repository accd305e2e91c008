package translator

import (
	"errors"
	"strings"
	"testing"

	"github.com/bpfwall/bpfwall/internal/random"
	"github.com/bpfwall/bpfwall/ruleset"
)

// TestRefusedWithNumbers: rules that no engine holds are refused with their place, their number and the limit.
func TestRefusedWithNumbers(t *testing.T) {
	rs := random.HostileRules(ruleset.FamilyIPv4, random.New(1).Boxes(0, 5000))
	o, err := Options{Tables: 1 << 18}.Translate(rs, Slots{}) // slow, but code holds them
	if err != nil {
		t.Fatal(err)
	}
	if plan := o.Plan(); !strings.Contains(plan, "no classifier: 5000 rules: their addresses overlap too much") || !strings.Contains(plan, "bit vectors of them may take") {
		t.Errorf("the plan says %.300s", plan)
	}
	rs = random.HostileRules(ruleset.FamilyIPv4, random.New(1).Boxes(0, 20_000))
	_, err = Options{Tables: 1 << 18}.Translate(rs, Slots{})
	var limit *LimitError
	if !errors.As(err, &limit) {
		t.Fatalf("%v, want a limit", err)
	}
	for _, want := range []string{"hostile:1: 20000 rules from hostile:1 to hostile:20000: no engine holds them", "KB, more than 256", "comparisons, more than 32768"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v: want %q", err, want)
		}
	}
	o, err = Options{Tables: 6 << 20}.Translate(twoChains(5000), Slots{})
	if err != nil {
		t.Fatal(err)
	}
	if plan := o.Plan(); len(o.plan.classifiers) != 1 || !strings.Contains(plan, "5000 rules from b:1 to b:5000: no classifier") {
		t.Errorf("the second chain has no room: %.300s", plan)
	}
}

// twoChains is hostile rules, and the same again in the other chain.
func twoChains(n int) *ruleset.Ruleset {
	a := random.HostileRules(ruleset.FamilyIPv4, random.New(1).Boxes(0, n))
	b := random.HostileRules(ruleset.FamilyIPv4, random.New(1).Boxes(0, n)).Chains[0]
	b.Name, b.Hook = "OUTPUT", ruleset.HookOutput
	for _, r := range b.Rules {
		r.Pos.File = "b"
	}
	a.Chains = append(a.Chains, b)
	return a
}
