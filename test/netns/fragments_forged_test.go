package netns

import (
	"fmt"
	"net/netip"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/bpfwall/bpfwall/internal/lab"
)

// sentBefore is how many packets forgedArrivals has numbered.
var sentBefore atomic.Uint32

// forgedArrivals sends a datagram whole and one in fragments, and tells how many of them come.
func forgedArrivals(t *testing.T, w *lab.World, to *lab.NS, from, addr netip.Addr, port uint16) (n int) {
	t.Helper()
	wire := openPort(t, w.Client.OpenPort, "eth0")
	open, watched := listenUDP(t, to, addr, 1001), listenUDP(t, to, addr, port)
	defer open.Close()
	defer watched.Close()
	onOneCPU(t, func() {
		id := 20_000 + sentBefore.Add(3)
		p := lab.Packet{SrcMAC: lab.LAN.FarMAC, DstMAC: lab.LAN.DUTMAC, Src: from, Dst: addr, ID: id, TTL: 64,
			Proto: unix.IPPROTO_UDP, SrcPort: uint16(id), DstPort: port, Payload: make([]byte, 200)}
		sendAll(t, wire, [][]byte{p.Frame()})
		p.ID++
		sendAll(t, wire, append(small(p), lastDatagram(from, addr, id+2)))
		receivedUntil(t, open)
		n = len(atOnce(t, watched))
	})
	return n
}

// TestFragmentsForged: what one hook tells the next about a packet cannot be made up by who sends it, nor does a fragment get by an
// interface that is judged because another one is not.
func TestFragmentsForged(t *testing.T) {
	for _, c := range []struct {
		name          string
		tcIndex       int32
		interfaces    []string
		host, through int // datagrams to the denied port that come; two are sent
	}{
		{"nothing", 0, nil, 0, 0},
		{"a whole that FORWARD judges", 0x1100, nil, 0, 0},
		{"everything", 0xffff, nil, 0, 0},
		{"from an interface that is left out", 0, []string{"lo", "wan0"}, 2, 0},
		{"the same, forged", 0x1100, []string{"lo", "wan0"}, 0, 0}, // whoever asks for judgement gets it
		{"to an interface that is left out", 0, []string{"lo", "lan0"}, 0, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, lab.Options{})
			args := []string{"apply", "--yes"}
			for _, i := range c.interfaces {
				args = append(args, "--interface", i)
			}
			if out, err := w.DUT.Bpfwall(append(args, fragmentRules(t)...)...); err != nil {
				t.Fatal(err, out)
			}
			sendWith(t, w.Client, c.tcIndex)
			for _, f := range families {
				got := fmt.Sprintf("%d to the host, %d through", forgedArrivals(t, w, w.DUT, f.client, f.lan, 1002), forgedArrivals(t, w, w.Server, f.client, f.server, 1002))
				if want := fmt.Sprintf("%d to the host, %d through", c.host, c.through); got != want {
					t.Errorf("%s: %s, want %s", f.name, got, want)
				}
			}
		})
	}
}
