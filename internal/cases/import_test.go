package cases_test

import (
	"testing"

	"github.com/bpfwall/bpfwall/internal/cases"
	"github.com/bpfwall/bpfwall/migrate/iptables"
	"github.com/bpfwall/bpfwall/packet"
	"github.com/bpfwall/bpfwall/ruleset"
)

// TestImported: where a case says its rules in iptables' language, importing them gives the same verdicts.
func TestImported(t *testing.T) {
	for _, c := range cases.All() {
		for _, f := range []ruleset.Family{ruleset.FamilyIPv4, ruleset.FamilyIPv6} {
			if c.IPTablesSave() == "" || !c.Family.Covers(f) {
				continue
			}
			t.Run(c.Name+"/"+f.String(), func(t *testing.T) {
				rs, report, err := iptables.Import([]iptables.Source{{Name: "rules", Text: []byte(c.IPTablesSave()), Family: f}}, iptables.Options{})
				if err != nil {
					t.Fatal(err)
				}
				if lost := report.Lost(); lost > 0 {
					t.Fatalf("%d rules are lost", lost)
				}
				if err := rs.Check(); err != nil {
					t.Fatalf("%v\n%s", err, rs)
				}
				rs.AssignIDs()
				judge(t, &c, rs, f)
			})
		}
	}
}

func judge(t *testing.T, c *cases.Case, rs *ruleset.Ruleset, f ruleset.Family) {
	t.Helper()
	var st ruleset.State
	for _, e := range append(c.Expects(), c.Sequence...) {
		l, err := packet.Parse(e.Packet)
		if err != nil {
			t.Fatal(err)
		}
		if l.Family != f {
			continue
		}
		if got, trace := rs.Eval(l.Hook, &l.Packet, &st); got != e.Verdict {
			t.Errorf("%s: got %s, want %s\n%s", e.Packet, got, e.Verdict, trace.String())
		}
	}
}
