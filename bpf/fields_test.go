package bpf

import (
	"bytes"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The other ends of these tests: no two words of the addresses are alike.
var (
	odd6   = netip.MustParseAddr("2001:db8:1:2:3:4:5:6")
	other6 = netip.MustParseAddr("2001:db9:11:12:13:14:15:16")
)

// stamps is what nearly all segments have as options: a timestamp, padded.
var stamps = []byte{1, 1, 8, 10, 0x70, 0, 0, 0, 0x70, 0, 0, 0}

// only loads no other programs than these.
func only(t *testing.T, names []string, on ...string) *bench {
	spec := classifier(t, on...)
	for name := range spec.Programs {
		if !slices.Contains(names, name) {
			delete(spec.Programs, name)
		}
	}
	return newBench(t, spec)
}

func wordsOf(a netip.Addr) (words [4]uint32) {
	for i, b := range a.AsSlice() {
		words[i/4] |= uint32(b) << (8 * (i % 4)) // little-endian machines alone are built for
	}
	return words
}

// plain is what is known of a packet between two ends, but for its transport header.
func plain(b *bench, src, dst netip.Addr, proto uint8, length int) Pkt {
	p := Pkt{Saddr: wordsOf(src), Daddr: wordsOf(dst), Smac: 1 << 48, Uid: 1 << 32, Gid: 1 << 32, Cgroups: 1 << 63, InIfindex: uint32(b.ifindex), Length: uint32(length),
		Sport: no16, Dport: no16, TcpMss: no16, Rule: 1<<32 - 1, TcpFlags: no8, IcmpType: no8, IcmpCode: no8, Routing: no8, SrcType: 2, DstType: 2, L3Off: 14, L4Off: 34, Family: 4,
		Proto: proto, Ttl: 64, Tos: 0x10, PktType: 1, CtState: isNew, Hook: 3, FragId: 77, FragEdge: uint32(length - 20)}
	if src.Is6() {
		p.Family, p.L4Off, p.FragId, p.FragEdge = 6, 54, 0, 0
	}
	return p
}

// TestFields: all that the parser finds in a packet, where rules and conntrack read it.
func TestFields(t *testing.T) {
	segment := slices.Concat(be16(0x1234, 0x5678), be32(0x01020304, 0xa5060708), []byte{0x5f, syn | ece | cwr}, be16(0xabcd, 0x1111, 0x2222))
	withOptions := func(flags byte, data int, options ...byte) []byte {
		return slices.Concat(segment[:12], []byte{byte((20 + len(options)) / 4 << 4), flags}, segment[14:], options, bytes.Repeat([]byte{2}, data))
	}
	tcp := func(change func(p *Pkt)) func(p *Pkt) {
		return func(p *Pkt) {
			p.Sport, p.Dport, p.Seq, p.Ack, p.TcpSack, p.Wnd = 0x1234, 0x5678, 0x01020304, 0xa5060708, 0xa5060708, 0xabcd
			p.TcpFlags = syn | ece | cwr
			change(p)
		}
	}
	ports := func(p *Pkt) { p.Sport, p.Dport = 0x1234, 0x5678 }
	bad := func(change func(p *Pkt)) func(p *Pkt) {
		return func(p *Pkt) { change(p); p.Malformed, p.CtState = 1, invalid }
	}
	rows := []fieldsRow{
		{"tcp", protoTCP, segment, tcp(func(p *Pkt) {})},
		{"tcp with data", protoTCP, append(segment[:20:20], 1, 2, 3, 4, 5), tcp(func(p *Pkt) { p.Payload = 5 })},
		{"tcp, 19 bytes", protoTCP, segment[:19], bad(func(*Pkt) {})},
		{"tcp, header of 16 bytes", protoTCP, slices.Concat(segment[:12], []byte{0x40}, segment[13:]), bad(tcp(func(*Pkt) {}))},
		{"tcp, header of 24 bytes of 23", protoTCP, slices.Concat(segment[:12], []byte{0x60}, segment[13:], []byte{0, 0, 0}), bad(tcp(func(*Pkt) {}))},
		{"tcp, header of 24 bytes of 24", protoTCP, withOptions(syn, 0, 1, 3, 3, 7), tcp(func(p *Pkt) { p.TcpFlags, p.TcpOptions[0], p.TcpOffer = syn, 1<<1|1<<3, 0x17 })},
		{"tcp, SACK permitted last", protoTCP, withOptions(syn, 0, 1, 1, 4, 2), tcp(func(p *Pkt) { p.TcpFlags, p.TcpOptions[0], p.TcpOffer = syn, 1<<1|1<<4, 0x20 })},
		{"tcp, no options of a SYN with data", protoTCP, withOptions(syn, 3), tcp(func(p *Pkt) { p.TcpFlags, p.Payload = syn, 3 })},
		{"tcp, timestamp", protoTCP, withOptions(ack, 3, stamps...), tcp(func(p *Pkt) { p.TcpFlags, p.Payload = ack, 3 })}, // not walked
		{"tcp, timestamp of a SYN", protoTCP, withOptions(syn, 0, stamps...), tcp(func(p *Pkt) { p.TcpFlags, p.TcpOptions[0] = syn, 1<<1|1<<8 })},
		{"tcp, timestamp and SACK", protoTCP, withOptions(ack, 0, slices.Concat(stamps, []byte{1, 1, 5, 10}, be32(0xa5060800, 0xa5060900))...),
			tcp(func(p *Pkt) { p.TcpFlags, p.TcpOptions[0], p.TcpSack = ack, 1<<1|1<<8|1<<5, 0xa5060900 })},
		{"tcp, timestamp behind its padding", protoTCP, withOptions(ack, 0, slices.Concat(stamps[2:], []byte{1, 1})...),
			tcp(func(p *Pkt) { p.TcpFlags, p.TcpOptions[0] = ack, 1<<1|1<<8 })},
		{"tcp, large timestamp in an unusual place", protoTCP, withOptions(ack, 0, slices.Concat(be32(0x0108000a), []byte{8, 10}, be32(0xa6000000, 0xa6000000), []byte{1, 1})...),
			tcp(func(p *Pkt) { p.TcpFlags, p.TcpOptions[0] = ack, 1<<0|1<<1|1<<8|1<<10 })},
		{"tcp, a SACK option without blocks, then one", protoTCP, withOptions(ack, 0, slices.Concat([]byte{5, 2, 1, 1, 1, 1, 5, 10}, be32(0xa5060800, 0xa5060900))...),
			tcp(func(p *Pkt) { p.TcpFlags, p.TcpOptions[0], p.TcpSack = ack, 1<<1|1<<5, 0xa5060900 })},
		{"tcp, SACK of 14 bytes", protoTCP, withOptions(ack, 0, slices.Concat([]byte{1, 1, 5, 14}, be32(0xa5060800, 0xa5060900, 0xa5070000))...),
			tcp(func(p *Pkt) { p.TcpFlags, p.TcpOptions[0] = ack, 1<<1|1<<5 })},
		{"tcp, 65 and 127 and 128 and 255", protoTCP, withOptions(ack, 0, 65, 2, 127, 2, 128, 2, 255, 2),
			tcp(func(p *Pkt) { p.TcpFlags, p.TcpOptions = ack, [4]uint64{0, 1<<1 | 1<<63, 1, 1 << 63} })},
		{"tcp, others of 3 and 4 bytes", protoTCP, withOptions(syn, 0, 9, 3, 5, 10, 4, 5, 6, 1), tcp(func(p *Pkt) { p.TcpFlags, p.TcpOptions[0] = syn, 1<<1|1<<9|1<<10 })},
		{"tcp, MSS, scale and SACK permitted of other lengths", protoTCP, withOptions(syn, 0, 2, 3, 5, 3, 2, 3, 4, 5, 6, 4, 4, 1, 1, 1, 1, 1),
			tcp(func(p *Pkt) { p.TcpFlags, p.TcpOptions[0] = syn, 1<<1|1<<2|1<<3|1<<4 })},
		{"tcp, two MSS", protoTCP, withOptions(syn, 0, 2, 4, 5, 0xb4, 2, 4, 1, 1), tcp(func(p *Pkt) { p.TcpFlags, p.TcpOptions[0], p.TcpMss = syn, 1<<2, 0x5b4 })},
		{"tcp, a scale of 14 and one of 15", protoTCP, withOptions(syn, 0, 3, 3, 14, 3, 3, 15, 4, 2), tcp(func(p *Pkt) { p.TcpFlags, p.TcpOptions[0], p.TcpOffer = syn, 1<<3|1<<4, 0x3e })},
		{"tcp, a kind alone at the end", protoTCP, withOptions(syn, 5, 1, 1, 1, 4), tcp(func(p *Pkt) { p.TcpFlags, p.TcpOptions[0], p.Payload = syn, 1<<1|1<<4, 5 })},

		{"udp", protoUDP, be16(0x1234, 0x5678, 8, 0), ports},
		{"udp, 7 bytes", protoUDP, be16(0x1234, 0x5678, 8, 0)[:7], bad(func(*Pkt) {})},
		{"udp, length 7", protoUDP, be16(0x1234, 0x5678, 7, 0), bad(ports)},
		{"udp, length 9 of 8", protoUDP, be16(0x1234, 0x5678, 9, 0), bad(ports)},
		{"udp, length 0", protoUDP, be16(0x1234, 0x5678, 0, 0), bad(ports)},
		{"udp, length 8 of 10", protoUDP, be16(0x1234, 0x5678, 8, 0, 0), ports},
		{"udp-lite, length 0", 136, be16(0x1234, 0x5678, 0, 0), ports},
		{"udp-lite, length 8", 136, be16(0x1234, 0x5678, 8, 0, 0), ports},
		{"udp-lite, length 7", 136, be16(0x1234, 0x5678, 7, 0, 0), bad(ports)},

		{"dccp", 33, slices.Concat(be16(0x1234, 0x5678), bytes.Repeat([]byte{1}, 12)), ports},
		{"dccp, 12 bytes", 33, slices.Concat(be16(0x1234, 0x5678), bytes.Repeat([]byte{1}, 8)), ports},
		{"dccp, 11 bytes", 33, slices.Concat(be16(0x1234, 0x5678), bytes.Repeat([]byte{1}, 7)), func(p *Pkt) { p.Malformed = 1 }}, // is tracked
		{"gre", protoGRE, []byte{0, 0, 0x88, 0x0b, 1, 2, 3, 4}, func(*Pkt) {}},
		{"gre, 4 bytes", protoGRE, []byte{0, 1, 0x88, 0x0b}, func(*Pkt) {}},
		{"gre, version 2", protoGRE, []byte{0, 2, 0x88, 0x0b, 1, 2, 3, 4}, func(*Pkt) {}},
		{"gre, version 9", protoGRE, []byte{0, 9, 0x88, 0x0b, 1, 2, 3, 4}, func(p *Pkt) { p.IcmpId = 0x0304 }},
		{"gre, version 1 of PPTP", protoGRE, []byte{0x30, 1, 0x88, 0x0b, 1, 2, 3, 4}, func(p *Pkt) { p.IcmpId = 0x0304 }},
		{"gre, version 1 of PPTP, 7 bytes", protoGRE, []byte{0x30, 1, 0x88, 0x0b, 1, 2, 3}, func(*Pkt) {}},
		{"gre, version 1 of something else", protoGRE, []byte{0x30, 1, 0x88, 0x0c, 1, 2, 3, 4}, func(p *Pkt) { p.Seq, p.CtState = 1, invalid }},
		{"esp", 50, []byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}, func(*Pkt) {}},
		{"nothing", 253, nil, func(*Pkt) {}},
	}
	for _, readsOptions := range []bool{false, true} {
		switches := []string{"cfg_conntrack", "cfg_tcp_options"}
		if !readsOptions {
			switches = switches[:1]
		}
		playFields(t, only(t, []string{"tc_ingress"}, switches...), rows, readsOptions)
	}
}

// fieldsRow is a packet, and what is found in it; of its TCP options, if a rule reads those.
type fieldsRow struct {
	name    string
	proto   byte
	payload []byte
	want    func(p *Pkt)
}

func playFields(t *testing.T, b *bench, rows []fieldsRow, readsOptions bool) {
	for _, r := range rows {
		for _, ends := range [][2]netip.Addr{{peer4, local4}, {other6, odd6}} {
			if ends[0].Is6() && r.name == "nothing" {
				continue
			}
			want := plain(b, ends[0], ends[1], r.proto, map[bool]int{true: 20, false: 40}[ends[0].Is4()]+len(r.payload))
			r.want(&want)
			if readsOptions && r.name == "tcp, timestamp" { // then that, too
				want.TcpOptions[0] = 1<<1 | 1<<8
			}
			if want.TcpOptions != [4]uint64{} {
				want.HasOptions = 1
			}
			if !readsOptions {
				want.TcpOptions = [4]uint64{}
			}
			b.forget()
			_, got := b.run("tc_ingress", ourselves, frame(ends[0], ends[1], r.proto, r.payload))
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s, IPv%d (-want +got):\n%s", r.name, want.Family, diff)
			}
		}
	}
}

// forget empties the tables of flows and fragments.
func (b *bench) forget() {
	b.Helper()
	for _, name := range []string{"ct_new", "ct", "frags"} {
		m := b.Maps[name]
		key := make([]byte, m.KeySize())
		for m.NextKey(nil, &key) == nil {
			if err := m.Delete(key); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// TestFieldsOfIP: what the parser finds in the headers in front of the transport's.
func TestFieldsOfIP(t *testing.T) {
	b := only(t, []string{"tc_ingress"}, "cfg_conntrack")
	datagram := be16(1, 2, 12, 0, 0x0102, 0x0304)
	v4 := func(frag int, options []byte) []byte {
		return ether(nil, 0x0800, ip4(peer4, local4, protoUDP, frag, options, datagram))
	}
	v6 := func(next byte, parts ...[]byte) []byte {
		return ether(nil, 0x86dd, ip6(other6, odd6, next, slices.Concat(parts...)))
	}
	change := func(f []byte, at int, to ...byte) []byte { f = slices.Clone(f); copy(f[at:], to); return f }
	ports := func(p *Pkt) { p.Sport, p.Dport = 1, 2 }
	for _, c := range []struct {
		name  string
		frame []byte
		want  func(p *Pkt)
	}{
		{"tos and ttl", change(change(v4(0, nil), 15, 0xb9), 22, 7), func(p *Pkt) { ports(p); p.Tos, p.Ttl = 0xb9, 7 }},
		{"do not fragment", v4(0x4000, nil), ports},
		{"the reserved bit", v4(0x8000, nil), ports},
		{"options", v4(0, make([]byte, 8)), func(p *Pkt) { ports(p); p.L4Off, p.FragEdge = 42, 12 }},
		{"first fragment", v4(0x2000, nil), func(p *Pkt) { ports(p); p.MoreFrags = 1 }},
		{"fragment at 8", v4(0x2001, nil), func(p *Pkt) { p.Frag, p.FragEdge, p.CtState, p.Hook = 1, 8, 16, 0 }},
		{"last fragment at 65528", v4(0x1fff, nil), func(p *Pkt) { p.Frag, p.FragEdge, p.CtState, p.Hook = 1, 65528, 16, 0 }},
		{"class and flow label", change(v6(17, datagram), 14, 0x6b, 0x9f, 0xff, 0xff), func(p *Pkt) { ports(p); p.Tos = 0xb9 }},
		{"no next header", v6(59), func(p *Pkt) { p.Proto, p.CtState = 59, invalid }},
		{"no next header behind options", v6(60, ext(59, 0)), func(p *Pkt) { p.Proto, p.CtState, p.L4Off = 59, invalid, 62 }},
		{"no next header behind a longer one", v6(0, ext(59, 3)), func(p *Pkt) { p.Proto, p.CtState, p.L4Off = 59, invalid, 86 }},
		{"half an extension header", v6(60, []byte{59, 0, 1, 2, 3, 4, 5}), func(p *Pkt) { p.Proto, p.CtState, p.Malformed = 60, invalid, 1 }},
		{"extension header past the end", v6(60, ext(59, 1)[:8]), func(p *Pkt) { p.Proto, p.CtState, p.Malformed, p.L4Off = 59, invalid, 1, 70 }},
		{"routing header of type 0", v6(43, []byte{17, 0, 0, 9, 0, 0, 0, 0}, datagram), func(p *Pkt) { ports(p); p.L4Off, p.Routing = 62, 0 }},
		{"routing header of type 255, and another", v6(43, []byte{43, 0, 255, 0, 0, 0, 0, 0}, []byte{17, 0, 4, 0, 0, 0, 0, 0}, datagram),
			func(p *Pkt) { ports(p); p.L4Off, p.Routing = 70, 255 }},
		{"routing header past the end", v6(43, []byte{17, 1, 4, 0, 0, 0, 0, 0}), func(p *Pkt) { p.CtState, p.Malformed, p.L4Off = invalid, 1, 70 }},
		{"atomic fragment", v6(44, frag6(17, 0, 0), datagram), func(p *Pkt) { ports(p); p.L4Off, p.FragId, p.FragEdge = 62, 77, 12 }},
		{"first fragment 6", v6(44, frag6(17, 0, 1), datagram), func(p *Pkt) { ports(p); p.L4Off, p.FragId, p.FragEdge, p.MoreFrags = 62, 77, 12, 1 }},
		{"atomic fragment, reserved bits", v6(44, frag6(17, 0, 6), datagram), func(p *Pkt) { ports(p); p.L4Off, p.FragId, p.FragEdge = 62, 77, 12 }},
		{"fragment 6 at 8, more to come", v6(44, frag6(17, 8, 7), datagram), func(p *Pkt) { p.L4Off, p.FragId, p.FragEdge, p.Frag, p.CtState, p.Hook = 62, 77, 8, 1, 16, 0 }},
		{"fragment 6 at 65528", v6(44, frag6(17, 65528, 0), datagram), func(p *Pkt) { p.L4Off, p.FragId, p.FragEdge, p.Frag, p.CtState, p.Hook = 62, 77, 65528, 1, 16, 0 }},
	} {
		src, dst, header := peer4, local4, 20
		if strings.HasPrefix(string(c.frame[12:]), "\x86\xdd") {
			src, dst, header = other6, odd6, 40
		}
		want := plain(b, src, dst, protoUDP, len(c.frame)-14)
		if header == 20 {
			want.FragEdge = 12
		}
		c.want(&want)
		b.forget()
		_, got := b.run("tc_ingress", ourselves, c.frame)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

// TestFieldsOfFirstFragments: with conntrack a first fragment of IPv6 that is sent is as long as netfilter sees it: without the fragment header.
func TestFieldsOfFirstFragments(t *testing.T) {
	b := only(t, []string{"tc_egress"}, "cfg_conntrack")
	datagram := be16(1, 2, 12, 0, 0x0102, 0x0304)
	for name, c := range map[string]struct {
		frame  []byte
		length uint32
	}{
		"first":  {ether(nil, 0x86dd, ip6(odd6, other6, 44, slices.Concat(frag6(17, 0, 1), datagram))), 52},
		"atomic": {ether(nil, 0x86dd, ip6(odd6, other6, 44, slices.Concat(frag6(17, 0, 0), datagram))), 60},
		"IPv4":   {ether(nil, 0x0800, ip4(local4, peer4, 17, 0x2000, nil, datagram)), 32},
	} {
		if _, p := b.run("tc_egress", ourselves, c.frame); p.Length != c.length || p.Dport != 2 {
			t.Errorf("%s: %d bytes, port %d", name, p.Length, p.Dport)
		}
	}
}

// TestFieldsThatNobodyReads: without a rule that reads TCP options, and without conntrack, they are not looked for.
func TestFieldsThatNobodyReads(t *testing.T) {
	b := only(t, []string{"tc_ingress"})
	for _, payload := range [][]byte{
		seg{sport: 1, dport: 2, flags: syn, options: []byte{2, 4, 5, 0xb4, 4, 2, 1, 3, 3, 7, 0, 0}}.bytes(), seg{sport: 1, dport: 2, flags: ack, options: []byte{1, 1, 1, 1}}.bytes(),
	} {
		if _, p := b.run("tc_ingress", ourselves, frame(peer4, local4, protoTCP, payload)); p.TcpOptions != [4]uint64{} || p.TcpOffer != 0 || p.TcpMss != no16 {
			t.Errorf("options %x, offer %#x, mss %d", p.TcpOptions, p.TcpOffer, p.TcpMss)
		}
	}
	init := slices.Concat(be16(1, 2), make([]byte, 8), []byte{1, 0, 0, 20}, be32(7), make([]byte, 12))
	if _, p := b.run("tc_ingress", ourselves, frame(peer4, local4, protoSCTP, init)); p.Wnd != 0 || p.Payload != 0 || p.Ack != 0 {
		t.Errorf("chunks %#x, %#x, tag %d", p.Wnd, p.Payload, p.Ack)
	}
	if _, p := b.run("tc_ingress", ourselves, frame(peer4, local4, protoGRE, []byte{0x30, 1, 0x88, 0x0b, 1, 2, 3, 4})); p.IcmpId != 0 {
		t.Errorf("GRE: call id %d", p.IcmpId)
	}
}
