package netns

import (
	"bytes"
	"testing"

	"github.com/bpfwall/bpfwall/internal/lab"
	"golang.org/x/sys/unix"
)

// TestOddFrames sends what hides a forbidden packet from firewalls that look in the wrong place: tags, fragments, options.
// Port 1001 is open, port 1002 is not; a case passes a packet to each.
func TestOddFrames(t *testing.T) {
	six := lab.Packet{Src: lab.LAN.Far6.Addr(), Dst: lab.LAN.DUT6.Addr()}
	four := lab.Packet{Src: lab.LAN.Far4.Addr(), Dst: lab.LAN.DUT4.Addr()}
	cases := []struct {
		name   string
		base   lab.Packet
		frames func(p *lab.Packet) [][]byte
	}{
		{"plain", four, whole},
		{"plain", six, whole},
		{"priority tag", four, tagged},
		{"priority tag", six, tagged},
		{"two priority tags", four, func(p *lab.Packet) [][]byte { return [][]byte{tag(tag(p.Frame()))} }},
		{"IP options", with(four, func(p *lab.Packet) { p.IPOptions = bytes.Repeat([]byte{1}, 40) }), whole},
		{"destination options and routing header", with(six, func(p *lab.Packet) {
			p.Extensions = []lab.Header{{Proto: unix.IPPROTO_DSTOPTS, Body: []byte{1, 4, 0, 0, 0, 0}}, {Proto: unix.IPPROTO_DSTOPTS, Body: padN(254)}}
		}), whole},
		{"seven extension headers", with(six, func(p *lab.Packet) {
			for range 7 {
				p.Extensions = append(p.Extensions, lab.Header{Proto: unix.IPPROTO_DSTOPTS, Body: []byte{1, 4, 0, 0, 0, 0}})
			}
		}), whole},
		{"fragments", four, fragments(16)},
		{"fragments", six, fragments(16)},
		{"a lone fragment header", six, fragments(1 << 15)},
		{"many fragments", four, fragments(8)},
	}
	forEngines(t, lab.Options{Wires: true}, func(t *testing.T, w *lab.World, apply func([]string)) {
		if err := w.DUT.CountPorts("input", 1001, 1002); err != nil {
			t.Fatal(err)
		}
		apply(rules(t, ":INPUT ACCEPT [0:0]", "-A INPUT -m conntrack --ctstate INVALID -j DROP", "-A INPUT -p udp -m udp --dport 1001 -j ACCEPT", "-A INPUT -p udp -j DROP"))
		port := openPort(t, w.Client.OpenPort, "eth0")
		want := map[int]uint64{1001: 0, 1002: 0}
		for i, c := range cases {
			for _, dport := range []uint16{1001, 1002} {
				p := c.base
				p.SrcMAC, p.DstMAC, p.ID, p.TTL, p.Proto = lab.LAN.FarMAC, lab.LAN.DUTMAC, uint32(1000*int(dport)+i), 64, unix.IPPROTO_UDP
				p.SrcPort, p.DstPort, p.Payload = uint16(30000+i), dport, make([]byte, 100)
				for _, f := range c.frames(&p) {
					if err := port.Send(f); err != nil {
						t.Fatal(err)
					}
				}
			}
			want[1001]++
			got, err := w.DUT.PortCounts()
			if err != nil {
				t.Fatal(err)
			}
			if got[1001] != want[1001] || got[1002] != want[1002] {
				t.Errorf("%s (%s): %d of the allowed and %d of the forbidden passed", c.name, c.base.Dst, got[1001]-want[1001]+1, got[1002]-want[1002])
				want = got
			}
		}
	})
}

func with(p lab.Packet, change func(*lab.Packet)) lab.Packet {
	change(&p)
	return p
}

func whole(p *lab.Packet) [][]byte  { return [][]byte{p.Frame()} }
func tagged(p *lab.Packet) [][]byte { return [][]byte{tag(p.Frame())} }

func fragments(size int) func(p *lab.Packet) [][]byte {
	return func(p *lab.Packet) [][]byte { return p.Fragments(size) }
}

// tag puts an 802.1Q tag with VLAN id 0 into a frame: a priority tag, which the kernel takes off again.
func tag(f []byte) []byte {
	out := append([]byte{}, f[:12]...)
	out = append(out, 0x81, 0x00, 0x60, 0x00)
	return append(out, f[12:]...)
}

// padN is the body of an options header with one PadN option of n bytes in all, a multiple of 8 with the header's first two.
func padN(n int) []byte {
	b := make([]byte, n)
	b[0], b[1] = 1, byte(n-2)
	return b
}
