package stateless

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/bpfwall/bpfwall/internal/lab"
)

// probe is one packet of a round, or one datagram in fragments.
type probe struct {
	pkt      lab.Packet
	at       place // where it starts
	options  []int // TCP
	mss      int   // 0: none
	length   int   // of the IP packet; 0: any
	fragment fragment
	tags     int // priority tags
	aim      *rule
	frames   [][]byte // from the IP header on if it starts at the dut
}

type fragment uint8

const (
	whole fragment = iota
	first          // the first fragment alone
	later          // a later one alone
	all            // every fragment, in order
)

// hosts are the addresses of each side, by family.
var hosts = map[bool][3][]netip.Addr{
	false: {atLAN: addrList("192.0.2.10", "192.0.2.11", "10.1.3.4", "10.1.20.80", "10.1.20.53", "192.0.2.16", "10.1.255.255"),
		atWAN: addrList("198.51.100.10", "203.0.113.5", "203.0.113.200", "8.8.4.4", "198.51.100.11"),
		atDUT: addrList("192.0.2.1", "198.51.100.1")},
	true: {atLAN: addrList("2001:db8:1::10", "2001:db8:1::11", "2001:db8:10:3::4", "2001:db8:10:20::80", "2001:db8:10:20::53"),
		atWAN: addrList("2001:db8:2::10", "2001:db8:113::5", "2001:db8:999::8", "2001:db8:2::11"),
		atDUT: addrList("2001:db8:1::1", "2001:db8:2::1")},
}

var (
	group4, group6  = netip.MustParseAddr("224.0.0.251"), netip.MustParseAddr("ff02::fb")
	broadcast       = netip.MustParseAddr("255.255.255.255")
	subnetBroadcast = netip.MustParseAddr("192.0.2.255")
)

func addrList(list ...string) (out []netip.Addr) {
	for _, s := range list {
		out = append(out, netip.MustParseAddr(s))
	}
	return out
}

func (g *generator) host(at place) netip.Addr {
	list := hosts[g.six][at]
	return list[g.rng.IntN(len(list))]
}

func (g *generator) anyAddress() netip.Addr { return g.host(place(g.rng.IntN(3))) }

// probes are n packets for the rules of a family, numbered from 1.
func (g *generator) probes(f *family, n int) []*probe {
	g.six = f.six
	out := make([]*probe, 0, n)
	for id := 1; id <= n; id++ {
		c := f.chains[g.rng.IntN(len(f.chains))]
		if g.rng.IntN(3) > 0 { // the base chains have most of the rules
			c = f.chains[2+(1+userChains)*g.rng.IntN(3)]
		}
		p := g.probe(c, c.rules[g.rng.IntN(len(c.rules))])
		p.number(uint32(id))
		p.frames = g.build(p)
		out = append(out, p)
	}
	return out
}

// probe is a packet that is to meet a rule of a chain, or all but one of its conditions.
func (g *generator) probe(c *chain, r *rule) *probe {
	p := &probe{aim: r, pkt: lab.Packet{TTL: g.ttl(), SrcPort: uint16(g.ports().from), DstPort: uint16(g.ports().from), Window: 1000, SrcMAC: g.mac()}}
	p.pkt.Proto = uint8(g.oneProto())
	p.pkt.Flags = []uint8{lab.SYN, lab.SYN, lab.ACK, lab.SYN | lab.ACK, uint8(g.rng.UintN(64))}[g.rng.IntN(5)]
	p.pkt.TOS = []uint8{0, 0, uint8(g.rng.UintN(256))}[g.rng.IntN(3)]
	kinds := map[bool][]uint8{false: {8, 8, 0, 3, 13, 17, 30}, true: {128, 128, 129, 1, 139, 200}}[g.six]
	p.pkt.Type, p.pkt.Code = kinds[g.rng.IntN(len(kinds))], uint8(g.rng.IntN(2)*g.rng.IntN(5))
	g.route(p, c.hook)
	g.oddities(p)
	var conds []condition
	for rule, from := r, c; rule != nil; rule, from = from.parent, from.from {
		conds = append(conds, rule.conds...)
		if from.parent == nil {
			break
		}
	}
	slices.Reverse(conds)
	skip := -1
	if len(conds) > 0 && g.rng.IntN(3) == 0 {
		skip = g.rng.IntN(len(conds))
	}
	for i, cond := range conds {
		if i != skip {
			cond.fit(g, p)
		}
	}
	g.makeSane(p, c.hook)
	return p
}

// route is from where to where packets of a hook go.
func (g *generator) route(p *probe, hook string) {
	p.at = place(g.rng.IntN(2))
	to := 1 - p.at
	switch {
	case hook == "OUTPUT":
		p.at = atDUT
	case hook == "INPUT", hook == "PREROUTING" && g.rng.IntN(2) == 0:
		to = atDUT
	}
	p.pkt.Src, p.pkt.Dst = g.host(p.at), g.host(to%3)
	if p.at == atDUT {
		p.pkt.Dst = g.host(place(g.rng.IntN(2)))
	}
}

// oddities are what packets have besides.
func (g *generator) oddities(p *probe) {
	switch g.rng.IntN(24) {
	case 0:
		p.fragment = []fragment{first, later, later, all}[g.rng.IntN(4)]
	case 1:
		p.options = append(p.options, optionKinds[g.rng.IntN(len(optionKinds))])
	case 2:
		p.mss = []int{536, 1220, 1460, 0xffff}[g.rng.IntN(4)]
	case 3:
		p.tags = 1 + g.rng.IntN(2)
	case 4:
		if !g.six {
			p.pkt.IPOptions = slices.Repeat([]byte{1}, 4*(1+g.rng.IntN(10)))
		}
		for g.six && len(p.pkt.Extensions) < 6 && g.rng.IntN(3) > 0 {
			p.pkt.Extensions = append(p.pkt.Extensions, lab.Header{Proto: unix.IPPROTO_DSTOPTS, Body: []byte{1, 4, 0, 0, 0, 0}})
		}
	case 5:
		switch g.rng.IntN(4) {
		case 0:
			p.pkt.Malform.Cut = 1 + g.rng.IntN(19)
		case 1:
			p.pkt.Malform.DataOffset = 1 + g.rng.IntN(15)
		case 2:
			p.pkt.Malform.UDPLength = 1 + g.rng.IntN(100)
		case 3:
			p.pkt.Malform.BadChecksum = true
		}
	}
}

// turn lets a packet come from the other side.
func (g *generator) turn(p *probe) {
	p.at = 1 - p.at
	p.pkt.Src = g.host(p.at)
	if side(p.pkt.Dst) == p.at {
		p.pkt.Dst = g.host(1 - p.at)
	}
}

// cast makes the packet one for many.
func (g *generator) cast(p *probe, kind string) {
	switch {
	case p.at == atDUT:
	case kind == "broadcast" && !g.six && p.at == atLAN:
		p.pkt.Dst = []netip.Addr{broadcast, subnetBroadcast}[g.rng.IntN(2)]
	case kind == "broadcast" && !g.six:
		p.pkt.Dst = broadcast
	case kind == "multicast" && g.six:
		p.pkt.Dst = group6
	case kind == "multicast":
		p.pkt.Dst = group4
	case kind == "local":
		p.pkt.Dst = g.host(atDUT)
	case kind == "unicast" && side(p.pkt.Dst) == atDUT:
		p.pkt.Dst = g.host(atDUT)
	}
}

// makeSane takes back what the stack would refuse whatever the rules say, so that it cannot hide what they do.
func (g *generator) makeSane(p *probe, hook string) {
	if p.pkt.TTL < 2 {
		p.pkt.TTL = 2
	}
	if t := p.pkt.TTL; t == 63 || t == 64 || t > 253 {
		p.pkt.TTL = 77
	}
	if side(p.pkt.Src) == atDUT != (p.at == atDUT) || anycast(p.pkt.Src) || !p.pkt.Src.IsGlobalUnicast() || p.pkt.Src == subnetBroadcast {
		p.pkt.Src = g.host(p.at)
	}
	p.at = side(p.pkt.Src) // answers to forged sources take other ways (docs/semantics.md)
	if hook == "OUTPUT" && side(p.pkt.Dst) == atDUT || anycast(p.pkt.Dst) || p.pkt.Dst.IsUnspecified() {
		p.pkt.Dst = g.host(place(g.rng.IntN(2)))
	}
	if side(p.pkt.Dst) == p.at { // it would go back, and be redirected
		p.pkt.Dst = g.host((p.at + 1) % 2)
	}
	if p.pkt.Dst == subnetBroadcast && p.at == atWAN {
		p.pkt.Dst = broadcast
	}
	if p.pkt.Proto == unix.IPPROTO_ICMPV6 && (p.pkt.Type >= 130 && p.pkt.Type <= 137 || p.pkt.Type == 143) {
		p.pkt.Type = 200 // neighbour discovery is the stack's, and redirects are not answered (RFC 4443, 2.4 e)
	}
	if p.at == atDUT {
		p.tags, p.pkt.Malform.BadChecksum = 0, false
		p.fragment = min(p.fragment, whole)
		p.pkt.SrcMAC = nil
	}
	if p.fragment != whole {
		p.pkt.Malform.Cut = 0
	}
	if !g.six && side(p.pkt.Dst) == atDUT && p.fragment != whole {
		p.fragment = all // what never is whole is never delivered
	}
}

// side is where an address lives, seen from the dut.
func side(a netip.Addr) place {
	switch {
	case a.IsMulticast(), a == broadcast, a == subnetBroadcast, slices.Contains(hosts[a.Is6()][atDUT], a):
		return atDUT
	case lab.LAN.DUT4.Contains(a), lab.LAN.DUT6.Contains(a), lab.LAN.Behind[0].Contains(a), lab.LAN.Behind[1].Contains(a):
		return atLAN
	}
	return atWAN
}

func anycast(a netip.Addr) bool {
	return a == lab.LAN.DUT6.Masked().Addr() || a == lab.WAN.DUT6.Masked().Addr() || a == lab.LAN.DUT4.Masked().Addr() || a == lab.WAN.DUT4.Masked().Addr() || a == netip.MustParseAddr("198.51.100.255")
}

// number puts the id where answers bring it back: RST has it as its number (RFC 9293, 3.5.2), errors quote the header.
func (p *probe) number(id uint32) {
	p.pkt.ID = id
	p.pkt.Rest = [4]byte{0, 1, byte(id >> 8), byte(id)}
	p.pkt.Ack = id
}

// build makes the frames.
func (g *generator) build(p *probe) [][]byte {
	k := &p.pkt
	k.Options = tcpOptions(p.options, p.mss)
	if k.Proto != unix.IPPROTO_TCP {
		k.Options = nil
	}
	leg := lab.LAN
	if p.at == atWAN {
		leg = lab.WAN
	}
	k.DstMAC = destinationMAC(leg, k.Dst)
	k.Payload = make([]byte, p.payload())
	if k.Proto == unix.IPPROTO_DCCP {
		binary.BigEndian.PutUint16(k.Payload, k.SrcPort)
		binary.BigEndian.PutUint16(k.Payload[2:], k.DstPort)
		k.Payload[4] = 6 // data offset in words (RFC 4340)
	}
	if k.Proto == unix.IPPROTO_TCP && k.Flags&lab.ACK == 0 { // then the answer's acknowledgement is the end of this segment
		n := len(k.Payload)
		if k.Malform.DataOffset > 0 {
			n += 20 + len(k.Options) - 4*k.Malform.DataOffset
		}
		k.Seq = k.ID - uint32(n) - uint32(k.Flags&lab.SYN>>1) - uint32(k.Flags&lab.FIN)
	}
	if p.at == atDUT {
		return [][]byte{k.IP()}
	}
	var out [][]byte
	switch p.fragment {
	case whole:
		out = [][]byte{k.Frame()}
	case all:
		out = k.Fragments(fragmentSize)
	case first:
		out = k.Fragments(fragmentSize)[:1]
	case later:
		out = k.Fragments(fragmentSize)[1:2]
	}
	for i := range out {
		for range p.tags {
			out[i] = slices.Insert(out[i], 12, 0x81, 0x00, 0, 0)
		}
	}
	return out
}

// fragmentSize leaves the transport header whole, with options.
const fragmentSize = 64

// payload is how much to send behind the headers.
func (p *probe) payload() int {
	head := 20 + len(p.pkt.IPOptions)
	if p.pkt.Src.Is6() {
		head = 40 + 8*len(p.pkt.Extensions)
	}
	switch p.pkt.Proto {
	case unix.IPPROTO_TCP:
		head += 20 + len(p.pkt.Options)
	case unix.IPPROTO_SCTP:
		head += 12
	default:
		head += 8
	}
	n, least := 16, 0
	if hasNoHeader(p.pkt.Proto) {
		least = 8
	}
	if p.pkt.Proto == unix.IPPROTO_DCCP {
		n, least, head = 24, 24, head-8 // its header is payload here
	}
	if p.fragment != whole {
		n, least = 150, 100
	}
	if p.length > 0 {
		n = p.length - head
	}
	return min(1492-head, max(n, least)) // room for two tags
}

// hasNoHeader reports whether a protocol's header is payload here.
func hasNoHeader(proto uint8) bool {
	return !slices.Contains([]uint8{unix.IPPROTO_TCP, unix.IPPROTO_UDP, unix.IPPROTO_UDPLITE, unix.IPPROTO_ICMP, unix.IPPROTO_ICMPV6, unix.IPPROTO_SCTP}, proto)
}

func tcpOptions(kinds []int, mss int) []byte {
	var b []byte
	for _, k := range kinds[:min(len(kinds), 4)] {
		b = append(b, 1, 1, byte(k), 2)
	}
	if mss > 0 {
		b = append(b, 2, 4, byte(mss>>8), byte(mss))
	}
	return b
}

func destinationMAC(leg lab.Leg, dst netip.Addr) net.HardwareAddr {
	switch {
	case dst == broadcast || dst == subnetBroadcast:
		return net.HardwareAddr{255, 255, 255, 255, 255, 255}
	case dst.Is4() && dst.IsMulticast():
		b := dst.As4()
		return net.HardwareAddr{1, 0, 0x5e, b[1] & 0x7f, b[2], b[3]}
	case dst.IsMulticast():
		b := dst.As16()
		return net.HardwareAddr{0x33, 0x33, b[12], b[13], b[14], b[15]}
	}
	return leg.DUTMAC
}

func (p *probe) String() string {
	k := &p.pkt
	return fmt.Sprintf("at %s: protocol %d, %s -> %s, ports %d %d, flags %s, icmp %d/%d, ttl %d, tos %#x, options %v, mss %d, payload %d, fragment %d, tags %d, malform %+v, %d IP options, %d extensions, made for%s",
		p.at, k.Proto, k.Src, k.Dst, k.SrcPort, k.DstPort, flagList(k.Flags), k.Type, k.Code, k.TTL, k.TOS, p.options, p.mss, len(k.Payload), p.fragment, p.tags, k.Malform,
		len(k.IPOptions), len(k.Extensions), p.aim.text)
}
