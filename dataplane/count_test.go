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

// TestRecentSurvives: lists of recent addresses go on when other rules come, also if those want more times of an address remembered.
func TestRecentSurvives(t *testing.T) {
	for name, mode := range map[string]XDP{"xdp": XDPNative, "tc": XDPOff} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			on := func(r ruleset.Recent) ruleset.Match {
				r.List, r.Bits = "seen", ruleset.KeyBits{IPv4: 32, IPv6: 128}
				return ruleset.Match{Field: ruleset.FieldRecent, Recent: &r}
			}
			rules := func(most uint32) *ruleset.Ruleset {
				rs := guarded(9)
				first := rs.Chains[0].Rules[0]
				first.Matches = append(first.Matches, on(ruleset.Recent{Op: ruleset.RecentSet}), on(ruleset.Recent{Within: 600, Hits: 8}))
				last := guarded(9).Chains[0].Rules[0]
				last.Name, last.Matches = "many", append(last.Matches, on(ruleset.Recent{Hits: most}))
				rs.Chains[0].Rules = append(rs.Chains[0].Rules, last)
				return rs
			}
			w.apply(rules(20), Options{XDP: mode})
			w.say(6, 9)
			if n := w.settled("guard/dropped"); n != 0 {
				t.Errorf("%d of 6 packets were dropped, want 0", n)
			}
			for i, most := range []uint32{100, 10} { // more room, less
				w.apply(rules(most), Options{XDP: mode})
				w.say(6, 9)
				if n, want := w.settled("guard/dropped"), uint64(5+6*i); n != want {
					t.Errorf("%d of %d packets were dropped, want %d", n, 12+6*i, want)
				}
			}
			all, err := w.open().Recent()
			must(t, err)
			if len(all) != 1 || all[0].List != "seen" || all[0].Addr != addr(peerAddr) || all[0].Times != 18 || all[0].TTL != 64 {
				t.Errorf("the lists have %+v", all)
			}
		})
	}
}

// TestFlowLimitSurvives: connections that a rule counts still count when other rules come, and when the tables of connections get another size.
func TestFlowLimitSurvives(t *testing.T) {
	w := newWorld(t)
	rules := func(other uint64, size uint32) *ruleset.Ruleset {
		few := datagramsTo("few", 9, ruleset.Accept)
		few.Matches = append(few.Matches, ruleset.Match{Field: ruleset.FieldFlows, Flows: &ruleset.Flows{Max: 3, Bits: ruleset.KeyBits{IPv4: 32, IPv6: 64}}})
		rs := inputRules(other)
		rs.Chains[0].Rules = append(rs.Chains[0].Rules, few)
		rs.Conntrack = &ruleset.Conntrack{HalfOpen: size}
		return rs
	}
	for i, size := range []uint32{0, 0, 4096} {
		w.apply(rules(uint64(80+i), size), Options{XDP: XDPOff})
		w.say(6, 9) // each from a socket, and so a port, of its own
		if n := w.settled("input/few"); n != 3 {
			t.Errorf("apply %d: %d connections began, want 3", i+1, n)
		}
	}
}
