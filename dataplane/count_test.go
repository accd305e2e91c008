package dataplane

import (
	"testing"

	"github.com/bpfwall/bpfwall/ruleset"
)

// TestCountsSurvive: what samples and quotas have counted goes on when the rules around them are replaced, in XDP and at tc.
func TestCountsSurvive(t *testing.T) {
	for name, mode := range map[string]XDP{"xdp": XDPNative, "tc": XDPOff} {
		for what, m := range map[string]ruleset.Match{
			"sample": {Field: ruleset.FieldSample, Sample: &ruleset.Sample{Every: 7, Skip: 6}}, // the 7th of 12
			"quota":  {Field: ruleset.FieldQuota, Quota: &ruleset.Quota{Bytes: 40}},            // the first of them
		} {
			t.Run(name+" "+what, func(t *testing.T) {
				w := newWorld(t)
				rules := func(other uint64) *ruleset.Ruleset {
					rs := guarded(9)
					first := rs.Chains[0].Rules[0]
					first.Matches = append(first.Matches, m)
					another := guarded(other).Chains[0].Rules[0]
					another.Name = "another"
					rs.Chains[0].Rules = append([]*ruleset.Rule{another}, rs.Chains[0].Rules...)
					return rs
				}
				w.apply(rules(10), Options{XDP: mode})
				w.say(6, 9)
				first := w.settled("guard/dropped")
				w.apply(rules(11), Options{XDP: mode})
				w.say(6, 9)
				if n := w.settled("guard/dropped"); n != 1 || what == "quota" && first != 1 {
					t.Errorf("the rule matched %d packets and then %d in all, want 1", first, n)
				}
			})
		}
	}
}
