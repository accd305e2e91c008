package bpf

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// newRouter is a bench whose device has the address local4, and the default route, in a namespace that forwards.
func newRouter(tb testing.TB, spec *ebpf.CollectionSpec) *bench {
	tb.Helper()
	b := newBench(tb, spec)
	l, err := netlink.LinkByIndex(b.ifindex)
	if err := errors.Join(err, up("fw1")); err != nil {
		tb.Fatal(err)
	}
	for addr, gw := range map[string]string{"192.0.2.1/24": "192.0.2.9", "2001:db8::1/64": "2001:db8::9"} {
		a, _ := netlink.ParseAddr(addr)
		route := &netlink.Route{LinkIndex: b.ifindex, Gw: net.ParseIP(gw), Flags: int(netlink.FLAG_ONLINK)}
		if err := errors.Join(netlink.AddrAdd(l, a), netlink.RouteAdd(route)); err != nil {
			tb.Fatal(err)
		}
	}
	if err := errors.Join(sysctl("net/ipv4/ip_forward", "1"), sysctl("net/ipv6/conf/all/forwarding", "1")); err != nil {
		tb.Fatal(err)
	}
	return b
}

// INPUT judges what the stack delivers here although the routing table has a way onwards for it: groups and broadcasts in frames that are
// for this host alone.
func TestLocalWhateverTheRoutes(t *testing.T) {
	b := newRouter(t, answering(t, classifier(t, "cfg_forwarding", "cfg_route_notes"), drop)) // INPUT drops
	for dst, want := range map[string]uint32{
		"192.0.2.1": drop, "192.0.2.255": drop, "255.255.255.255": drop, "0.0.0.0": drop, "224.0.0.251": drop, "239.1.2.3": drop,
		"fe80::1": drop, "ff02::1": drop, "ff0e::1": drop,
		"203.0.113.9": pass, "240.0.0.1": pass, "2001:db8:5::1": pass,
	} {
		src := peer4
		if netip.MustParseAddr(dst).Is6() {
			src = peer6
		}
		for _, when := range []string{"first", "noted"} {
			if got, _ := b.run("tc_ingress", ourselves, frame(src, netip.MustParseAddr(dst), protoUDP, udp(1, 2, 9))); got != want {
				t.Errorf("to %s, %s: %d, want %d", dst, when, got, want)
			}
		}
	}
}

// What the routing table said is forgotten as soon as routes, addresses or rules of policy routing change.
func TestRouteNotesEnd(t *testing.T) {
	const table = 77
	for _, dst := range []string{"203.0.113.9", "2001:db8:5::1"} {
		b := newRouter(t, answering(t, classifier(t, "cfg_forwarding", "cfg_route_notes"), drop))
		to := netip.MustParseAddr(dst)
		whole := &net.IPNet{IP: to.AsSlice(), Mask: net.CIDRMask(to.BitLen(), to.BitLen())}
		l, err := netlink.LinkByIndex(b.ifindex)
		if err != nil {
			t.Fatal(err)
		}
		addr := &netlink.Addr{IPNet: whole, Flags: unix.IFA_F_NODAD}
		rule := netlink.NewRule()
		rule.Table, rule.Priority, rule.Family = table, 5, unix.AF_INET
		if to.Is6() {
			rule.Family = unix.AF_INET6
		}
		lo, err := netlink.LinkByName("lo")
		if err := errors.Join(err, netlink.LinkSetUp(lo)); err != nil {
			t.Fatal(err)
		}
		elsewhere := &netlink.Route{LinkIndex: lo.Attrs().Index, Dst: whole, Table: table, Type: unix.RTN_LOCAL, Scope: netlink.SCOPE_HOST}
		for _, step := range []struct {
			name string
			do   func() error
			want uint32
		}{
			{"route onwards", func() error { return nil }, pass},
			{"address", func() error { return netlink.AddrAdd(l, addr) }, drop},
			{"no address", func() error { return netlink.AddrDel(l, addr) }, pass},
			{"route of another table", func() error { return netlink.RouteAdd(elsewhere) }, pass},
			{"rule that asks it", func() error { return netlink.RuleAdd(rule) }, drop},
		} {
			if err := step.do(); err != nil {
				t.Fatalf("%s: %s", step.name, err)
			}
			time.Sleep(20 * time.Millisecond) // of an IPv6 address that goes, the route goes a little later
			for _, when := range []string{"first", "again"} {
				if to.Is4() || step.name != "no address" { // the kernel does not count IPv6 routes that go: notes end by their age
					if got, _ := b.run("tc_ingress", ourselves, frame(peerOf(to), to, protoUDP, udp(1, 2, 9))); got != step.want {
						t.Errorf("%s, %s, %s: %d, want %d", dst, step.name, when, got, step.want)
					}
				}
			}
		}
		if b.notes() == 0 {
			t.Errorf("%s: nothing was noted", dst)
		}
	}
}

// TestRouteNotesSpread: the hosts of one network do not push one another's notes out.
func TestRouteNotesSpread(t *testing.T) {
	const hosts, least = 200, 150
	b := newRouter(t, classifier(t, "cfg_forwarding", "cfg_route_notes"))
	for i := range hosts {
		b.run("tc_ingress", ourselves, frame(peer4, netip.AddrFrom4([4]byte{203, 0, 113, byte(i + 1)}), protoUDP, udp(1, 2, 9)))
	}
	if n := b.notes(); n < least {
		t.Errorf("%d of %d hosts are noted, want %d", n, hosts, least)
	}
}

// TestGlance: what ingress lets through unread, because its destination is noted, has a header that nothing is wrong with.
func TestGlance(t *testing.T) {
	away4, away6 := netip.MustParseAddr("203.0.113.9"), netip.MustParseAddr("2001:db8:5::1")
	b := newRouter(t, classifier(t, "cfg_forwarding", "cfg_route_notes"))
	for _, c := range []struct {
		name string
		to   netip.Addr
		at   int // byte of the frame that is changed
		set  byte
		want uint32
	}{
		{"IPv4", away4, 0, 0, pass},
		{"IPv4 of another version", away4, 14, 0x55, drop},
		{"IPv4, a header of 16 bytes", away4, 14, 0x44, drop},
		{"IPv4, a length of more than there is", away4, 16, 9, drop},
		{"IPv6", away6, 0, 0, pass},
		{"IPv6 of another version", away6, 14, 0x40, drop},
		{"IPv6, a length of more than there is", away6, 18, 9, drop},
	} {
		sound := frame(peerOf(c.to), c.to, protoUDP, udp(1, 2, 9))
		b.run("tc_ingress", ourselves, sound) // so that it is noted
		broken := slices.Clone(sound)
		if c.at > 0 {
			broken[c.at] = c.set
		}
		if got, _ := b.run("tc_ingress", ourselves, broken); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}

func peerOf(a netip.Addr) netip.Addr {
	if a.Is4() {
		return peer4
	}
	return peer6
}

// notes counts the destinations that are noted.
func (b *bench) notes() (n int) {
	b.Helper()
	var slot uint32
	var cpus []ClassifierRouteNote
	all := b.Maps["route_notes"].Iterate()
	for all.Next(&slot, &cpus) {
		for _, note := range cpus {
			if note.Route != 0 {
				n++
			}
		}
	}
	return n
}

// A flow that passed through does not get past INPUT when its receiver's address moves to this host.
func TestAddressThatMovesHere(t *testing.T) {
	b := newRouter(t, answering(t, classifier(t, "cfg_forwarding", "cfg_conntrack"), drop))
	for _, proto := range []uint8{protoUDP, protoTCP} {
		k := CtKey{LoPort: 5000, HiPort: 53, Family: 4, Proto: proto}
		k.LoAddr[0], k.HiAddr[0] = binary.NativeEndian.Uint32(peer4.AsSlice()), binary.NativeEndian.Uint32(local4.AsSlice())
		if k.LoAddr[0] > k.HiAddr[0] {
			k.LoAddr, k.HiAddr, k.LoPort, k.HiPort = k.HiAddr, k.LoAddr, k.HiPort, k.LoPort
		}
		flow := CtAssured{Flow: CtFlow{Expires: 1 << 62, Flags: 4}} // CT_FLOW_FORWARDED
		if err := b.Maps["ct"].Put(k, flow); err != nil {
			t.Fatal(err)
		}
	}
	segment := func(flags byte) []byte {
		return slices.Concat(be16(5000, 53), be32(1, 1), []byte{5 << 4, flags}, be16(1000, 0, 0))
	}
	for name, c := range map[string]struct {
		proto   byte
		payload []byte
		want    uint32
	}{
		"datagram": {protoUDP, udp(5000, 53, 9), drop},
		"SYN":      {protoTCP, segment(2), drop},
		"ACK":      {protoTCP, segment(16), drop},
	} {
		if got, _ := b.run("tc_ingress", ourselves, frame(peer4, local4, c.proto, c.payload)); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}

// TestPlaceOfNoFlow: what has no flow yet, or can have none, goes where the routing table says.
func TestPlaceOfNoFlow(t *testing.T) {
	b := newRouter(t, answering(t, classifier(t, "cfg_forwarding", "cfg_conntrack"), drop))
	away := netip.MustParseAddr("203.0.113.9")
	lone := seg{sport: 1, dport: 2, flags: ack}.bytes()
	for _, c := range []struct {
		name  string
		frame []byte
		want  uint32
	}{
		{"an ACK to us", frame(peer4, local4, protoTCP, lone), drop},
		{"an ACK onwards", frame(peer4, away, protoTCP, lone), pass},
		{"half a header to us", frame(peer4, local4, protoTCP, lone[:12]), drop},
		{"half a header onwards", frame(peer4, away, protoTCP, lone[:12]), pass},
	} {
		if got, _ := b.run("tc_ingress", ourselves, c.frame); got != c.want {
			t.Errorf("%s: verdict %d, want %d", c.name, got, c.want)
		}
	}
}

// Without conntrack too, INPUT sees the ports of later fragments of IPv4: netfilter's sees the datagram.
func TestLocalFragmentsWithoutConntrack(t *testing.T) {
	b := newBench(t, classifier(t, "cfg_reads_transport"))
	later := ether(nil, 0x0800, ip4(peer4, local4, protoUDP, 3, nil, make([]byte, 16)))
	if _, p := b.run("tc_ingress", ourselves, later); p.Dport != no16 {
		t.Errorf("later fragment of nobody: port %d", p.Dport)
	}
	b.run("tc_ingress", ourselves, ether(nil, 0x0800, ip4(peer4, local4, protoUDP, 0x2000, nil, append(be16(1, 2, 40, 0), make([]byte, 16)...))))
	if got, _ := b.run("tc_ingress", ourselves, ether(nil, 0x0800, ip4(peer4, local4, protoTCP, 1, nil, make([]byte, 16)))); got != drop {
		t.Errorf("a fragment that writes over TCP flags: verdict %d", got)
	}
	if got, p := b.run("tc_ingress", ourselves, later); p.Dport != 2 || got != pass {
		t.Errorf("later fragment: port %d, verdict %d", p.Dport, got)
	}
}
