package translator

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/bpfwall/bpfwall/internal/random"
	"github.com/bpfwall/bpfwall/ruleset"
)

// TestRandomSets does what TestRandom does with sets that the rules change: each packet leaves to the next what both engines made of the sets.
func TestRandomSets(t *testing.T) {
	first, n := *seed, 25
	if first == 0 {
		first = rand.Uint64N(1 << 32)
	}
	if *long {
		n = 1000
	}
	for i := range n {
		s := first + uint64(i)
		t.Run(fmt.Sprintf("seed=%d", s), func(t *testing.T) {
			g := newGen(s)
			rs := g.Ruleset()
			g.enliven(rs)
			random.Checked(rs) // without some jumps, a chain may be left to hooks that do not see what it asks for
			j := newJudge(t, rs)
			var st ruleset.State
			for range 150 {
				p, h := g.Packet(), pick(g, ruleset.Hooks...)
				j.agree(t, rs, &p, h, &st)
			}
		})
		if t.Failed() {
			return
		}
	}
}

// enliven makes sets dynamic, has rules match and change them, and makes samples and quotas tell packets apart. Limits go: their tokens
// come with the time.
func (g gen) enliven(rs *ruleset.Ruleset) {
	for _, s := range rs.Sets {
		s.Live = &ruleset.Live{Dynamic: true, Timeout: pick(g, uint32(0), 3600), Counters: g.IntN(2) == 0, Max: pick(g, uint32(0), 3)}
	}
	set := func() string { return pick(g, rs.Sets...).Name }
	for _, c := range rs.Chains {
		c.Rules = slices.DeleteFunc(c.Rules, func(r *ruleset.Rule) bool {
			return slices.ContainsFunc(r.Matches, func(m ruleset.Match) bool { return m.Limit != nil })
		})
		for _, r := range c.Rules {
			if g.IntN(3) == 0 {
				r.Statements = append(r.Statements, ruleset.Statement{Change: &ruleset.SetChange{
					Set: set(), Field: pick(g, ruleset.FieldSrcAddr, ruleset.FieldDstAddr), Delete: g.IntN(4) == 0, Renew: g.IntN(2) == 0,
					Timeout: pick(g, int64(0), -1, 60),
				}})
			}
			for i := range r.Matches {
				switch m := &r.Matches[i]; {
				case len(m.Addrs) > 0 && g.IntN(3) == 0:
					m.Live = append(m.Live, set())
				case m.Sample != nil:
					every := pick[uint32](g, 1, 2, 5)
					m.Sample = &ruleset.Sample{Every: every, Skip: uint32(g.IntN(int(every)))}
				case m.Recent != nil:
					m.Not = g.IntN(2) == 0
					m.Recent = &ruleset.Recent{List: pick(g, "r", "q"), Op: pick(g, ruleset.RecentSet, ruleset.RecentCheck, ruleset.RecentUpdate, ruleset.RecentRemove),
						Dest: g.IntN(3) == 0, Bits: pick(g, ruleset.KeyBits{IPv4: 32, IPv6: 128}, ruleset.KeyBits{IPv4: 29, IPv6: 65})}
					if m.Recent.Op == ruleset.RecentCheck || m.Recent.Op == ruleset.RecentUpdate {
						m.Recent.Within, m.Recent.Hits, m.Recent.TTL = pick(g, uint32(0), 3600), pick(g, uint32(0), 2, 5), g.IntN(3) == 0
					}
				case m.Quota != nil:
					m.Quota = &ruleset.Quota{Bytes: pick[uint64](g, 0, 500, 5000)}
				}
			}
			r.ID = ""
		}
	}
}
