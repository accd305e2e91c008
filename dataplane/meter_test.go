package dataplane

import (
	"testing"
	"time"

	"github.com/bpfwall/bpfwall/ruleset"
)

// TestMetersSurvive: the rate of a source holds in XDP and at tc, and goes on when the rules around it are replaced.
func TestMetersSurvive(t *testing.T) {
	for name, mode := range map[string]XDP{"xdp": XDPNative, "tc": XDPOff} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			rules := func(other uint64) *ruleset.Ruleset {
				rs := guarded(9)
				l := &ruleset.Limit{Rate: 1, Per: uint64(time.Hour), Burst: 4, Each: &ruleset.Key{Source: &ruleset.KeyBits{IPv4: 32, IPv6: 64}}}
				first := rs.Chains[0].Rules[0]
				first.Matches = append(first.Matches, ruleset.Match{Field: ruleset.FieldLimit, Limit: l})
				another := guarded(other).Chains[0].Rules[0]
				another.Name = "another"
				rs.Chains[0].Rules = append(rs.Chains[0].Rules, another)
				return rs
			}
			w.apply(rules(10), Options{XDP: mode})
			w.say(6, 9)
			if n := w.settled("guard/dropped"); n != 4 {
				t.Errorf("the rule matched %d packets, want 4", n)
			}
			w.apply(rules(11), Options{XDP: mode})
			w.say(6, 9)
			if n := w.settled("guard/dropped"); n != 4 {
				t.Errorf("the rule matched %d packets after other rules changed, want 4", n)
			}
		})
	}
}
