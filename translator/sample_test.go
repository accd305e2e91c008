package translator

import (
	"math"
	"net/netip"
	"runtime"
	"sync"
	"testing"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/bpfwall/bpfwall/packet"
	"github.com/bpfwall/bpfwall/ruleset"
)

// accepting accepts what a match holds for.
func accepting(m ruleset.Match) *ruleset.Ruleset {
	return &ruleset.Ruleset{Chains: []*ruleset.Chain{{Name: "INPUT", Hook: ruleset.HookInput, Policy: ruleset.Drop, Rules: []*ruleset.Rule{
		{Matches: []ruleset.Match{m}, Verdict: ruleset.Verdict{Kind: ruleset.Accept}},
	}}}}
}

// everywhere judges a packet many times on each of at most four CPUs at once, and says how often in all.
func (j *judge) everywhere(t *testing.T, text string, times uint32) (n uint64) {
	t.Helper()
	lit, err := packet.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	j.run(t, &lit.Packet, lit.Hook) // puts it where every CPU finds it
	var all sync.WaitGroup
	cpus := min(runtime.NumCPU(), 4)
	for cpu := range cpus {
		all.Go(func() {
			runtime.LockOSThread() // until the end of the goroutine, and with it the thread
			var set unix.CPUSet
			set.Set(cpu)
			_ = unix.SchedSetaffinity(0, &set) // else they share
			if _, err := j.coll.Programs["fw_judge"].Run(&ebpf.RunOptions{Data: make([]byte, 64), Repeat: times}); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	return 1 + uint64(cpus)*uint64(times)
}

// TestSampleOfManyCPUs: one of so many packets is exactly that, whichever CPUs they come by.
func TestSampleOfManyCPUs(t *testing.T) {
	for _, every := range []uint32{2, 3, 1000} {
		rs := accepting(ruleset.Match{Field: ruleset.FieldSample, Sample: &ruleset.Sample{Every: every, Skip: every - 1}})
		j := newJudge(t, rs)
		n := j.everywhere(t, "udp -> :53 in eth0", 100_000)
		if got, want := j.passed(t, rs), n/uint64(every); got != want {
			t.Errorf("1 of %d: %d of %d passed, want %d", every, got, n, want)
		}
	}
}

// TestQuotaOfManyCPUs: a quota is used up to the last packet that fits.
func TestQuotaOfManyCPUs(t *testing.T) {
	rs := accepting(ruleset.Match{Field: ruleset.FieldQuota, Quota: &ruleset.Quota{Bytes: 1_000_050}})
	j := newJudge(t, rs)
	j.everywhere(t, "udp -> :53 in eth0 len 100", 50_000)
	if got := j.passed(t, rs); got != 10_000 {
		t.Errorf("%d packets of 100 bytes passed, want 10000", got)
	}
}

// TestSampleByChance: a share of all packets is that, within five standard deviations.
func TestSampleByChance(t *testing.T) {
	for _, percent := range []string{"0.1", "5", "50", "99"} {
		share, _ := ruleset.Percent(percent)
		rs := accepting(ruleset.Match{Field: ruleset.FieldSample, Sample: &ruleset.Sample{Share: share}})
		j := newJudge(t, rs)
		n := float64(j.everywhere(t, "udp -> :53 in eth0", 200_000))
		p := float64(share) / ruleset.SampleAll
		got, want, sigma := float64(j.passed(t, rs)), n*p, math.Sqrt(n*p*(1-p))
		if math.Abs(got-want) > 5*sigma {
			t.Errorf("%s%%: %.0f of %.0f passed, want %.0f ± %.0f", percent, got, n, want, 5*sigma)
		}
	}
}

// TestRecentFlood: made-up senders neither push out one that goes on sending nor need more room.
func TestRecentFlood(t *testing.T) {
	on := func(r ruleset.Recent) ruleset.Match {
		r.List, r.Bits = "seen", ruleset.KeyBits{IPv4: 32, IPv6: 128}
		return ruleset.Match{Field: ruleset.FieldRecent, Recent: &r}
	}
	rs := accepting(on(ruleset.Recent{Op: ruleset.RecentSet}))
	rule := rs.Chains[0].Rules[0]
	rule.Matches = append(rule.Matches, on(ruleset.Recent{Hits: 30}))
	j := newJudge(t, rs)
	lit, err := packet.Parse("udp 192.0.2.1:5 -> 198.51.100.1:53 in eth0")
	if err != nil {
		t.Fatal(err)
	}
	flood(j, t, lit, *senders, *senders/50, func(i int, verdict string) {
		if want := map[bool]string{true: "accept", false: "drop"}[i >= 29]; verdict != want {
			t.Errorf("packet %d of the sender that goes on: %s, want %s", i+1, verdict, want)
		}
	})
	if m := j.coll.Maps["recents"]; m.Type() != ebpf.LRUHash || m.MaxEntries() != recentEntries {
		t.Errorf("the map is %s of %d", m.Type(), m.MaxEntries())
	}
}

// flood judges packets of made-up senders, and every so often one of a sender that goes on.
func flood(j *judge, t *testing.T, lit *packet.Literal, senders, every int, check func(i int, verdict string)) {
	t.Helper()
	made, n := lit.Packet, 0
	for i := range senders {
		if i%every == 0 {
			check(n, j.run(t, &lit.Packet, lit.Hook).Verdict)
			n++
		}
		made.Src = netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
		j.run(t, &made, lit.Hook)
	}
}
