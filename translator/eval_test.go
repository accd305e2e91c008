package translator

import (
	"testing"

	"github.com/google/go-cmp/cmp"

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
