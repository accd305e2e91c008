package bpf

import (
	"encoding/binary"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// typed says in the routing table's copy of what type an address is.
func (b *bench) typed(addr netip.Addr, typ uint16) {
	b.Helper()
	k := AddrKey{Prefixlen: 160, Family: 6}
	if addr.Is4() {
		k = AddrKey{Prefixlen: 64, Family: 4}
	}
	copy(addrBytes(&k), addr.AsSlice())
	if err := b.Maps["addr_types"].Put(k, typ); err != nil {
		b.Fatal(err)
	}
}

// The types of addresses at the edges of the ranges that are told by value.
func TestAddrTypes(t *testing.T) {
	b := newBench(t, classifier(t, "cfg_addrtypes"))
	b.typed(local4, 1<<unix.RTN_LOCAL)
	b.typed(local6, 1<<unix.RTN_ANYCAST)
	for addr, want := range map[string]uint16{
		"0.0.0.0": unix.RTN_BROADCAST, "0.0.0.1": unix.RTN_UNICAST, "1.0.0.0": unix.RTN_UNICAST, "255.255.255.255": unix.RTN_BROADCAST,
		"255.255.255.254": unix.RTN_UNICAST, "223.255.255.255": unix.RTN_UNICAST, "224.0.0.0": unix.RTN_MULTICAST,
		"239.255.255.255": unix.RTN_MULTICAST, "240.0.0.0": unix.RTN_UNICAST, "192.0.2.1": unix.RTN_LOCAL,
		"::": unix.RTN_UNICAST, "ffff:ffff::1": unix.RTN_MULTICAST, "ff00::": unix.RTN_MULTICAST, "feff::1": unix.RTN_UNICAST,
		"e000::1": unix.RTN_UNICAST, "2001:db8::1": unix.RTN_ANYCAST,
	} {
		a := netip.MustParseAddr(addr)
		other := peer6
		if a.Is4() {
			other = peer4
		}
		_, p := b.run("tc_ingress", ourselves, frame(other, a, protoUDP, udp(1, 2, 0)))
		if p.DstType != 1<<want || p.SrcType != 1<<unix.RTN_UNICAST {
			t.Errorf("to %s: types %#x, %#x", addr, p.SrcType, p.DstType)
		}
		_, p = b.run("tc_ingress", ourselves, frame(a, other, protoUDP, udp(1, 2, 0)))
		if p.SrcType != 1<<want || p.DstType != 1<<unix.RTN_UNICAST {
			t.Errorf("from %s: types %#x, %#x", addr, p.SrcType, p.DstType)
		}
	}
}

// Copies of what this host sends to many come in as what they are, though the kernel marks them as looped back, and without a link header.
func TestPacketTypes(t *testing.T) {
	b := newBench(t, classifier(t, "cfg_mac"))
	l, err := netlink.LinkByIndex(b.ifindex)
	if err != nil {
		t.Fatal(err)
	}
	addr, _ := netlink.ParseAddr("192.0.2.1/24")
	addr.Broadcast = net.IPv4(192, 0, 2, 255)
	addr6, _ := netlink.ParseAddr("2001:db8::1/64")
	addr6.Flags = unix.IFA_F_NODAD
	for _, err := range []error{up("fw1"), netlink.AddrAdd(l, addr), netlink.AddrAdd(l, addr6),
		netlink.RouteAdd(&netlink.Route{LinkIndex: b.ifindex, Gw: net.IPv4(192, 0, 2, 9)})} {
		if err != nil {
			t.Fatal(err)
		}
	}
	(&world{TB: t}).note(b.Collection, l)
	tcx, err := link.AttachTCX(link.TCXOptions{Interface: b.ifindex, Program: b.Programs["tc_ingress"], Attach: ebpf.AttachTCXIngress})
	if err != nil {
		t.Skipf("tcx: %s", err)
	}
	defer tcx.Close()
	for i, c := range []struct {
		to   string
		want uint8
	}{{"192.0.2.255", 2}, {"224.0.0.1", 4}, {"ff02::1%fw0", 4}} {
		network, to := "udp4", netip.AddrPortFrom(netip.MustParseAddr(c.to), uint16(7000+i))
		if to.Addr().Is6() {
			network = "udp6"
		}
		s, err := net.DialUDP(network, nil, net.UDPAddrFromAddrPort(to))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Write([]byte("to all")); err != nil {
			t.Fatal(err)
		}
		s.Close()
		p, ok := b.judgedOn(uint32(to.Port()))
		if !ok || p.PktType != c.want || p.Smac != 1<<48 {
			t.Errorf("to %s: seen %t, type %d, want %d; MAC %#x, want none", c.to, ok, p.PktType, c.want, p.Smac)
		}
	}
}

// judgedOn waits for a packet to a port, on whichever CPU it comes.
func (b *bench) judgedOn(port uint32) (Pkt, bool) {
	for end := time.Now().Add(2 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		var pkts []Pkt
		if err := b.Maps["scratch"].Lookup(uint32(0), &pkts); err != nil {
			b.Fatal(err)
		}
		if i := slices.IndexFunc(pkts, func(p Pkt) bool { return p.Dport == port }); i >= 0 {
			return pkts[i], true
		}
	}
	return Pkt{}, false
}

// A length of 0 is that of a super-packet, whose buffer says how long it is; else it is wrong.
func TestSuperPackets(t *testing.T) {
	b := newBench(t, classifier(t, "cfg_conntrack"))
	tcp := seg{sport: 1, dport: 2, flags: syn, data: 3000}.bytes()
	v4, v6 := frame(peer4, local4, protoTCP, tcp), frame(peer6, local6, protoTCP, tcp)
	for name, c := range map[string]struct {
		frame []byte
		at    int // of the length
	}{"4": {v4, 16}, "6": {v6, 18}} {
		without := slices.Clone(c.frame)
		copy(without[c.at:], []byte{0, 0})
		first := slices.Clone(c.frame) // says the length of its first segment
		binary.BigEndian.PutUint16(first[c.at:], binary.BigEndian.Uint16(c.frame[c.at:])-2000)
		for _, s := range []struct {
			what    string
			frame   []byte
			segs    uint32
			ret     uint32
			length  int
			payload uint32
		}{
			{"one segment, length 0", without, 1, drop, 0, 0},
			{"two segments, length 0", without, 2, pass, len(v4) - 14, 3000},
			{"two segments, length of both", c.frame, 2, pass, len(v4) - 14, 3000},
			{"two segments, length of one", first, 2, pass, len(v4) - 14 - 2000, 3000},
			{"one segment, padded", first, 1, pass, len(v4) - 14 - 2000, 1000},
		} {
			if name == "6" && s.length != 0 {
				s.length += 20
			}
			b.gso = s.segs
			ret, p := b.run("tc_ingress", ourselves, s.frame)
			if name == "6" && s.ret == drop {
				s.ret, s.length = pass, 40 // nothing behind the header: malformed
			}
			if ret != s.ret {
				t.Errorf("IPv%s, %s: verdict %d, want %d", name, s.what, ret, s.ret)
			}
			if s.ret == pass && (int(p.Length) != s.length || p.Payload != s.payload) {
				t.Errorf("IPv%s, %s: length %d, payload %d, want %d, %d", name, s.what, p.Length, p.Payload, s.length, s.payload)
			}
		}
	}
}

// Who is answered, at the edges.
func TestAnswered(t *testing.T) {
	b := newBench(t, answering(t, classifier(t, "cfg_addrtypes"), reject))
	directed := netip.MustParseAddr("192.0.2.255")
	b.typed(directed, 1<<unix.RTN_BROADCAST)
	from := func(s string) []byte {
		a := netip.MustParseAddr(s)
		if a.Is4() {
			return frame(a, local4, protoTCP, seg{flags: syn}.bytes())
		}
		return frame(a, local6, protoTCP, seg{flags: syn}.bytes())
	}
	to := func(s string) []byte {
		a := netip.MustParseAddr(s)
		if a.Is4() {
			return frame(peer4, a, protoTCP, seg{flags: syn}.bytes())
		}
		return frame(peer6, a, protoTCP, seg{flags: syn}.bytes())
	}
	in := map[string][]byte{}
	yes := map[string]bool{}
	for _, s := range strings.Fields("223.255.255.255 240.0.0.0 255.255.255.254 0.0.0.1 feff::1 2001:db8:: 0:0:2001:db8:: ::2001:db8:0:0 ::db8") {
		in["from "+s], yes["from "+s] = from(s), true
		in["to "+s], yes["to "+s] = to(s), true
	}
	for _, s := range strings.Fields("224.0.0.0 239.255.255.255 255.255.255.255 ff00:: ff02::1 ffff:ffff::1") {
		in["from "+s], in["to "+s] = from(s), to(s)
	}
	in["from 0.0.0.0"], in["from ::"] = from("0.0.0.0"), from("::")
	in["to a broadcast address"] = frame(peer4, directed, protoTCP, seg{flags: syn}.bytes())
	in["in a tag"] = ether(be16(0x8100, 0), 0x0800, ip4(peer4, local4, protoTCP, 0, nil, seg{flags: syn}.bytes()))
	in["group frame"] = append([]byte{1, 0, 0x5e, 0, 0, 1}, from("198.51.100.2")[6:]...)
	in["unknown icmp"] = frame(peer4, local4, protoICMP, icmp(9, 0, 1, nil))
	in["unknown icmp 6"], yes["unknown icmp 6"] = frame(peer6, local6, protoICMP6, icmp(200, 0, 1, nil)), true
	in["short icmp"] = frame(peer4, local4, protoICMP, []byte{8, 0, 0, 0})
	for name, f := range in {
		ret, _ := b.run("tc_ingress", ourselves, f)
		if want := map[bool]uint32{true: redirect, false: drop}[yes[name]]; ret != want {
			t.Errorf("%s: verdict %d, want %d", name, ret, want)
		}
	}
}

// The bucket of errors begins full, with 50 of them; each takes a millisecond's worth.
func TestErrorBurst(t *testing.T) {
	b := newBench(t, answering(t, classifier(t), reject))
	b.run("tc_ingress", ourselves, frame(peer4, local4, protoUDP, udp(9, 53, 9)))
	var l Limit
	if err := b.Maps["error_rate"].Lookup(uint32(0), &l); err != nil {
		t.Fatal(err)
	}
	if l.Tokens != 49e6 {
		t.Errorf("%d ns left", l.Tokens)
	}
}

// Interfaces without a link header. A test run takes the EtherType from where it would be in one: that is in the source address here.
func TestNoLinkHeader(t *testing.T) {
	b := newBench(t, classifier(t, "cfg_mac"))
	b.cb = 1
	for _, c := range []struct {
		packet        []byte
		length, l4Off uint32
	}{
		{ip4(netip.MustParseAddr("8.0.0.1"), local4, protoUDP, 0, nil, udp(1, 2, 9)), 37, 20},
		{ip6(netip.MustParseAddr("2001:db8:86dd::1"), local6, protoUDP, udp(1, 2, 9)), 57, 40},
	} {
		_, p := b.run("tc_ingress", ourselves, c.packet)
		if p.Length != c.length || uint32(p.L4Off) != c.l4Off || p.Sport != 1 || p.Dport != 2 || p.Smac != 1<<48 {
			t.Errorf("%x: length %d, transport at %d, ports %d, %d, MAC %#x", c.packet, p.Length, p.L4Off, p.Sport, p.Dport, p.Smac)
		}
	}
}
