package netns

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/bpfwall/bpfwall/internal/lab"
	"golang.org/x/sys/unix"
)

// flooder sends packets from made-up hosts beyond the LAN's gateway, as fast as it can: it changes the frames of one batch.
type flooder struct {
	w      *wires
	batch  *lab.Batch
	frames [][]byte
	id     int // where the packet has a number of its sender's choice: source port, or id of a query
	sum    int // and where its transport checksum is
	pseudo bool
	next   uint32
}

// newFlooder floods with copies of a packet to a host behind the WAN's gateway.
func newFlooder(w *wires, p lab.Packet) *flooder {
	f := &flooder{w: w, id: 34, sum: map[uint8]int{unix.IPPROTO_TCP: 50, unix.IPPROTO_UDP: 40, unix.IPPROTO_ICMP: 36}[p.Proto], pseudo: p.Proto != unix.IPPROTO_ICMP}
	if p.Proto == unix.IPPROTO_ICMP {
		f.id = 38
	}
	p.SrcMAC, p.DstMAC, p.Src, p.Dst, p.TTL = lab.LAN.FarMAC, lab.LAN.DUTMAC, netip.MustParseAddr("10.1.0.0"), lab.WAN.Far4.Addr(), 77
	for range floodBatch {
		f.frames = append(f.frames, p.Frame())
	}
	f.batch = lab.NewBatch(f.frames)
	return f
}

// send sends n further packets, each as often as said.
func (f *flooder) send(t *testing.T, n, times int) {
	t.Helper()
	for ; n > 0; n -= floodBatch {
		for _, frame := range f.frames {
			f.set(frame, 28, uint16(f.next), 24, f.pseudo)
			f.set(frame, f.id, uint16(30000+f.next>>16), 0, true)
			f.next++
		}
		for range times {
			if _, err := f.w.ports[0].SendBatch(f.batch); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// set changes a field of a frame and corrects the checksum of the IP header, at ipSum if that is not 0, and of the transport header if
// the field is part of that (RFC 1624).
func (f *flooder) set(frame []byte, at int, value uint16, ipSum int, transport bool) {
	old := binary.BigEndian.Uint16(frame[at:])
	binary.BigEndian.PutUint16(frame[at:], value)
	correct := func(at int) {
		sum := uint32(^binary.BigEndian.Uint16(frame[at:])) + uint32(^old) + uint32(value)
		sum = sum&0xffff + sum>>16
		binary.BigEndian.PutUint16(frame[at:], ^uint16(sum+sum>>16))
	}
	if ipSum > 0 {
		correct(ipSum)
	}
	if transport {
		correct(f.sum)
	}
}
