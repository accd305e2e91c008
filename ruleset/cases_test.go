package ruleset_test

import (
	"testing"

	"github.com/bpfwall/bpfwall/internal/cases"
	"github.com/bpfwall/bpfwall/ruleset"
)

func TestEvalCases(t *testing.T) {
	for _, c := range cases.All() {
		t.Run(c.Name, func(t *testing.T) {
			rs, err := c.Ruleset()
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range c.Expects() {
				expect(t, rs, e, nil)
			}
			var st ruleset.State
			for _, e := range c.Sequence {
				expect(t, rs, e, &st)
			}
		})
	}
}

func expect(t *testing.T, rs *ruleset.Ruleset, e cases.Expect, st *ruleset.State) {
	t.Helper()
	l := literal(t, e.Packet)
	got, trace := rs.Eval(l.Hook, &l.Packet, st)
	if got != e.Verdict {
		t.Errorf("%s: got %s, want %s\n%s", e.Packet, got, e.Verdict, trace.String())
	}
	if e.Mark != 0 && trace.Packet.Mark != e.Mark {
		t.Errorf("%s: got mark %#x, want %#x", e.Packet, trace.Packet.Mark, e.Mark)
	}
	if trace.SynProxy != e.SynProxy {
		t.Errorf("%s: SynProxy is %v", e.Packet, trace.SynProxy)
	}
	if trace.NoTrack != e.NoTrack {
		t.Errorf("%s: NoTrack is %v", e.Packet, trace.NoTrack)
	}
}
