package dataplane

import (
	"net/netip"
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
