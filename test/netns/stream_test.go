package netns

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"

	"github.com/bpfwall/bpfwall/internal/lab"
	"golang.org/x/sys/unix"
)

// step is one packet of a flow.
type step struct {
	id     uint32 // unique in its window; carried in the packet
	at     place
	pkt    lab.Packet
	frames [][]byte // more than one: fragments. From the IP header on if at is atDUT
	what   string
}

// flow is packets between two hosts, in order: a packet may only be sent when the one before it has been judged.
type flow struct {
	aim   aim
	steps []step
}

// window is flows that run side by side: first the first packet of each, then the second of each …
type window struct {
	flows []flow
	ids   uint32
}

// generator makes windows.
type generator struct {
	rng  *rand.Rand
	aims []aim
	turn int
	port uint16

	whole  bool // no fragments
	honest bool // no source on the wrong side, and none that is a broadcast address
}

// windowFlows is fewer than the burst of errorPause.
const windowFlows = 45

func (g *generator) window(flows int) *window {
	w := &window{}
	for range flows {
		a := g.aims[g.turn%len(g.aims)]
		g.turn++
		w.flows = append(w.flows, g.flow(a, w))
	}
	return w
}

// ends is the two ends of a flow and what its packets have in common.
type ends struct {
	src, dst     netip.Addr
	sport, dport uint16
	proto        uint8
	ttl, tos     uint8
	length       int // of the first packet; 0: any
	first        uint8
	option       int
	icmpType     int
	icmpCode     int
}

// flow makes a flow that meets an aim, or misses it in one point.
func (g *generator) flow(a aim, w *window) flow {
	e := g.hit(a)
	if g.rng.IntN(2) == 0 {
		g.miss(a, &e)
	}
	if anycast(e.src) || anycast(e.dst) { // a router's own too, and answered by nobody (RFC 4291, 2.6.1)
		e.src, e.dst = g.host(a.six, atLAN), g.host(a.six, atWAN)
	}
	if a.hook == "OUTPUT" && (side(e.src) != atDUT || side(e.dst) == atDUT) { // programs send from the host's own addresses, to others
		e.src, e.dst = g.host(a.six, atDUT), g.host(a.six, place(g.rng.IntN(2)))
	}
	if a.hook != "OUTPUT" && side(e.src) == atDUT { // the stack refuses its own addresses from outside, whatever the rules say
		e.src = g.host(a.six, place(g.rng.IntN(2)))
	}
	if g.honest && (e.src == wanBroadcast || e.src == subnetBroadcast) {
		e.src = g.host(a.six, atWAN)
	}
	if g.honest && (a.in == "lan0" && side(e.src) == atWAN || a.in == "wan0" && side(e.src) == atLAN) {
		e.src = g.host(a.six, map[string]place{"lan0": atLAN, "wan0": atWAN}[a.in])
	}
	f := flow{aim: a}
	s := &script{g: g, w: w, f: &f, e: e, seq: g.rng.Uint32(), rseq: g.rng.Uint32()}
	switch e.proto {
	case unix.IPPROTO_TCP:
		s.tcp(a)
	case unix.IPPROTO_UDP, unix.IPPROTO_UDPLITE:
		s.udp()
	case unix.IPPROTO_ICMP, unix.IPPROTO_ICMPV6:
		s.icmp()
	default:
		s.plain()
	}
	return f
}

func anycast(a netip.Addr) bool {
	return a == lab.LAN.DUT6.Masked().Addr() || a == lab.WAN.DUT6.Masked().Addr()
}

// hosts are the addresses of each side, by family.
var hosts = map[bool][3][]netip.Addr{
	false: {atLAN: addrList("192.0.2.10", "192.0.2.11", "10.1.3.4", "10.1.20.80", "10.1.20.53", "192.0.2.16", "10.1.20.25"),
		atWAN: addrList("198.51.100.10", "203.0.113.5", "203.0.113.200", "8.8.4.4", "198.51.100.11"),
		atDUT: addrList("192.0.2.1", "198.51.100.1")},
	true: {atLAN: addrList("2001:db8:1::10", "2001:db8:1::11", "2001:db8:10:3::4", "2001:db8:10:20::80", "2001:db8:10:20::53"),
		atWAN: addrList("2001:db8:2::10", "2001:db8:113::5", "2001:db8:999::8", "2001:db8:2::11"),
		atDUT: addrList("2001:db8:1::1", "2001:db8:2::1")},
}

func addrList(list ...string) (out []netip.Addr) {
	for _, s := range list {
		out = append(out, netip.MustParseAddr(s))
	}
	return out
}

func (g *generator) host(six bool, p place) netip.Addr {
	list := hosts[six][p]
	return list[g.rng.IntN(len(list))]
}

// route is from where to where a packet of the aim goes.
func (g *generator) route(a aim) (from, to place) {
	from, to = place(g.rng.IntN(2)), atDUT
	switch {
	case a.hook == "OUTPUT":
		from, to = atDUT, from
	case a.hook == "FORWARD", a.hook == "PREROUTING" && g.rng.IntN(2) == 0:
		to = 1 - from
	}
	switch a.in {
	case "lan0":
		from = atLAN
	case "wan0":
		from = atWAN
	}
	switch a.out {
	case "lan0":
		to = atLAN
	case "wan0":
		to = atWAN
	}
	if to == from {
		to = 1 - from
	}
	return from, to
}

var someProtocols = []int{unix.IPPROTO_TCP, unix.IPPROTO_TCP, unix.IPPROTO_UDP, unix.IPPROTO_UDP, unix.IPPROTO_ICMP, unix.IPPROTO_GRE, unix.IPPROTO_ESP, 253, unix.IPPROTO_UDPLITE}

// hit is ends that meet the aim.
func (g *generator) hit(a aim) ends {
	from, to := g.route(a)
	g.port++
	if g.port < 20000 || g.port > 60000 {
		g.port = 20000
	}
	e := ends{src: a.src.pick(g.rng, g.host(a.six, from), hosts[a.six][from]), dst: a.dst.pick(g.rng, g.host(a.six, to), hosts[a.six][to]), ttl: 77, first: unix2flags(a.flags), option: a.option,
		icmpType: a.icmpType, icmpCode: a.icmpCode, length: min(1400, max(0, a.length.pick(g.rng, 0)))}
	proto := a.proto
	if proto < 0 {
		proto = someProtocols[g.rng.IntN(len(someProtocols))]
	}
	if a.six && proto == unix.IPPROTO_ICMP {
		proto = unix.IPPROTO_ICMPV6
	}
	e.proto = uint8(proto)
	e.sport = uint16(a.sport.pick(g.rng, int(g.port)))
	e.dport = uint16(a.dport.pick(g.rng, g.somePort()))
	if a.ttl >= 0 {
		e.ttl = uint8(a.ttl)
	}
	if a.tos >= 0 {
		e.tos = uint8(a.tos)
	}
	if a.hook == "INPUT" || a.hook == "PREROUTING" {
		g.cast(a, &e, from)
	}
	return e
}

// cast turns the destination into one for many receivers, if the rule is about these.
func (g *generator) cast(a aim, e *ends, from place) {
	switch {
	case a.castType == "broadcast" && !a.six && from == atLAN:
		e.dst = []netip.Addr{broadcast, subnetBroadcast}[g.rng.IntN(2)]
	case a.castType == "multicast" && !a.six:
		e.dst = netip.MustParseAddr("224.0.0.251")
	case a.castType == "multicast":
		e.dst = netip.MustParseAddr("ff02::fb")
	}
}

func unix2flags(n int) uint8 {
	if n < 0 {
		return lab.SYN
	}
	return uint8(n)
}

// somePort is a port that rules often name, or any.
func (g *generator) somePort() int {
	common := []int{22, 53, 80, 443, 8080, 123, 25, 113, 9, 33434}
	if g.rng.IntN(4) == 0 {
		return g.rng.IntN(65536)
	}
	return common[g.rng.IntN(len(common))]
}

// miss changes one thing by as little as the aim allows.
func (g *generator) miss(a aim, e *ends) {
	switch g.rng.IntN(8) {
	case 0:
		if a.src.from.IsValid() {
			e.src = a.src.miss(g.rng)
		}
	case 1:
		if a.dst.from.IsValid() {
			e.dst = a.dst.miss(g.rng)
		}
	case 2:
		if a.sport != anySpan {
			e.sport = uint16(a.sport.miss(g.rng))
		}
	case 3:
		if a.dport != anySpan {
			e.dport = uint16(a.dport.miss(g.rng))
		}
	case 4:
		e.first = uint8(g.rng.IntN(64))
	case 5:
		if a.length != anySpan {
			e.length = min(1400, a.length.miss(g.rng))
		}
	case 6:
		if a.ttl > 1 && a.ttl < 10 {
			e.ttl = uint8(a.ttl - 1 + 2*g.rng.IntN(2))
		}
		e.tos ^= 4 << g.rng.IntN(4)
	case 7:
		proto := someProtocols[g.rng.IntN(len(someProtocols))]
		if a.six && proto == unix.IPPROTO_ICMP {
			proto = unix.IPPROTO_ICMPV6
		}
		e.proto = uint8(proto)
	}
}

// origin is where packets with this source are put in: what lives beyond an interface comes in by it. A source that is no
// host of any side (a spoofed one) comes in where the rule looks.
func (s *script) origin(reply bool) place {
	from, to := side(s.e.src), side(s.e.dst)
	switch s.f.aim.in {
	case "lan0":
		from = atLAN
	case "wan0":
		from = atWAN
	}
	if s.f.aim.hook != "OUTPUT" && from == atDUT {
		from = atWAN
	}
	if s.f.aim.hook == "OUTPUT" {
		from = atDUT
	}
	if reply {
		return to
	}
	return from
}

func macs(at place, dst netip.Addr) (src, to net.HardwareAddr) {
	leg := lab.LAN
	if at == atWAN {
		leg = lab.WAN
	}
	switch {
	case dst == broadcast || dst == subnetBroadcast:
		return leg.FarMAC, net.HardwareAddr{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	case dst.Is4() && dst.IsMulticast():
		b := dst.As4()
		return leg.FarMAC, net.HardwareAddr{1, 0, 0x5e, b[1] & 0x7f, b[2], b[3]}
	case dst.IsMulticast():
		b := dst.As16()
		return leg.FarMAC, net.HardwareAddr{0x33, 0x33, b[12], b[13], b[14], b[15]}
	}
	return leg.FarMAC, leg.DUTMAC
}

// payload is at least 8 bytes that carry the id.
func payload(id uint32, n int) []byte {
	b := make([]byte, max(8, n))
	copy(b, "bpfw")
	binary.BigEndian.PutUint32(b[4:], id)
	return b
}

func (s step) String() string {
	p := s.pkt
	text := fmt.Sprintf("%-4s %s", s.at, s.what)
	switch p.Proto {
	case unix.IPPROTO_TCP, unix.IPPROTO_UDP, unix.IPPROTO_UDPLITE:
		text += fmt.Sprintf(" %s -> %s", netip.AddrPortFrom(p.Src, p.SrcPort), netip.AddrPortFrom(p.Dst, p.DstPort))
	default:
		text += fmt.Sprintf(" %s -> %s", p.Src, p.Dst)
	}
	if p.Proto == unix.IPPROTO_TCP {
		text += fmt.Sprintf(" seq %d ack %d", p.Seq, p.Ack)
	}
	if len(s.frames) > 1 {
		text += fmt.Sprintf(" in %d fragments", len(s.frames))
	}
	return fmt.Sprintf("%s ttl %d tos %#x payload %d", text, p.TTL, p.TOS, len(p.Payload))
}
