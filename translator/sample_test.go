package translator

import (
	"math"
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
