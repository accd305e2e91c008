package translator

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bpfwall/bpfwall/ruleset"
)

func TestAssign(t *testing.T) {
	prev := map[string]uint32{"a": 0, "b": 1, "c": 5}
	for _, test := range []struct {
		name string
		ids  []string
		want map[string]uint32
		new  []uint32
	}{
		{"kept whatever their order", []string{"c", "a", "b"}, prev, nil},
		{"new ones get the lowest free", []string{"x", "a", "y", "c"}, map[string]uint32{"x": 2, "a": 0, "y": 3, "c": 5}, []uint32{2, 3}},
		{"a slot just given up is not reused", []string{"x"}, map[string]uint32{"x": 2}, []uint32{2}},
		{"none", nil, map[string]uint32{}, nil},
	} {
		got, _, fresh := assign(test.ids, prev)
		if diff := cmp.Diff(test.want, got) + cmp.Diff(test.new, fresh); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, diff)
		}
	}
}

func TestMapSize(t *testing.T) {
	for top, want := range map[uint32]int{0: 128, 63: 128, 64: 128, 1000: 1152, 1023: 1152, 1024: 1216} {
		if got := mapSize(map[string]uint32{"x": top}); got != want {
			t.Errorf("slots up to %d: %d entries, want %d", top, got, want)
		}
	}
}

// TestSlotsSurvive: an edit leaves the slots of the rules that it does not touch alone, wherever they stand.
func TestSlotsSurvive(t *testing.T) {
	rule := func(port uint64) *ruleset.Rule {
		return &ruleset.Rule{Matches: []ruleset.Match{
			{Field: ruleset.FieldDstPort, Ranges: []ruleset.Range{{From: port, To: port}}},
			{Field: ruleset.FieldLimit, Limit: &ruleset.Limit{Rate: 1, Per: 1e9, Burst: 5}},
		}, Verdict: ruleset.Verdict{Kind: ruleset.Accept}}
	}
	translate := func(prev Slots, ports ...uint64) *Output {
		c := &ruleset.Chain{Name: "INPUT", Hook: ruleset.HookInput, Policy: ruleset.Drop}
		for _, p := range ports {
			c.Rules = append(c.Rules, rule(p))
		}
		out, err := Translate(&ruleset.Ruleset{Chains: []*ruleset.Chain{c}}, prev)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	old := translate(Slots{}, 22, 80, 443)
	edited := translate(old.Slots, 443, 8080, 22)
	for id, slot := range edited.Slots.Counters {
		if was, ok := old.Slots.Counters[id]; ok && was != slot {
			t.Errorf("%s moved from slot %d to %d", id, was, slot)
		}
	}
	if n := len(edited.Slots.Limits); n != 3 {
		t.Errorf("%d limits, want 3", n)
	}
	if diff := cmp.Diff(translate(Slots{}, 22, 80, 443).Listing(), old.Listing()); diff != "" {
		t.Errorf("two translations of the same ruleset differ:\n%s", diff)
	}
}
