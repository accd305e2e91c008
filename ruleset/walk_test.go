package ruleset_test

import (
	"testing"

	"github.com/bpfwall/bpfwall/packet"
	"github.com/bpfwall/bpfwall/ruleset"
)

func TestWalk(t *testing.T) {
	state := func(bits uint64) ruleset.Match {
		return ruleset.Match{Field: ruleset.FieldState, Masked: []ruleset.Masked{{Value: bits, Mask: bits}}}
	}
	port := func(n uint64) ruleset.Match {
		return ruleset.Match{Field: ruleset.FieldDstPort, Ranges: []ruleset.Range{{From: n, To: n}}}
	}
	mark := ruleset.Match{Field: ruleset.FieldMark, Masked: []ruleset.Masked{{Value: 7, Mask: 7}}}
	rs := &ruleset.Ruleset{Chains: []*ruleset.Chain{
		{Name: "raw", Hook: ruleset.HookPrerouting, Policy: ruleset.Accept, Rules: []*ruleset.Rule{
			{Matches: []ruleset.Match{port(1)}, Verdict: ruleset.Verdict{Kind: ruleset.Drop}},
			{Matches: []ruleset.Match{port(2)}, Statements: []ruleset.Statement{{NoTrack: &ruleset.NoTrack{}}}},
			{Matches: []ruleset.Match{port(3)}, Statements: []ruleset.Statement{{SetMark: &ruleset.SetMark{Value: 7, Mask: 7}}}},
		}},
		{Name: "in", Hook: ruleset.HookInput, Policy: ruleset.Drop, Rules: []*ruleset.Rule{
			{Matches: []ruleset.Match{state(ruleset.StateUntracked)}, Verdict: ruleset.Verdict{Kind: ruleset.Accept}},
			{Matches: []ruleset.Match{mark}, Verdict: ruleset.Verdict{Kind: ruleset.Accept}},
		}},
	}}
	tests := []struct {
		packet string
		want   ruleset.VerdictKind
		hooks  int
	}{
		{"tcp 192.0.2.1 -> :1 in eth0", ruleset.Drop, 1},
		{"tcp 192.0.2.1 -> :2 in eth0", ruleset.Accept, 2},
		{"tcp 192.0.2.1 -> :3 in eth0", ruleset.Accept, 2},
		{"tcp 192.0.2.1 -> :4 in eth0", ruleset.Drop, 2},
		{"tcp 192.0.2.1 -> :4 in eth0 out eth1", ruleset.Accept, 2},
		{"tcp 192.0.2.1 -> :1 out eth1", ruleset.Accept, 2},
	}
	for _, test := range tests {
		lit, err := packet.Parse(test.packet)
		if err != nil {
			t.Fatal(err)
		}
		v, traces := rs.Walk(lit.Hook, &lit.Packet, nil)
		if v.Kind != test.want || len(traces) != test.hooks {
			t.Errorf("%s: got %s on %d hooks, want %s on %d", test.packet, v, len(traces), test.want, test.hooks)
		}
	}
}
