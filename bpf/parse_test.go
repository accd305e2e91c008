package bpf

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// want is what TestParse looks at of a packet.
type want struct {
	Proto         uint8
	Sport, Dport  uint32
	Flags, Type   uint16
	Frag, More    uint8
	Malformed     uint8
	Length, L4Off int
}

const (
	no16 = 0x10000 // FW_ABSENT16
	no8  = 0x100   // FW_ABSENT8
)

func seen(p Pkt) want {
	return want{p.Proto, p.Sport, p.Dport, p.TcpFlags, p.IcmpType, p.Frag, p.MoreFrags, p.Malformed, int(p.Length), int(p.L4Off)}
}

// ext is an IPv6 extension header of 8 * (more + 1) bytes.
func ext(next byte, more int) []byte {
	return append([]byte{next, byte(more)}, make([]byte, 8*(more+1)-2)...)
}

func frag6(next byte, offset int, m int) []byte {
	return slices.Concat([]byte{next, 0}, be16(offset|m), be32(77))
}

func TestParse(t *testing.T) {
	b := newBench(t, classifier(t))
	tcp := seg{sport: 31245, dport: 80, flags: syn}.bytes()
	v4 := func(proto byte, frag int, options, payload []byte) []byte {
		return ether(nil, 0x0800, ip4(peer4, local4, proto, frag, options, payload))
	}
	v6 := func(next byte, payload ...[]byte) []byte {
		return ether(nil, 0x86dd, ip6(peer6, local6, next, slices.Concat(payload...)))
	}
	for _, c := range []struct {
		name  string
		frame []byte
		want  want
	}{
		{"tcp", v4(protoTCP, 0, nil, tcp), want{6, 31245, 80, syn, no8, 0, 0, 0, 40, 34}},
		{"tcp 6", v6(protoTCP, tcp), want{6, 31245, 80, syn, no8, 0, 0, 0, 60, 54}},
		{"udp", v4(protoUDP, 0, nil, udp(53, 5353, 10)), want{17, 53, 5353, no8, no8, 0, 0, 0, 38, 34}},
		{"icmp", v4(protoICMP, 0, nil, icmp(8, 0, 1, nil)), want{1, no16, no16, no8, 8, 0, 0, 0, 28, 34}},
		{"icmp 6", v6(protoICMP6, icmp(128, 0, 1, nil)), want{58, no16, no16, no8, 128, 0, 0, 0, 48, 54}},
		{"sctp", v4(132, 0, nil, append(be16(1, 2), make([]byte, 8)...)), want{132, 1, 2, no8, no8, 0, 0, 0, 32, 34}},
		{"gre", v4(protoGRE, 0, nil, make([]byte, 8)), want{47, no16, no16, no8, no8, 0, 0, 0, 28, 34}},
		{"ip options", v4(protoTCP, 0, make([]byte, 40), tcp), want{6, 31245, 80, syn, no8, 0, 0, 0, 80, 74}},
		{"padding is not the packet", append(v4(protoTCP, 0, nil, tcp[:10]), tcp[10:]...), want{6, no16, no16, no8, no8, 0, 0, 1, 30, 34}},
		{"doff past the end", v4(protoTCP, 0, nil, append(append(tcp[:12:12], 0xf0), tcp[13:]...)),
			want{6, 31245, 80, syn, no8, 0, 0, 1, 40, 34}},
		{"udp length lies", v4(protoUDP, 0, nil, be16(1, 2, 9, 0)), want{17, 1, 2, no8, no8, 0, 0, 1, 28, 34}},
		{"first fragment", v4(protoUDP, 0x2000, nil, append(be16(1, 2, 99, 0), 0)), want{17, 1, 2, no8, no8, 0, 1, 0, 29, 34}},
		{"later fragment", v4(protoUDP, 3, nil, udp(1, 2, 0)), want{17, no16, no16, no8, no8, 1, 0, 0, 28, 34}},
		{"hop, dest, routing", v6(0, ext(60, 0), ext(43, 2), ext(6, 1), tcp), want{6, 31245, 80, syn, no8, 0, 0, 0, 108, 102}},
		{"atomic fragment", v6(44, frag6(6, 0, 0), tcp), want{6, 31245, 80, syn, no8, 0, 0, 0, 68, 62}},
		{"first fragment 6", v6(44, frag6(60, 0, 1), ext(6, 0), tcp), want{6, 31245, 80, syn, no8, 0, 1, 0, 76, 70}},
		{"later fragment 6", v6(44, frag6(17, 8, 0), udp(1, 2, 0)), want{17, no16, no16, no8, no8, 1, 0, 0, 56, 62}},
		{"ah ends the chain", v6(51, ext(6, 1), tcp), want{51, no16, no16, no8, no8, 0, 0, 0, 76, 54}},
		{"esp", v6(50, make([]byte, 20)), want{50, no16, no16, no8, no8, 0, 0, 0, 60, 54}},
		{"no next header", v6(59), want{59, no16, no16, no8, no8, 0, 0, 0, 40, 54}},
		{"chain cut short", v6(0, ext(60, 0), []byte{6, 0}), want{60, no16, no16, no8, no8, 0, 0, 1, 50, 62}},
		{"header past the end", append(v6(0, ext(6, 0)[:1], []byte{9}, ext(6, 0)[2:]), make([]byte, 100)...), want{6, no16, no16, no8, no8, 0, 0, 1, 48, 134}},
		{"header past the end, no transport", v6(0, []byte{50, 9}, ext(6, 0)[2:]), want{50, no16, no16, no8, no8, 0, 0, 1, 48, 134}},
		{"32 headers", v6(60, many(32, 6), tcp), want{6, 31245, 80, syn, no8, 0, 0, 0, 60 + 32*8, 54 + 32*8}},
		{"priority tags", ether(slices.Concat(be16(0x8100, 0xe000, 0x88a8, 0, 0x8100, 0)), 0x0800, ip4(peer4, local4, 6, 0, nil, tcp)),
			want{6, 31245, 80, syn, no8, 0, 0, 0, 40, 46}},
	} {
		ret, p := b.run("tc_ingress", ourselves, c.frame)
		if ret != pass {
			t.Errorf("%s: verdict %d", c.name, ret)
		}
		if diff := cmp.Diff(c.want, seen(p)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

// many is a chain of n destination options headers.
func many(n int, last byte) (b []byte) {
	for i := range n {
		next := byte(60)
		if i == n-1 {
			next = last
		}
		b = append(b, ext(next, 0)...)
	}
	return b
}

func TestNotJudged(t *testing.T) {
	spec := classifier(t)
	b := newBench(t, spec)
	tcp := seg{sport: 31245, dport: 80, flags: syn}.bytes()
	packet := ip4(peer4, local4, protoTCP, 0, nil, tcp)
	edit := func(at int, v byte) []byte { p := slices.Clone(packet); p[at] = v; return ether(nil, 0x0800, p) }
	for _, c := range []struct {
		name  string
		frame []byte
		want  uint32
		stat  string
	}{
		{"arp", ether(nil, 0x0806, make([]byte, 28)), pass, ""},
		{"vlan", ether(be16(0x8100, 5), 0x0800, packet), pass, ""},
		{"vlan in priority tag", ether(be16(0x8100, 0, 0x8100, 5), 0x0800, packet), pass, ""},
		{"arp in priority tag", ether(be16(0x8100, 0), 0x0806, make([]byte, 28)), pass, ""},
		{"other host", append([]byte{2, 0, 0, 0, 0, 9}, edit(1, 0)[6:]...), pass, ""},
		{"four tags", ether(be16(0x8100, 0, 0x8100, 0, 0x8100, 0, 0x8100, 0), 0x0800, packet), drop, "long"},
		{"version", edit(0, 0x55), drop, "bad"},
		{"ihl", edit(0, 0x44), drop, "bad"},
		{"ihl past the length", ether(nil, 0x0800, append([]byte{0x4f, 0, 0, 24}, packet[4:]...)), drop, "bad"},
		{"length past the frame", edit(3, 41), drop, "bad"},
		{"length 0", edit(3, 0), drop, "bad"},
		{"version 6", ether(nil, 0x86dd, append([]byte{0x41}, ip6(peer6, local6, 6, tcp)[1:]...)), drop, "bad"},
		{"chain of 33", ether(nil, 0x86dd, ip6(peer6, local6, 60, append(many(33, 6), tcp...))), drop, "long"},
	} {
		counts := map[string]Stat{"bad": ClassifierFwStatFW_STAT_BAD_HEADER, "long": ClassifierFwStatFW_STAT_CHAIN_TOO_LONG}
		before := b.stat(counts[c.stat])
		if ret, _ := b.run("tc_ingress", ourselves, c.frame); ret != c.want {
			t.Errorf("%s: verdict %d, want %d", c.name, ret, c.want)
		}
		if c.stat != "" && b.stat(counts[c.stat]) != before+1 {
			t.Errorf("%s: not counted", c.name)
		}
	}
}

func TestMeta(t *testing.T) {
	b := newBench(t, classifier(t, "cfg_ifnames", "cfg_addrtypes", "cfg_mac", "cfg_tcp_options"))
	key := uint32(b.ifindex & 0xffff)
	iface := Iface{Ifindex: uint32(b.ifindex)}
	for i, c := range []byte("fw0") {
		iface.Name[i] = int8(c)
	}
	if err := b.Maps["ifaces"].Put(key, iface); err != nil {
		t.Fatal(err)
	}
	addr := AddrKey{Prefixlen: 64, Family: 4}
	copy(addrBytes(&addr), local4.AsSlice())
	if err := b.Maps["addr_types"].Put(addr, uint16(1<<2)); err != nil {
		t.Fatal(err)
	}
	options := []byte{1, 2, 4, 5, 0xb4, 3, 3, 7, 4, 2, 254, 2}
	b.mark = 5
	_, p := b.run("tc_ingress", ourselves, frame(peer4, local4, protoTCP, seg{sport: 1, dport: 2, flags: syn, options: options}.bytes()))
	if name := nameOf(p.InName); name != "fw0" {
		t.Errorf("in %q", name)
	}
	if p.Smac != 0x020000000002 || p.DstType != 1<<2 || p.SrcType != 1<<1 || p.Mark != 5 || p.PktType != 1 {
		t.Errorf("smac %x, types %x %x, mark %d, pkt_type %d", p.Smac, p.SrcType, p.DstType, p.Mark, p.PktType)
	}
	if p.TcpMss != 1460 || p.TcpOffer != 0x37 || p.TcpOptions != [4]uint64{1<<1 | 1<<2 | 1<<3 | 1<<4, 0, 0, 1 << 62} {
		t.Errorf("mss %d, offer %#x, options %x", p.TcpMss, p.TcpOffer, p.TcpOptions)
	}
	_, p = b.run("tc_egress", ourselves, frame(local4, peer4, protoUDP, udp(1, 2, 0)))
	if nameOf(p.OutName) != "fw0" || nameOf(p.InName) != "" {
		t.Errorf("in %q out %q", nameOf(p.InName), nameOf(p.OutName))
	}
}

func nameOf(words [2]uint64) string {
	var b strings.Builder
	for _, w := range words {
		for ; w != 0; w >>= 8 {
			b.WriteByte(byte(w))
		}
	}
	return b.String()
}

// Rules read options beyond their end, and the first MSS; conntrack stops there, and the last window scale counts.
// TestSACK: the furthest right edge of the first SACK option there is, from the acknowledgement on.
func TestSACK(t *testing.T) {
	b := newBench(t, classifier(t, "cfg_conntrack"))
	sack := func(edges ...uint32) []byte {
		o := []byte{5, byte(2 + 4*len(edges))}
		for _, e := range edges {
			o = binary.BigEndian.AppendUint32(o, e)
		}
		return o
	}
	for _, c := range []struct {
		name    string
		ack     uint32
		options []byte
		want    uint32
	}{
		{"none", 1000, []byte{1, 1, 1, 1}, 1000},
		{"one block", 1000, append(sack(2000, 3000), 1, 1), 3000},
		{"the second is further", 1000, append(sack(2000, 3000, 4000, 5000), 1, 1), 5000},
		{"the first is further", 1000, append(sack(4000, 5000, 2000, 3000), 1, 1), 5000},
		{"around zero", 0xffffff00, append(sack(0xffffff80, 0), 1, 1), 0},
		{"four", 1000, append(sack(1, 2000, 1, 2001, 1, 2002, 1, 2003), 1, 1), 2003},
		{"two options: the first", 1000, append(append(sack(2000, 3000), sack(4000, 5000)...), 1, 1, 1, 1), 3000},
		{"half a block before it is none", 1000, append(append(sack(2000), sack(4000, 5000)...), 1, 1, 1, 1), 5000},
		{"a block and a half before it is none", 1000, append(append(sack(2000, 6000, 7000), sack(4000, 5000)...), 1, 1, 1, 1), 5000},
		{"behind an end", 1000, append([]byte{0}, append(sack(2000, 3000), 1)...), 1000},
	} {
		s := seg{sport: 1, dport: 2, flags: ack, ack: c.ack, options: c.options}
		_, p := b.run("tc_ingress", ourselves, frame(peer4, local4, protoTCP, s.bytes()))
		if p.TcpSack != c.want {
			t.Errorf("%s: %d, want %d", c.name, p.TcpSack, c.want)
		}
	}
}

func TestTCPOptions(t *testing.T) {
	b := newBench(t, classifier(t, "cfg_tcp_options", "cfg_conntrack"))
	for _, c := range []struct {
		name    string
		options []byte
		kinds   uint64 // bits
		mss     uint32
		offer   uint8
	}{
		{"usual", []byte{2, 4, 5, 0xb4, 4, 2, 1, 3, 3, 7, 0, 0}, 1<<0 | 1<<1 | 1<<2 | 1<<3 | 1<<4, 1460, 0x37},
		{"after the end", []byte{0, 2, 4, 5, 0xb4, 4, 2, 3, 3, 7, 1, 1}, 1<<0 | 1<<1 | 1<<2 | 1<<3 | 1<<4, 1460, 0},
		{"two of each", []byte{2, 4, 1, 0, 2, 4, 2, 0, 3, 3, 5, 3, 3, 15, 1, 1}, 1<<1 | 1<<2 | 1<<3, 256, 0x1e},
		{"length 0", []byte{4, 2, 9, 0, 2, 4, 5, 0xb4, 3, 3, 7, 1}, 1<<0 | 1<<1 | 1<<2 | 1<<3 | 1<<4 | 1<<9, 1460, 0x20},
		{"length 1", []byte{9, 1, 1, 1, 3, 3, 7, 1}, 1<<1 | 1<<3 | 1<<9, no16, 0},
		{"does not fit", []byte{1, 1, 1, 1, 1, 2, 4, 5}, 1<<1 | 1<<2, no16, 0},
		{"as many as there can be", append(bytes.Repeat([]byte{1}, 39), 9), 1<<1 | 1<<9, no16, 0},
		{"last", append(bytes.Repeat([]byte{1}, 36), 2, 4, 5, 0xb4), 1<<1 | 1<<2, 1460, 0},
		{"kind alone", []byte{1, 1, 1, 2}, 1<<1 | 1<<2, no16, 0},
		{"sack permitted of another length", []byte{4, 3, 0, 3, 3, 7, 1, 1}, 1<<1 | 1<<3 | 1<<4, no16, 0x17},
	} {
		_, p := b.run("tc_ingress", ourselves, frame(peer4, local4, protoTCP, seg{sport: 1, dport: 2, flags: syn, options: c.options}.bytes()))
		if p.TcpOptions[0] != c.kinds || p.TcpMss != c.mss || p.TcpOffer != c.offer {
			t.Errorf("%s: options %#x, mss %d, offer %#x; want %#x, %d, %#x", c.name, p.TcpOptions[0], p.TcpMss, p.TcpOffer, c.kinds, c.mss, c.offer)
		}
	}
}
