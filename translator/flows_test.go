package translator

import (
	"fmt"
	"maps"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/bpfwall/bpfwall/bpf"
	"github.com/bpfwall/bpfwall/packet"
	"github.com/bpfwall/bpfwall/ruleset"
)

// ingress is a compiled ruleset that frames come to as from a network, with room for flows.
type ingress struct {
	*judge
	t *testing.T
}

func newIngress(t *testing.T, rs *ruleset.Ruleset) *ingress {
	t.Helper()
	out, err := Translate(rs, Slots{})
	if err != nil {
		t.Fatal(err)
	}
	maps.DeleteFunc(out.Spec.Programs, func(name string, _ *ebpf.ProgramSpec) bool { return name != "tc_ingress" })
	j := load(t, out, 4096)
	return &ingress{j, t}
}

const tcDropped = 2

// passes sends a packet, and reports whether it was let through.
func (in *ingress) passes(text string) bool {
	lit, err := packet.Parse(text)
	if err != nil {
		in.t.Error(err)
		return false
	}
	frame, err := packet.Frame(&lit.Packet)
	if err != nil {
		in.t.Error(err)
		return false
	}
	copy(frame, make([]byte, 6)) // to the address of lo, by which test runs come in
	code, err := in.coll.Programs["tc_ingress"].Run(&ebpf.RunOptions{Data: frame})
	if err != nil {
		in.t.Error(err)
	}
	return code != tcDropped
}

// eachFlow changes the flows that are not assured; those that change returns false for are forgotten.
func (in *ingress) eachFlow(change func(*bpf.CtFlow) bool) {
	in.t.Helper()
	var k bpf.CtKey
	var f bpf.CtFlow
	all := map[bpf.CtKey]bpf.CtFlow{}
	m := in.coll.Maps["ct_new"]
	for it := m.Iterate(); it.Next(&k, &f); {
		all[k] = f
	}
	for k, f := range all {
		var err error
		if change(&f) {
			err = m.Put(k, f)
		} else {
			err = m.Delete(k)
		}
		if err != nil {
			in.t.Fatal(err)
		}
	}
}

func flowsOf(most uint32) ruleset.Match {
	return ruleset.Match{Field: ruleset.FieldFlows, Flows: &ruleset.Flows{Max: most, Bits: ruleset.KeyBits{IPv4: 32, IPv6: 64}}}
}

// TestFlowsOfManyCPUs: however many CPUs open flows of a source at the same time, it gets as many as it may, no more and no fewer, and those
// that end make room at once for as many.
func TestFlowsOfManyCPUs(t *testing.T) {
	const most = 50
	in := newIngress(t, accepting(flowsOf(most)))
	port := atomic.Uint32{}
	port.Store(1024)
	storm := func() int {
		var passed atomic.Int32
		var all sync.WaitGroup
		for cpu := range min(runtime.NumCPU(), 4) {
			all.Go(func() {
				runtime.LockOSThread()
				var set unix.CPUSet
				set.Set(cpu)
				_ = unix.SchedSetaffinity(0, &set)
				for range 100 {
					if in.passes(fmt.Sprintf("udp 192.0.2.1:%d -> 198.51.100.1:53 in lo", port.Add(1))) {
						passed.Add(1)
					}
				}
			})
		}
		all.Wait()
		return int(passed.Load())
	}
	if n := storm(); n != most {
		t.Fatalf("%d flows began, want %d", n, most)
	}
	for round, ending := range []int{1, 7, 50, 0, 13} {
		left := ending
		in.eachFlow(func(f *bpf.CtFlow) bool {
			if f.Expires == 1 {
				return false // since the round before
			}
			if left--; left < 0 {
				return true
			}
			f.Expires = 1
			return round%2 == 0 // over, or gone
		})
		if n := storm(); n != ending {
			t.Errorf("%d flows began after %d ended", n, ending)
		}
	}
}

// TestFlowsThatClose: connections that are closing do not count, as in nf_conncount.c; those that are only half closed do.
func TestFlowsThatClose(t *testing.T) {
	const timeWait, closed, lastAck, established = 7, 8, 6, 3
	for state, free := range map[uint8]bool{timeWait: true, closed: true, lastAck: false, established: false} {
		in := newIngress(t, accepting(flowsOf(1)))
		if !in.passes("tcp 192.0.2.1:1001 -> 198.51.100.1:80 in lo") || in.passes("tcp 192.0.2.1:1002 -> 198.51.100.1:80 in lo") {
			t.Fatal("the limit of one connection does not hold")
		}
		in.eachFlow(func(f *bpf.CtFlow) bool { f.TcpState = state; return true })
		if got := in.untilFree("tcp 192.0.2.1:%d -> 198.51.100.1:80 in lo"); got != free {
			t.Errorf("in state %d another connection may begin: %v, want %v", state, got, free)
		}
	}
}

// untilFree tries to begin flows until the time is over in which a key whose places were taken is not looked at.
func (in *ingress) untilFree(format string) bool {
	for port := range 50 {
		if in.passes(fmt.Sprintf(format, 2000+port)) {
			return true
		}
	}
	return false
}

// TestRefusedFlowsLeaveTheirPlace: what a later rule drops has taken no place.
func TestRefusedFlowsLeaveTheirPlace(t *testing.T) {
	rs := accepting(flowsOf(3))
	rs.Chains[0].Rules[0].Verdict = ruleset.Verdict{Kind: ruleset.Continue}
	rs.Chains[0].Rules = append(rs.Chains[0].Rules, &ruleset.Rule{Matches: []ruleset.Match{flowsOf(2), {Field: ruleset.FieldDstPort, Ranges: []ruleset.Range{{From: 80, To: 80}}}},
		Verdict: ruleset.Verdict{Kind: ruleset.Accept}})
	in := newIngress(t, rs)
	for port := range 40 {
		if in.passes(fmt.Sprintf("udp 192.0.2.1:%d -> 198.51.100.1:53 in lo", 1001+port)) {
			t.Fatal("a packet to another port passed")
		}
	}
	for port, want := range []bool{true, true, false} {
		if got := in.passes(fmt.Sprintf("udp 192.0.2.1:%d -> 198.51.100.1:80 in lo", 2001+port)); got != want {
			t.Errorf("flow %d: %v, want %v", port+1, got, want)
		}
	}
	var places int
	var k, v []byte
	for it := in.coll.Maps["conncount_places"].Iterate(); it.Next(&k, &v); {
		places++
	}
	if places != 4 { // two flows, by two rules
		t.Errorf("%d places are taken, want 4", places)
	}
}
