package conntrack

import (
	"math/rand/v2"
	"slices"

	"golang.org/x/sys/unix"
)

// talker is one flow of a random script: says makes its next packet.
type talker interface{ says() packet }

// generator makes random scripts: up to four flows of two hosts, mostly plausible conversations, with mutations.
type generator struct {
	rng  *rand.Rand
	six  bool
	all  bool     // kinds that are known to differ, too
	sent []packet // of this script, for ICMP errors to quote
}

func (g *generator) script() *script {
	g.six, g.sent = g.chance(40), nil
	var flows []talker
	for i := range 1 + g.rng.IntN(4) {
		flows = append(flows, g.flow(i))
	}
	s := &script{six: g.six}
	length := 4 + g.rng.IntN(37)
	for tries := 0; len(s.packets) < length && tries < 100; tries++ {
		var p packet
		if len(g.sent) > 0 && g.chance(5) {
			p = g.icmpError()
		} else {
			p = flows[g.rng.IntN(len(flows))].says()
		}
		if !g.all && isKnown(p.kind) != "" {
			continue
		}
		s.packets = append(s.packets, p)
		if p.quote == nil {
			g.sent = append(g.sent, p)
		}
	}
	return s
}

// flow makes a flow; ports come from few, so that flows of a script share some.
func (g *generator) flow(i int) talker {
	a, b := uint16(1000+i), uint16(80)
	client := end(g.rng.IntN(2))
	switch n := g.rng.IntN(100); {
	case n < 62:
		return newTCP(g, client, a, b)
	case n < 74:
		return &udp{g: g, client: client, ports: [2]uint16{a, 53}, proto: pick[uint8](g, unix.IPPROTO_UDP, unix.IPPROTO_UDP, unix.IPPROTO_UDP, unix.IPPROTO_UDPLITE)}
	case n < 84:
		return &icmp{g: g, client: client, id: uint16(7 + i)}
	case n < 92:
		return &sctp{g: g, client: client, ports: [2]uint16{a, 36412}, tags: [2]uint32{g.rng.Uint32() | 1, g.rng.Uint32() | 1}}
	case n < 95:
		return &gre{g}
	}
	return &other{g}
}

func (g *generator) chance(percent int) bool { return g.rng.IntN(100) < percent }

func pick[T any](g *generator, from ...T) T { return from[g.rng.IntN(len(from))] }

// between is a packet from an end to the host on the other side.
func between(from end, proto uint8, kind string) packet {
	return packet{from: from, to: from.peer(), proto: proto, kind: kind}
}

// udp is datagrams to and fro.
type udp struct {
	g      *generator
	client end
	ports  [2]uint16
	proto  uint8
}

func (u *udp) says() packet {
	g := u.g
	p := between(u.client, u.proto, "udp")
	p.sport, p.dport, p.size = u.ports[0], u.ports[1], g.rng.IntN(60)
	if g.chance(50) {
		p.from, p.to, p.sport, p.dport = p.to, p.from, p.dport, p.sport
	}
	if u.proto == unix.IPPROTO_UDPLITE {
		p.kind = "udplite"
	}
	if g.chance(15) {
		mutateUDP(g, &p)
	}
	if g.chance(4) {
		p.words = 1 + g.rng.IntN(4)
	}
	return p
}

func mutateUDP(g *generator, p *packet) {
	switch g.rng.IntN(5) {
	case 0:
		p.bad, p.kind = true, p.kind+" wrong checksum"
	case 1:
		p.bare, p.kind = true, p.kind+" no checksum"
	case 2:
		p.udplen, p.kind = pick(g, 1, 7, 8, 8+p.size-1, 8+p.size+1, 65535), p.kind+" length"
	case 3:
		p.cut, p.kind = 1+g.rng.IntN(8), p.kind+" cut"
	case 4:
		p.sport = pick[uint16](g, 0, 53, 1000)
	}
}

// icmp is queries and their replies, and types that are neither.
type icmp struct {
	g      *generator
	client end
	id     uint16
	typ    uint8 // of its queries, mostly
}

func (i *icmp) says() packet {
	g := i.g
	p := between(i.client, unix.IPPROTO_ICMP, "icmp request")
	p.id, p.size = i.id, 4+g.rng.IntN(20)
	if i.typ == 0 || g.chance(15) {
		i.typ = pick[uint8](g, 8, 8, 13, 15, 17)
		if g.six {
			i.typ = pick[uint8](g, 128, 128, 139)
		}
	}
	p.typ = i.typ
	switch n := g.rng.IntN(10); {
	case n < 4:
		p.from, p.to, p.kind = p.to, p.from, "icmp reply"
		if g.six || p.typ != 8 {
			p.typ++
		} else {
			p.typ = 0
		}
	case n == 4:
		p.kind, p.typ = "icmp type", uint8(g.rng.IntN(256))
		if g.six && g.chance(60) { // neighbours, listeners and what is next to them
			p.typ = uint8(127 + g.rng.IntN(28))
		}
		if quotes(g.six, p.typ) {
			p.kind = "icmp error of nothing"
		}
	case n == 5:
		p.from, p.to = p.to, p.from
	}
	switch g.rng.IntN(20) {
	case 0:
		p.code = 1
	case 1:
		p.id++
	case 2:
		p.bad, p.kind = true, p.kind+" wrong checksum"
	case 3:
		p.cut, p.kind = 1+g.rng.IntN(8), p.kind+" cut"
	}
	return p
}

// quotes reports whether ICMP messages of a type hold a packet.
func quotes(six bool, typ uint8) bool {
	if six {
		return typ < 128 || typ == 137
	}
	return slices.Contains([]uint8{3, 4, 5, 11, 12}, typ)
}

// icmpError is an error about one of the last packets, mostly.
func (g *generator) icmpError() packet {
	about := g.sent[max(0, len(g.sent)-1-g.rng.IntN(6))]
	q := about
	about.quote = nil
	p := between(pick(g, about.to, about.to, about.to.side()+2), unix.IPPROTO_ICMP, "icmp error")
	p.to = about.from
	p.typ, p.code = pick[uint8](g, 3, 3, 3, 4, 5, 11, 12), uint8(g.rng.IntN(4))
	if g.six {
		p.typ = pick[uint8](g, 1, 1, 2, 3, 4, 100, 137)
	}
	q.cut = pick(g, 8, 8, 8, 4, 0, 0, 1+g.rng.IntN(8))
	if about.cut > 0 {
		q.cut = about.cut
	}
	switch g.rng.IntN(12) {
	case 0:
		q.from, q.to, q.sport, q.dport = q.to, q.from, q.dport, q.sport
		p.kind = "icmp error, reversed"
	case 1:
		q.sport++
		p.kind = "icmp error, other port"
	case 2:
		q.words = 1 + g.rng.IntN(3)
		p.kind = "icmp error, options"
	case 3:
		q.from = q.from ^ 2
		p.kind = "icmp error, other source"
	case 4:
		q.proto = pick[uint8](g, 6, 17, 1, 132, 47, 253)
		p.kind = "icmp error, other protocol"
	case 5:
		p.bad, p.kind = true, p.kind+" wrong checksum"
	case 6:
		p.to = p.to ^ 2
		p.kind = "icmp error, to a router"
	}
	if g.six && p.typ == 137 {
		p.kind = "icmp redirect"
	}
	q.kind, q.size = "", min(q.size, 100)
	p.kind += " about " + q.protoName()
	p.quote = &q
	return p
}

// gre is GRE and PPTP's enhanced GRE.
type gre struct{ g *generator }

func (o *gre) says() packet {
	g := o.g
	p := between(end(g.rng.IntN(2)), unix.IPPROTO_GRE, "gre")
	switch g.rng.IntN(6) {
	case 0:
		p.raw, p.kind = []byte{0x30, 0x01, 0x88, 0x0b, 0, 4, 0, byte(1 + g.rng.IntN(2)), 0, 0, 0, 1, 0, 0, 0, 0}, "gre pptp"
	case 1:
		p.raw, p.kind = make([]byte, g.rng.IntN(6)), "gre short"
	case 2:
		p.raw, p.kind = []byte{byte(g.rng.IntN(256)), byte(g.rng.IntN(256)), 8, 0, 0, 0, 0, 1, 0, 0, 0, 1}, "gre flags"
	default:
		p.raw = []byte{0, 0, 8, 0, 1, 2, 3, 4, 5, 6, 7, 8}
	}
	return p
}

// other is protocols without ports.
type other struct{ g *generator }

func (o *other) says() packet {
	g := o.g
	p := between(end(g.rng.IntN(2)), pick[uint8](g, 50, 253, 253, 253, 4, 2, 41, 33), "protocol")
	p.raw = []byte{0, 1, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}[:g.rng.IntN(21)]
	switch g.rng.IntN(12) {
	case 0:
		if !g.six {
			p.proto, p.kind = unix.IPPROTO_ICMPV6, "icmp of the other family"
		}
	case 1:
		p.proto = pick[uint8](g, 59, 135, 139, 140, 255, 254)
	}
	p.kind += " " + p.protoName()
	return p
}
