package netns

import (
	"encoding/json"
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/bpfwall/bpfwall/internal/lab"
	"golang.org/x/sys/unix"
)

var flood = flag.Int("flood", 200_000, "spoofed SYNs that TestFlood sends, each twice; the table of unanswered flows has 131,072 entries")

// floodRules let answers and new connections to port 80 through.
const floodRules = `*filter
:INPUT DROP [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -p tcp -m tcp --dport 80 --syn -j ACCEPT
COMMIT
`

const (
	floodFlows = 1000
	floodBatch = 500    // frames in one go, fewer than netdev_max_backlog
	floodChunk = 25_000 // frames between two looks
)

// wires is a world of wires with its ports, client first.
type wires struct {
	*lab.World
	ports [2]*lab.Port
}

func newWires(t *testing.T, rules string) *wires {
	t.Helper()
	w := &wires{World: newWorld(t, lab.Options{Wires: true})}
	w.ports = [2]*lab.Port{openPort(t, w.Client.OpenPort, "eth0"), openPort(t, w.Server.OpenPort, "eth0")}
	path := filepath.Join(t.TempDir(), "rules.v4")
	if err := os.WriteFile(path, []byte(rules), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := applyBpfwall(w.DUT, []string{path}); err != nil {
		t.Fatal(err)
	}
	return w
}

// pass sends frames from a side and reports how many packets come out of the other.
func (w *wires) pass(t *testing.T, side int, frames [][]byte) (n int) {
	t.Helper()
	count := func(frame []byte) {
		if ip, ok := readIP(frame); ok && ip.ttl == 76 {
			n++
		}
	}
	for len(frames) > 0 {
		now := frames[:min(floodBatch, len(frames))]
		frames = frames[len(now):]
		if _, err := w.ports[side].SendBatch(lab.NewBatch(now)); err != nil {
			t.Fatal(err)
		}
		if err := w.ports[1-side].Drain(count); err != nil {
			t.Fatal(err)
		}
	}
	for {
		more, err := w.ports[1-side].Wait(100)
		if err != nil {
			t.Fatal(err)
		}
		if !more {
			return n
		}
		if err := w.ports[1-side].Drain(count); err != nil {
			t.Fatal(err)
		}
	}
}

// segments are the frames of one TCP segment of each flow, from the client (side 0) or the server.
func segments(side int, flags uint8, seq, ack uint32) (frames [][]byte) {
	for i := range floodFlows {
		client, server := netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}), lab.WAN.Far4.Addr()
		p := lab.Packet{SrcMAC: lab.LAN.FarMAC, DstMAC: lab.LAN.DUTMAC, Src: client, Dst: server, SrcPort: uint16(20000 + i), DstPort: 80}
		if side == 1 {
			p = lab.Packet{SrcMAC: lab.WAN.FarMAC, DstMAC: lab.WAN.DUTMAC, Src: server, Dst: client, SrcPort: 80, DstPort: uint16(20000 + i)}
		}
		p.TTL, p.Proto, p.Flags, p.Seq, p.Ack, p.Window = 77, unix.IPPROTO_TCP, flags, seq, ack, 60000
		frames = append(frames, p.Frame())
	}
	return frames
}

// spoofed are frames from made-up hosts beyond the LAN's gateway, numbered from on.
func spoofed(from, n int, proto uint8, port uint16) (frames [][]byte) {
	for i := from; i < from+n; i++ {
		p := lab.Packet{SrcMAC: lab.LAN.FarMAC, DstMAC: lab.LAN.DUTMAC, Src: netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}), Dst: lab.WAN.Far4.Addr(),
			TTL: 77, Proto: proto, SrcPort: uint16(30000 + i>>16), DstPort: port, Flags: lab.SYN, Seq: uint32(i), Window: 1024}
		frames = append(frames, p.Frame())
	}
	return frames
}

// Connections live through a flood of SYNs to an open port that fills the table of unanswered ones several times, half of them idle.
func TestFlood(t *testing.T) {
	w := newWires(t, floodRules)
	expect := func(what string, side int, frames [][]byte) {
		t.Helper()
		if n := w.pass(t, side, frames); n != len(frames) {
			t.Errorf("%s: %d of %d passed", what, n, len(frames))
		}
	}
	expect("SYN", 0, segments(0, lab.SYN, 1000, 0))
	expect("SYN/ACK", 1, segments(1, lab.SYN|lab.ACK, 5000, 1001))
	expect("ACK", 0, segments(0, lab.ACK, 1001, 5001))
	begin, passed := time.Now(), 0
	busy := [2][][]byte{segments(0, lab.ACK, 1001, 5001)[:floodFlows/2], segments(1, lab.ACK, 5001, 1001)[:floodFlows/2]}
	for n := 0; n < *flood; n += floodChunk {
		frames := spoofed(n, floodChunk, unix.IPPROTO_TCP, 80)
		passed += w.pass(t, 0, frames) + w.pass(t, 0, frames)
		if n%(2*floodChunk) == 0 {
			expect("busy client during the flood", 0, busy[0])
			expect("busy server during the flood", 1, busy[1])
		}
	}
	spent := time.Since(begin).Seconds()
	t.Logf("%d SYNs twice in %.1f s, %.0f a second", *flood, spent, 2*float64(*flood)/spent)
	if passed < 2**flood*99/100 {
		t.Errorf("%d SYNs of %d passed", passed, 2**flood)
	}
	expect("server after the flood", 1, segments(1, lab.ACK, 5001, 1001))
	expect("client after the flood", 0, segments(0, lab.ACK, 1001, 5001))
}

// Packets that the rules drop leave nothing behind.
func TestBlockedFlood(t *testing.T) {
	w := newWires(t, floodRules)
	for n := 0; n < 200_000; n += floodChunk {
		if got := w.pass(t, 0, spoofed(n, floodChunk, unix.IPPROTO_UDP, 9)); got != 0 {
			t.Fatalf("%d passed", got)
		}
	}
	text, err := w.DUT.Bpfwall("show", "flows", "udp", "--json")
	if err != nil {
		t.Fatal(err)
	}
	var list struct{ Flows []any }
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		t.Fatalf("%s: %s", err, text)
	}
	if len(list.Flows) != 0 {
		t.Errorf("%d entries", len(list.Flows))
	}
}
