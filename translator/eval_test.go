package translator

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bpfwall/bpfwall/internal/cases"
	"github.com/bpfwall/bpfwall/packet"
	"github.com/bpfwall/bpfwall/ruleset"
)

// agree runs a packet through the evaluator and the compiled ruleset.
func (j *judge) agree(tb testing.TB, rs *ruleset.Ruleset, p *ruleset.Packet, h ruleset.Hook, st *ruleset.State) {
	tb.Helper()
	want, got := eval(rs, p, h, st), j.run(tb, p, h)
	if diff := cmp.Diff(want, got); diff != "" {
		tb.Errorf("%s: Eval and the compiled rules differ (-eval +compiled):\n%s\n%+v\n%s\n%s", h, diff, *p, rs, j.out.Plan())
	}
}

// TestCases runs the cases that all engines share: the compiled rules do what the case says, and in all else what Eval does.
// internal/cases checks that these cases cover every field.
func TestCases(t *testing.T) {
	for _, c := range cases.All() {
		t.Run(c.Name, func(t *testing.T) {
			for _, engine := range []Engine{EngineAuto, EngineClassifiers, EngineVectors} {
				if len(c.Expects()) > 0 {
					runCase(t, &c, c.Expects(), engine)
				}
				if len(c.Sequence) > 0 {
					runCase(t, &c, c.Sequence, engine)
				}
			}
		})
	}
}

// runCase judges packets by a case's rules, all on the same token buckets.
func runCase(t *testing.T, c *cases.Case, expects []cases.Expect, engine Engine) {
	rs, err := c.Ruleset()
	if err != nil {
		t.Fatal(err)
	}
	j := newJudgeOf(t, rs, engine)
	var st ruleset.State
	for _, e := range expects {
		l, err := packet.Parse(e.Packet)
		if err != nil {
			t.Fatalf("%s: %v", e.Packet, err)
		}
		want := eval(rs, &l.Packet, l.Hook, &st)
		got := j.run(t, &l.Packet, l.Hook)
		if got.Verdict != e.Verdict.String() {
			t.Errorf("%s: %s, want %s", e.Packet, got.Verdict, e.Verdict)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: Eval and the compiled rules differ (-eval +compiled):\n%s\n%s", e.Packet, diff, j.out.Plan())
		}
	}
}
