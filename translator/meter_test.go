package translator

import (
	"flag"
	"net/netip"
	"testing"
	"time"

	"github.com/cilium/ebpf"

	"github.com/bpfwall/bpfwall/bpf"
	"github.com/bpfwall/bpfwall/packet"
	"github.com/bpfwall/bpfwall/ruleset"
)

var (
	senders = flag.Int("senders", 150_000, "made-up senders of a flood: by default twice as many as there is room for")
	ratesIn = flag.Duration("rates-in", 500*time.Millisecond, "how long each rate is measured")
)

// perSource accepts what is within a rate for every source.
func perSource(l ruleset.Limit) *ruleset.Ruleset {
	l.Each = &ruleset.Key{Source: &ruleset.KeyBits{IPv4: 32, IPv6: 64}}
	return &ruleset.Ruleset{Chains: []*ruleset.Chain{{Name: "INPUT", Hook: ruleset.HookInput, Policy: ruleset.Drop, Rules: []*ruleset.Rule{
		{Matches: []ruleset.Match{{Field: ruleset.FieldLimit, Limit: &l}}, Verdict: ruleset.Verdict{Kind: ruleset.Accept}},
	}}}}
}

// TestMeterRates: of a source that sends more, by many CPUs at once, what passes is the rate times the time between its first packet and its last. The rate of
// sending is the machine's, and the time is the bucket's own, so that interruptions do not matter.
func TestMeterRates(t *testing.T) {
	lit, err := packet.Parse("udp 192.0.2.1:5 -> 198.51.100.1:53 in eth0")
	if err != nil {
		t.Fatal(err)
	}
	for _, rate := range []uint64{1, 10, 1000, 30_000, 100_000} {
		rs := perSource(ruleset.Limit{Rate: rate, Per: 1e9, Burst: rate})
		j := newJudge(t, rs)
		j.run(t, &lit.Packet, lit.Hook)
		var key bpf.MeterKey
		var begin, end bpf.MeterState
		eachMeter(t, j, func(k bpf.MeterKey, v bpf.MeterState) { key, begin = k, v })
		begin.Full = begin.Last + 1e9 // empty: a second until it is full
		if err := j.coll.Maps["meters"].Put(key, begin); err != nil {
			t.Fatal(err)
		}
		before := j.passed(t, rs)
		for end.Last < begin.Last+uint64(*ratesIn) || end.Full+1e9/rate <= end.Last+1e9 {
			j.everywhere(t, "udp 192.0.2.1:5 -> 198.51.100.1:53 in eth0", 2000)
			eachMeter(t, j, func(_ bpf.MeterKey, v bpf.MeterState) { end = v })
		}
		got, want := float64(j.passed(t, rs)-before), float64(rate)*float64(end.Last-begin.Last)/1e9
		if got > 1.02*want+1 || got < 0.98*want-1 {
			t.Errorf("%d a second: %.0f passed, of %.1f", rate, got, want)
		}
		t.Logf("%d a second: %.0f passed, of %.1f", rate, got, want)
	}
}

// passed is how many packets the first rule matched.
func (j *judge) passed(t *testing.T, rs *ruleset.Ruleset) (n uint64) {
	t.Helper()
	var counts []bpf.Counter
	if err := j.coll.Maps["counters"].Lookup(j.out.Slots.Counters[rs.Chains[0].Rules[0].ID], &counts); err != nil {
		t.Fatal(err)
	}
	for _, c := range counts {
		n += c.Packets
	}
	return n
}

func eachMeter(t *testing.T, j *judge, fn func(bpf.MeterKey, bpf.MeterState)) (n int) {
	t.Helper()
	var k bpf.MeterKey
	var v bpf.MeterState
	all := j.coll.Maps["meters"].Iterate()
	for all.Next(&k, &v) {
		fn(k, v)
		n++
	}
	if err := all.Err(); err != nil {
		t.Fatal(err)
	}
	return n
}

// TestMeterFlood: a flood of made-up sources neither pushes out a source that goes on sending nor needs more room.
func TestMeterFlood(t *testing.T) {
	lit, err := packet.Parse("udp 192.0.2.1:5 -> 198.51.100.1:53 in eth0")
	if err != nil {
		t.Fatal(err)
	}
	j := newJudge(t, perSource(ruleset.Limit{Rate: 1, Per: 3600e9, Burst: 2}))
	offender := lit.Packet
	passed := 0
	made := lit.Packet
	for i := range *senders {
		if i%1000 == 0 && j.run(t, &offender, lit.Hook).Verdict == "accept" {
			passed++
		}
		made.Src = netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
		j.run(t, &made, lit.Hook)
	}
	if passed != 2 {
		t.Errorf("%d packets of the source that goes on sending passed, want 2", passed)
	}
	if n := eachMeter(t, j, func(bpf.MeterKey, bpf.MeterState) {}); n > meterEntries {
		t.Errorf("%d sources are remembered, there is room for %d", n, meterEntries)
	}
	if m := j.coll.Maps["meters"]; m.Type() != ebpf.LRUHash || m.MaxEntries() != meterEntries {
		t.Errorf("the map is %s of %d", m.Type(), m.MaxEntries())
	}
}
