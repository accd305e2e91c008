package netns

import (
	"encoding/json"
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bpfwall/bpfwall/internal/lab"
	"golang.org/x/sys/unix"
)

var (
	flood      = flag.Int("flood", 150_000, "spoofed packets of each protocol that TestFlood sends at least, each twice; the table of unanswered flows has 131,072 entries")
	floodFor   = flag.Duration("flood-for", 0, "how long TestFlood sends at least, for each protocol")
	floodLeast = flag.Float64("flood-least", 0, "packets a second that TestFlood sends at least; fewer are a failure")
)

// floodRules let answers and some new connections through.
const floodRules = `*filter
:INPUT DROP [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -p tcp -m tcp --dport 80 --syn -j ACCEPT
-A FORWARD -p udp -m udp --dport 53 -j ACCEPT
-A FORWARD -p icmp -m icmp --icmp-type 8 -j ACCEPT
COMMIT
`

const (
	floodFlows = 1000
	floodBatch = 500    // frames in one go, fewer than netdev_max_backlog
	floodChunk = 25_000 // packets between two looks
)

// wires is a world of wires with its ports, client first.
type wires struct {
	*lab.World
	ports [2]*lab.Port
}

// newWires makes a world with rules from a file of that name.
func newWires(t *testing.T, name, rules string) *wires {
	t.Helper()
	w := &wires{World: newWorld(t, lab.Options{Wires: true})}
	w.ports = [2]*lab.Port{openPort(t, w.Client.OpenPort, "eth0"), openPort(t, w.Server.OpenPort, "eth0")}
	path := filepath.Join(t.TempDir(), name)
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
	if err := w.ports[1-side].Drain(func([]byte) {}); err != nil {
		t.Fatal(err)
	}
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

// between makes the frames of one packet of each flow, from the client (side 0) or the server, port 80 or 53.
func between(side int, p lab.Packet) (frames [][]byte) {
	port := map[uint8]uint16{unix.IPPROTO_TCP: 80, unix.IPPROTO_UDP: 53}[p.Proto]
	for i := range floodFlows {
		client, server := netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}), lab.WAN.Far4.Addr()
		p.SrcMAC, p.DstMAC, p.Src, p.Dst, p.SrcPort, p.DstPort = lab.LAN.FarMAC, lab.LAN.DUTMAC, client, server, uint16(20000+i), port
		if side == 1 {
			p.SrcMAC, p.DstMAC, p.Src, p.Dst, p.SrcPort, p.DstPort = lab.WAN.FarMAC, lab.WAN.DUTMAC, server, client, port, p.SrcPort
		}
		p.TTL, p.Window = 77, 60000
		frames = append(frames, p.Frame())
	}
	return frames
}

// later are the packets that go to and fro on established flows, client's first.
func later(proto uint8) [2][][]byte {
	return [2][][]byte{between(0, lab.Packet{Proto: proto, Flags: lab.ACK, Seq: 1001, Ack: 5001}), between(1, lab.Packet{Proto: proto, Flags: lab.ACK, Seq: 5001, Ack: 1001})}
}

// expect sends frames that must all pass.
func (w *wires) expect(t *testing.T, what string, side int, frames [][]byte) {
	t.Helper()
	if n := w.pass(t, side, frames); n != len(frames) {
		t.Errorf("%s: %d of %d passed", what, n, len(frames))
	}
}

// establish begins flows that are assured, as conntrack calls it.
func (w *wires) establish(t *testing.T, proto uint8) {
	t.Helper()
	w.expect(t, "first", 0, between(0, lab.Packet{Proto: proto, Flags: lab.SYN, Seq: 1000}))
	w.expect(t, "answer", 1, between(1, lab.Packet{Proto: proto, Flags: lab.SYN | lab.ACK, Seq: 5000, Ack: 1001}))
	if proto == unix.IPPROTO_UDP {
		time.Sleep(2100 * time.Millisecond) // until they are streams
	}
	w.expect(t, "third", 0, later(proto)[0])
}

// Connections live through a flood of new ones, from made-up hosts, that fills the table of unanswered ones; half of them are idle.
func TestFlood(t *testing.T) {
	for _, c := range []struct {
		name   string
		packet lab.Packet
		flows  uint8
	}{
		{"tcp", lab.Packet{Proto: unix.IPPROTO_TCP, SrcPort: 30000, DstPort: 80, Flags: lab.SYN, Seq: 1, Window: 1024}, unix.IPPROTO_TCP},
		{"udp", lab.Packet{Proto: unix.IPPROTO_UDP, SrcPort: 30000, DstPort: 53, Payload: make([]byte, 30)}, unix.IPPROTO_UDP},
		{"icmp", lab.Packet{Proto: unix.IPPROTO_ICMP, Type: 8, Payload: make([]byte, 30)}, unix.IPPROTO_TCP},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWires(t, "rules.v4", floodRules)
			w.establish(t, c.flows)
			w.flood(t, newFlooder(w, c.packet), c.flows)
			all := later(c.flows)
			w.expect(t, "server after the flood", 1, all[1])
			w.expect(t, "client after the flood", 0, all[0])
		})
	}
}

// flood sends each packet twice, and looks after half of the flows meanwhile.
func (w *wires) flood(t *testing.T, f *flooder, flows uint8) {
	t.Helper()
	all := later(flows)
	busy := [2][][]byte{all[0][:floodFlows/2], all[1][:floodFlows/2]}
	begin, sent, seen := time.Now(), 0, uint32(0)
	for chunk := 0; sent < 2**flood || time.Since(begin) < *floodFor; chunk++ {
		if chunk%4 == 1 {
			w.expect(t, "busy client during the flood", 0, busy[0])
			w.expect(t, "busy server during the flood", 1, busy[1])
			w.seen(t)
		}
		f.send(t, floodChunk, 2)
		sent += 2 * floodChunk
		seen += w.seen(t)
	}
	spent := time.Since(begin)
	rate := float64(sent) / spent.Seconds()
	t.Logf("%d packets twice in %.1f s, %.0f a second", sent/2, spent.Seconds(), rate)
	if int(seen) < sent*99/100 {
		t.Errorf("%d packets of %d passed", seen, sent)
	}
	if rate < *floodLeast {
		t.Errorf("fewer than %.0f a second", *floodLeast)
	}
}

// seen is how many frames have come to the server since it was last asked.
func (w *wires) seen(t *testing.T) uint32 {
	t.Helper()
	n, _, err := w.ports[1].Seen()
	if err != nil {
		t.Fatal(err)
	}
	if err := w.ports[1].Drain(func([]byte) {}); err != nil {
		t.Fatal(err)
	}
	return n
}

// Packets that the rules drop leave nothing behind.
func TestBlockedFlood(t *testing.T) {
	w := newWires(t, "rules.v4", floodRules)
	for _, p := range []lab.Packet{
		{Proto: unix.IPPROTO_TCP, SrcPort: 30000, DstPort: 9, Flags: lab.SYN, Seq: 1, Window: 1024},
		{Proto: unix.IPPROTO_UDP, SrcPort: 30000, DstPort: 9},
		{Proto: unix.IPPROTO_ICMP, Type: 13, Payload: make([]byte, 12)},
	} {
		w.seen(t)
		newFlooder(w, p).send(t, 200_000, 1)
		if n := w.seen(t); n > 100 { // neighbours may talk
			t.Errorf("protocol %d: %d passed", p.Proto, n)
		}
		if n := w.flows(t); n != 0 {
			t.Errorf("protocol %d: %d entries", p.Proto, n)
		}
	}
}

// flows is how many flows bpfwall knows.
func (w *wires) flows(t *testing.T) int {
	t.Helper()
	text, err := w.DUT.Bpfwall("show", "flows", "--json")
	if err != nil {
		t.Fatal(err)
	}
	var list struct{ Flows []any }
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		t.Fatalf("%s: %s", err, text)
	}
	return len(list.Flows)
}

// notice is what watch says of an event.
type notice struct{ Rule, Verdict, Packet string }

// watchOne begins to watch; what it returns waits for the first event.
func (w *wires) watchOne(t *testing.T) func() notice {
	t.Helper()
	cmd, err := w.DUT.Command("watch", "--json", "--count", "1")
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(700 * time.Millisecond) // until it listens
	return func() (e notice) {
		t.Helper()
		timer := time.AfterFunc(10*time.Second, func() { _ = cmd.Process.Kill() })
		defer timer.Stop()
		if err := json.NewDecoder(out).Decode(&e); err != nil {
			t.Error(err)
		}
		_ = cmd.Wait()
		return e
	}
}

const perSourceRules = `version = 1
[conntrack]
per_source = 100
[[forward]]
allow = "dns"
`

// A source has no more flows than the policy gives it, and others are not concerned.
func TestPerSourceLimit(t *testing.T) {
	w := newWires(t, "policy.toml", perSourceRules)
	var frames [][]byte
	for i := range 5000 {
		p := lab.Packet{SrcMAC: lab.LAN.FarMAC, DstMAC: lab.LAN.DUTMAC, Src: netip.MustParseAddr("10.1.9.9"), Dst: lab.WAN.Far4.Addr(), TTL: 77,
			Proto: unix.IPPROTO_UDP, SrcPort: uint16(10000 + i), DstPort: 53}
		frames = append(frames, p.Frame())
	}
	event := w.watchOne(t)
	if n := w.pass(t, 0, frames); n != 100 {
		t.Errorf("%d flows, want 100", n)
	}
	if e := event(); e.Rule != "source-full" || e.Verdict != "drop" || !strings.Contains(e.Packet, "10.1.9.9") {
		t.Errorf("event %+v", e)
	}
	if n := w.flows(t); n != 100 {
		t.Errorf("%d entries, want 100", n)
	}
	w.expect(t, "packets of these flows", 0, frames[:100])
	w.expect(t, "others", 0, between(0, lab.Packet{Proto: unix.IPPROTO_UDP}))
	text, err := w.DUT.Bpfwall("status", "--json")
	if err != nil {
		t.Fatal(err)
	}
	var status struct{ Stats map[string]uint64 }
	if err := json.Unmarshal([]byte(text), &status); err != nil || status.Stats["source-full"] != 4900 {
		t.Errorf("%v, counters %v", err, status.Stats)
	}
}
