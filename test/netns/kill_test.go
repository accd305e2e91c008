package netns

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/bpfwall/bpfwall/internal/lab"
	"golang.org/x/sys/unix"
)

// TestKilledApply kills `bpfwall apply` at a random moment: the old or the new ruleset is in force, whole, and the next apply works.
func TestKilledApply(t *testing.T) {
	w := swapWorld(t)
	files := swapFiles(t)
	begin := time.Now()
	if err := applyBpfwall(w.DUT, files[0]); err != nil {
		t.Fatal(err)
	}
	usual := time.Since(begin)
	rng := rand.New(rand.NewPCG(*seed, 1))
	inForce, kept, changed := 0, 0, 0
	for i := range *kills {
		next := 1 - inForce
		cmd, err := w.DUT.Command(append([]string{"apply", "--yes"}, files[next]...)...)
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		delay := time.Duration(rng.Int64N(int64(usual)))
		time.Sleep(delay)
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		switch now := whichRuleset(t, w); now {
		case inForce:
			kept++
		case next:
			changed++
			inForce = next
		default:
			t.Fatalf("kill %d, after %s: neither ruleset is in force", i, delay)
		}
		if i%3 == 2 { // kills may follow each other
			if err := applyBpfwall(w.DUT, files[0]); err != nil {
				t.Fatalf("after kill %d, at %s: %v", i, delay, err)
			}
			if inForce = whichRuleset(t, w); inForce != 0 {
				t.Fatalf("after kill %d, at %s: the next apply did not put its ruleset in force", i, delay)
			}
		}
	}
	t.Logf("%d kills within %s: old ruleset %d times, new %d times", *kills, usual.Round(time.Millisecond), kept, changed)
}

// whichRuleset probes all streams: 0 or 1 if exactly that ruleset judged all of them, else -1.
func whichRuleset(t *testing.T, w *lab.World) int {
	t.Helper()
	before := [2]map[int]uint64{}
	before[0], before[1] = arrived(t, w)
	for _, s := range streams(w) {
		probe(t, s)
	}
	after := [2]map[int]uint64{}
	after[0], after[1] = arrived(t, w)
	var passed [4]uint64
	for i, port := range probePorts {
		for hook := range after {
			passed[i] += after[hook][port] - before[hook][port]
		}
	}
	switch passed {
	case [4]uint64{3, 0, 3, 0}:
		return 0
	case [4]uint64{3, 0, 0, 3}:
		return 1
	}
	t.Logf("of 3 probes each passed %v", passed)
	return -1
}

var probeFlow uint16

// probe sends one packet to each probe port, of a flow that is new.
func probe(t *testing.T, s stream) {
	t.Helper()
	port, err := s.from.OpenPort("eth0")
	if err != nil {
		t.Fatal(err)
	}
	defer port.Close()
	probeFlow++
	for _, dport := range probePorts {
		p := lab.Packet{SrcMAC: s.leg.FarMAC, DstMAC: s.leg.DUTMAC, Src: s.src, Dst: s.dst, TTL: 64, Proto: unix.IPPROTO_UDP,
			SrcPort: 30000 + probeFlow, DstPort: uint16(dport), Payload: make([]byte, 8)}
		if err := port.Send(p.Frame()); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(2 * time.Millisecond) // veth hands packets over in the sender's system call, or a little later
}
