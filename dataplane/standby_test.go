package dataplane

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"testing"

	"github.com/bpfwall/bpfwall/internal/classbench"
	"github.com/bpfwall/bpfwall/ruleset"
)

// manyRules accept the ports, and decide about addresses that nobody here has: enough for a table.
func manyRules(n int, ports ...uint64) *ruleset.Ruleset {
	rs := classbench.Ruleset("acl", classbench.Generate(classbench.ACL, n, 1))
	for _, port := range ports {
		r := &ruleset.Rule{Matches: []ruleset.Match{
			{Field: ruleset.FieldProto, Ranges: []ruleset.Range{{From: 6, To: 6}}},
			{Field: ruleset.FieldSrcAddr, Addrs: []ruleset.AddrRange{ruleset.Prefix(netip.MustParsePrefix(peerAddr + "/32"))}},
			{Field: ruleset.FieldDstPort, Ranges: []ruleset.Range{{From: port, To: port}}},
		}, Verdict: ruleset.Verdict{Kind: ruleset.Accept}}
		c := rs.Chains[0]
		c.Rules = append([]*ruleset.Rule{r}, c.Rules...)
	}
	return rs
}

// What differs in tables only needs no verifier: the programs are there.
func TestOneMoreRule(t *testing.T) {
	w := newWorld(t)
	w.serve(80)
	w.serve(81)
	for i, step := range []struct {
		ports    []uint64
		verified bool
	}{{[]uint64{80}, true}, {[]uint64{80}, false}, {[]uint64{80, 81}, false}, {[]uint64{81}, false}, {[]uint64{80, 81}, false}} {
		res := w.apply(manyRules(1000, step.ports...), Options{})
		if (res.Verified > 0) != step.verified {
			t.Errorf("apply %d: %d programs verified, want some: %t", i+1, res.Verified, step.verified)
		}
		for _, port := range []uint64{80, 81} {
			want := false
			for _, p := range step.ports {
				want = want || p == port
			}
			if got := w.reaches(int(port)); got != want {
				t.Errorf("apply %d: port %d open: %t, want %t", i+1, port, got, want)
			}
		}
	}
}

// The first change after a load finds a spare set of programs, also where the tables are larger than some.
func TestFirstChange(t *testing.T) {
	w := newWorld(t)
	w.serve(81)
	for _, step := range []struct {
		ports    []uint64
		verified bool
	}{{[]uint64{80}, true}, {[]uint64{80, 81}, false}} {
		if res := w.apply(manyRules(4000, step.ports...), Options{}); (res.Verified > 0) != step.verified {
			t.Errorf("%v: %d programs verified, want some: %t", step.ports, res.Verified, step.verified)
		}
	}
	if !w.reaches(81) {
		t.Error("the rule that was added is not in force")
	}
}

// A ruleset that is too large is refused with numbers, and nothing changes; what was written of it while it was compiled is gone.
func TestMemoryBound(t *testing.T) {
	w := newWorld(t)
	w.serve(80)
	w.apply(inputRules(80), Options{})
	_, err := w.open().Apply(context.Background(), manyRules(20_000), Meta{}, Options{MaxMemory: 1})
	var e *MemoryError
	if !errors.As(err, &e) || e.Need < 1<<20 || e.May != 1<<20 || e.Of > e.Need || e.Largest != "rules" {
		t.Fatalf("%v, want a *MemoryError about rules", err)
	}
	if !w.reaches(80) {
		t.Error("closed by an apply that was refused")
	}
	if left, _ := os.ReadDir(w.open().at.generations); len(left) != 1 {
		t.Errorf("on disk are %v, want the first generation alone", left)
	}
	if res := w.apply(inputRules(80), Options{}); res.Previous != 1 {
		t.Errorf("%d was live before, want 1", res.Previous)
	}
}

// An apply that fails when it has taken over the programs of the generation before leaves the live one alone, and that one can be gone
// back to all the same.
func TestFailedTakeOver(t *testing.T) {
	w := newWorld(t)
	w.serve(80)
	w.serve(81)
	w.apply(manyRules(600, 80), Options{})
	w.apply(manyRules(600, 81), Options{})
	d := w.open()
	d.before = func(step string) error {
		if step == "flip" {
			return errors.New("stopped by the test")
		}
		return nil
	}
	if _, err := d.Apply(context.Background(), manyRules(600, 80, 81), Meta{}, Options{}); err == nil {
		t.Fatal("no error")
	}
	if w.reaches(80) || !w.reaches(81) {
		t.Error("a failed apply changed what the rules in force do")
	}
	if _, err := w.open().Rollback(context.Background(), Meta{}); err != nil {
		t.Fatal(err)
	}
	if !w.reaches(80) || w.reaches(81) {
		t.Error("not the rules of the generation before after a rollback")
	}
	if res := w.apply(manyRules(600, 80, 81), Options{}); !w.reaches(80) || !w.reaches(81) {
		t.Errorf("%+v: not the new rules", res)
	}
}
