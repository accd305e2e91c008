package netns

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bpfwall/bpfwall/internal/lab"
	"golang.org/x/sys/unix"
)

var xdpSwaps = flag.Int("xdp-swaps", 12, "swaps of TestSwapsInXDP")

// Ports of TestSwapsInXDP: what the rules drop in XDP, keep out of connection tracking, and let be.
const (
	portTracked   = 7
	portUntracked = 8
	portDropped   = 9
)

// guardFile writes rules of which XDP judges the raw table's. Filler makes two of them differ.
func guardFile(t *testing.T, filler string) string {
	t.Helper()
	lines := []string{"*raw", ":PREROUTING ACCEPT [0:0]", ":OUTPUT ACCEPT [0:0]",
		"-A PREROUTING -s " + filler + " -j DROP",
		fmt.Sprintf("-A PREROUTING -p udp -m udp --dport %d -j DROP", portDropped),
		fmt.Sprintf("-A PREROUTING -p udp -m udp --dport %d -j CT --notrack", portUntracked),
		"COMMIT", "*filter", ":INPUT DROP [0:0]", ":FORWARD DROP [0:0]", ":OUTPUT ACCEPT [0:0]",
		fmt.Sprintf("-A INPUT -p udp -m udp --dport %d -m conntrack --ctstate UNTRACKED -j ACCEPT", portUntracked),
		fmt.Sprintf("-A INPUT -p udp -m udp --dport %d -m conntrack --ctstate NEW,ESTABLISHED -j ACCEPT", portTracked),
		fmt.Sprintf("-A INPUT -p udp -m udp --dport %d -j ACCEPT", portDropped),
		"COMMIT", ""}
	path := filepath.Join(t.TempDir(), "rules.v4")
	if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestSwapsInXDP swaps rulesets that agree about three ports while packets to these pour in: of what XDP drops nothing passes and every
// packet is counted once, what it lets pass is judged further at tc, once, and NOTRACK is heeded there.
func TestSwapsInXDP(t *testing.T) {
	w := newWorld(t, lab.Options{Wires: true})
	port := openPort(t, w.Client.OpenPort, "eth0")
	if err := w.DUT.CountPorts("input", portTracked, portUntracked, portDropped); err != nil {
		t.Fatal(err)
	}
	files := []string{guardFile(t, "203.0.113.1"), guardFile(t, "203.0.113.2")}
	apply := func(n int) {
		if err := applyBpfwall(w.DUT, []string{"--xdp", "native", files[n%2]}); err != nil {
			t.Error(err)
		}
	}
	apply(0)
	for command, want := range map[string]string{
		"status":     "lan0 guard xdp attached",
		"show rules": "on prerouting, in XDP on lan0 wan0",
		"explain udp 192.0.2.10 to 192.0.2.1:9 in lan0": "note: prerouting rules judge in XDP on lan0",
	} {
		if text, err := w.DUT.Bpfwall(strings.Fields(command)...); err != nil || !strings.Contains(strings.Join(strings.Fields(text), " "), want) {
			t.Errorf("%s: %v: %s\nwant %q", command, err, text, want)
		}
	}
	var stop atomic.Bool
	sent := make(chan uint64)
	go func() { sent <- pour(t, port, &stop) }()
	for n := range *xdpSwaps {
		apply(n + 1)
	}
	stop.Store(true)
	n := <-sent
	time.Sleep(100 * time.Millisecond)
	got, err := w.DUT.PortCounts()
	if err != nil {
		t.Fatal(err)
	}
	counted := ruleCounts(t, w.DUT)
	t.Logf("%d packets to each port, %d swaps; counted %v", n, *xdpSwaps, counted)
	if got[portTracked] != n || got[portUntracked] != n || got[portDropped] != 0 {
		t.Errorf("%d packets were sent to each port, %v came to the stack", n, got)
	}
	for line, low := range map[int]bool{5: false, 6: true, 12: false, 13: false} {
		// What a flip overtakes between XDP and tc is judged by both generations.
		if c := counted[line]; c < n || c > n && !low || c > n+n/1000+100 {
			t.Errorf("line %d counts %d of %d packets", line, c, n)
		}
	}
}

// pour sends packets to the three ports until it is told to stop, and reports how many to each.
func pour(t *testing.T, port *lab.Port, stop *atomic.Bool) (n uint64) {
	var frames [][]byte
	for i := range 30 {
		p := lab.Packet{SrcMAC: lab.LAN.FarMAC, DstMAC: lab.LAN.DUTMAC, Src: lab.LAN.Far4.Addr(), Dst: lab.LAN.DUT4.Addr(), TTL: 64,
			Proto: unix.IPPROTO_UDP, SrcPort: 4000, DstPort: []uint16{portTracked, portUntracked, portDropped}[i%3]}
		frames = append(frames, p.Frame())
	}
	batch := lab.NewBatch(frames)
	for !stop.Load() {
		if _, err := port.SendBatch(batch); err != nil {
			t.Error(err)
			return n
		}
		n += uint64(len(frames)) / 3
		time.Sleep(300 * time.Microsecond) // a veth with XDP queues 256 frames
	}
	return n
}

// ruleCounts are the packets that rules have counted, by line.
func ruleCounts(t *testing.T, n *lab.NS) map[int]uint64 {
	t.Helper()
	text, err := n.Bpfwall("show", "rules", "--json")
	if err != nil {
		t.Fatal(err)
	}
	var listing struct {
		Rules []struct {
			Rule    string
			Packets uint64
			Pos     struct{ Line int }
		}
	}
	if err := json.Unmarshal([]byte(text), &listing); err != nil {
		t.Fatal(err)
	}
	out := map[int]uint64{}
	for _, r := range listing.Rules {
		if r.Rule != "" {
			out[r.Pos.Line] += r.Packets
		}
	}
	return out
}
