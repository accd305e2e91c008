package translator

import (
	"fmt"
	"testing"

	"github.com/bpfwall/bpfwall/ruleset"
)

// TestManyLookups loads rulesets whose rules all ask for sets: the verifier must not follow each search anew.
func TestManyLookups(t *testing.T) {
	for _, live := range []*ruleset.Live{nil, {Dynamic: true, Feed: &ruleset.Feed{URL: "https://lists.example.net"}}} {
		for _, n := range []int{10, 100, 500} {
			rs := &ruleset.Ruleset{}
			g := newGen(7)
			for i := range 5 {
				s := &ruleset.Set{Name: fmt.Sprintf("s%d", i), Live: live}
				for range 400 {
					s.Members = append(s.Members, g.AddrRange(g.Family()))
				}
				rs.Sets = append(rs.Sets, s)
			}
			c := &ruleset.Chain{Name: "INPUT", Hook: ruleset.HookInput, Policy: ruleset.Accept}
			for i := range n {
				c.Rules = append(c.Rules, &ruleset.Rule{Verdict: ruleset.Verdict{Kind: ruleset.Drop}, Matches: []ruleset.Match{
					{Field: ruleset.FieldSrcAddr, Set: fmt.Sprintf("s%d", i%5)},
					{Field: ruleset.FieldDstPort, Ranges: []ruleset.Range{{From: uint64(i), To: uint64(i + 100)}}},
				}})
			}
			rs.Chains = []*ruleset.Chain{c}
			t.Run(fmt.Sprintf("%d rules, live %t", n, live != nil), func(t *testing.T) {
				j := newJudge(t, rs)
				info, err := j.coll.Programs["fw_judge"].Info()
				if err != nil {
					t.Fatal(err)
				}
				verified, _ := info.VerifiedInstructions()
				t.Logf("%d verified instructions", verified)
				if verified > 800_000 {
					t.Errorf("%d verified instructions, of a million that the kernel allows", verified)
				}
			})
		}
	}
}
