package translator

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/cilium/ebpf"

	"github.com/bpfwall/bpfwall/bpf"
	"github.com/bpfwall/bpfwall/ruleset"
)

// mixed is n rules as a grown ruleset has them: most name an address and a service, some a range, an interface, flags, a list. No
// packet of unmatched() meets one.
func mixed(n int) *ruleset.Ruleset {
	c := &ruleset.Chain{Name: "INPUT", Hook: ruleset.HookInput, Policy: ruleset.Drop}
	for i := range n {
		src := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
		r := &ruleset.Rule{
			Pos: ruleset.Pos{File: "mixed.rules", Line: i + 1},
			Matches: []ruleset.Match{
				{Field: ruleset.FieldSrcAddr, Addrs: []ruleset.AddrRange{{From: src, To: src}}},
				{Field: ruleset.FieldProto, Ranges: []ruleset.Range{{From: 6, To: 6}}},
				{Field: ruleset.FieldDstPort, Ranges: []ruleset.Range{{From: uint64(1000 + i%5000), To: uint64(1000 + i%5000)}}},
			},
			Verdict: ruleset.Verdict{Kind: ruleset.Accept},
		}
		switch i % 7 {
		case 0:
			r.Matches[0].Addrs = []ruleset.AddrRange{ruleset.Prefix(netip.PrefixFrom(src, 28))}
		case 1:
			r.Matches[2].Ranges[0].To += 10
		case 2:
			r.Matches = append(r.Matches, ruleset.Match{Field: ruleset.FieldInIface, Names: []string{"eth1"}})
		case 3:
			r.Matches[0].Not = true
			r.Matches[1].Ranges[0] = ruleset.Range{From: 17, To: 17}
		case 4:
			r.Matches = append(r.Matches[:2], ruleset.Match{Field: ruleset.FieldTCPFlags, Masked: []ruleset.Masked{{Value: 2, Mask: 0x17}}})
		}
		c.Rules = append(c.Rules, r)
	}
	return &ruleset.Ruleset{Chains: []*ruleset.Chain{c}}
}

// near is a packet that comes close to the rules in the middle of n mixed ones, and meets none.
func near(n int) *ruleset.Packet {
	p := unmatched()
	p.Src = netip.AddrFrom4([4]byte{10, byte(n / 2 >> 16), byte(n / 2 >> 8), byte(n / 2)})
	p.TCPFlags = 16
	return p
}

// unmatched is a packet that meets none of the mixed rules.
func unmatched() *ruleset.Packet {
	return &ruleset.Packet{
		In: "eth0", Family: 4, Src: netip.MustParseAddr("192.0.2.1"), Dst: netip.MustParseAddr("192.0.2.2"), Proto: 6,
		SrcPort: 40000, DstPort: 9, TCPFlags: 2, TCPMSS: ruleset.Absent, ICMPType: ruleset.Absent, ICMPCode: ruleset.Absent,
		State: ruleset.StateNew, Length: 60, TTL: 64, PktType: ruleset.PktUnicast, SrcType: ruleset.AddrUnicast, DstType: ruleset.AddrLocal,
	}
}

// TestLoadLarge loads long chains, far from the verifier's bounds.
func TestLoadLarge(t *testing.T) {
	for _, n := range []int{1000, 10000} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			start := time.Now()
			out, err := Translate(mixed(n), Slots{})
			if err != nil {
				t.Fatal(err)
			}
			compiled := time.Since(start)
			j := load(t, out, 16)
			took := time.Since(start)
			info, err := j.coll.Programs["fw_judge"].Info()
			if err != nil {
				t.Fatal(err)
			}
			verified, _ := info.VerifiedInstructions()
			size := j.out.Spec.Programs["fw_judge"].Instructions.Size() / 8
			t.Logf("%d rules: compiled in %v, loaded in %v (3 programs); %d instructions, %d verified, %d functions",
				n, compiled.Round(time.Millisecond), (took - compiled).Round(time.Millisecond), size, verified, len(out.plan.functions))
			j.agree(t, out.plan.rs, unmatched(), ruleset.HookInput, nil)
			j.agree(t, out.plan.rs, near(n), ruleset.HookInput, nil)
			if verified > 500_000 {
				t.Errorf("%d rules: the verifier looked at %d instructions, half of what it may", n, verified)
			}
		})
	}
}

// BenchmarkVerdict is the time that fw_judge takes for a packet that no rule matches; 0 rules is the frame around them.
func BenchmarkVerdict(b *testing.B) {
	for _, n := range []int{0, 10, 100, 1000, 10000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			j := newJudge(b, mixed(n))
			pkts := make([]bpf.Pkt, ebpf.MustPossibleCPU())
			for i := range pkts {
				pkts[i] = Pkt(near(n), ruleset.HookInput)
			}
			if err := j.coll.Maps["scratch"].Put(uint32(0), pkts); err != nil {
				b.Fatal(err)
			}
			_, d, err := j.coll.Programs["fw_judge"].Benchmark(make([]byte, 64), max(b.N, 1000), b.ResetTimer)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(d.Nanoseconds()), "ns/packet")
		})
	}
}
