package random

import (
	"encoding/binary"
	"net/netip"

	"github.com/bpfwall/bpfwall/ruleset"
)

// Span is the places From..To on a line of 32 bits, both included.
type Span struct{ From, To uint32 }

// Box is a rule of a hostile ruleset: what a packet's places on the two lines of addresses, and its ports, have to be.
type Box struct {
	Src, Dst         Span
	SrcPort, DstPort ruleset.Range // all: any
	Proto            uint8         // 0: any
}

// Point is a packet for boxes.
type Point struct {
	Src, Dst         uint32
	SrcPort, DstPort uint16
	Proto            uint8 // 6, 17, or one without ports
}

// Hostile are ways to write rules that nobody has reason to write but to make tables large: see each one's name.
var Hostile = []struct {
	Name string
	Box  func(g Gen, i, n int) Box // the i-th of n
}{
	{"ranges of any width", func(g Gen, _, _ int) Box { return g.ports(Box{Src: g.span(0, 32), Dst: g.span(0, 32)}) }},
	{"prefixes in a slash 16", func(g Gen, _, _ int) Box { return g.ports(Box{Src: g.prefix(16), Dst: g.prefix(16)}) }},
	{"wide by narrow and narrow by wide", func(g Gen, i, _ int) Box {
		b := Box{Src: g.span(27, 31), Dst: g.span(0, 16)}
		if i%2 == 1 {
			b.Src, b.Dst = b.Dst, b.Src
		}
		return g.ports(b)
	}},
	{"ranges of both ports by nested prefixes", func(g Gen, _, _ int) Box {
		b := Box{Src: g.prefix(20), Dst: g.prefix(20), Proto: 6}
		b.SrcPort, b.DstPort = g.portRange(), g.portRange()
		return b
	}},
	{"windows that slide on both sides", func(g Gen, i, n int) Box {
		slide := func(k int) Span {
			from := uint32(k)*(1<<31/uint32(n)) + g.Uint32N(1<<31/uint32(n))
			return Span{from, from + 1<<31 - 1}
		}
		return g.ports(Box{Src: slide(i), Dst: slide(g.IntN(n))})
	}},
	{"rings around one place", func(g Gen, i, n int) Box {
		ring := func(k int) Span {
			half := uint32(k+1) * (1 << 31 / uint32(n+2))
			return Span{1<<31 - half, 1<<31 + half}
		}
		return g.ports(Box{Src: ring(i), Dst: ring(n - 1 - i)})
	}},
}

// span is a random one of some number of bits, evenly by that.
func (g Gen) span(least, most int) Span {
	k := least + g.IntN(most-least)
	width := uint32(1)<<k - 1 + g.Uint32N(1<<k)
	from := g.Uint32N(^uint32(0) - width)
	return Span{from, from + width}
}

// prefix is a random one inside the first network of so many bits.
func (g Gen) prefix(bits int) Span {
	mask := uint32(1)<<g.IntN(33-bits) - 1
	at := 10<<24 + g.Uint32()>>bits
	return Span{at &^ mask, at | mask}
}

// ports lets every other box ask for a protocol, and for a range of ports.
func (g Gen) ports(b Box) Box {
	b.SrcPort, b.DstPort = anyPort, anyPort
	if g.IntN(2) == 0 {
		b.Proto, b.DstPort = Pick[uint8](g, 6, 17), g.portRange()
	}
	return b
}

var anyPort = ruleset.Range{To: 65535}

func (g Gen) portRange() ruleset.Range {
	from := g.Uint64N(1 << 16)
	return ruleset.Range{From: from, To: min(65535, from+g.Uint64N(3)*g.Uint64N(1<<g.IntN(16)+1))}
}

// Boxes are n rules of a kind of Hostile.
func (g Gen) Boxes(kind, n int) (out []Box) {
	for i := range n {
		out = append(out, Hostile[kind].Box(g, i, n))
	}
	return out
}

// Point is a packet that meets one of some boxes, or parts of several.
func (g Gen) Point(boxes []Box) Point {
	a, b, c := boxes[g.IntN(len(boxes))], boxes[g.IntN(len(boxes))], boxes[g.IntN(len(boxes))]
	if g.IntN(2) == 0 {
		b, c = a, a
	}
	p := Point{Src: g.in(a.Src), Dst: g.in(b.Dst), Proto: c.Proto}
	if p.Proto == 0 {
		p.Proto = Pick[uint8](g, 6, 17, 47)
	}
	if p.Proto != 47 {
		p.SrcPort, p.DstPort = uint16(g.inRange(c.SrcPort)), uint16(g.inRange(c.DstPort))
	}
	return p
}

// in is a place of a span: often its edges.
func (g Gen) in(s Span) uint32 {
	return Pick(g, s.From, s.To, s.From+uint32(g.Uint64N(uint64(s.To-s.From)+1)), s.From+uint32(g.Uint64N(uint64(s.To-s.From)+1)))
}

func (g Gen) inRange(r ruleset.Range) uint64 { return r.From + g.Uint64N(r.To-r.From+1) }

// Meets reports whether the packet meets the box.
func (b *Box) Meets(p *Point) bool {
	return p.Src-b.Src.From <= b.Src.To-b.Src.From && p.Dst-b.Dst.From <= b.Dst.To-b.Dst.From && (b.Proto == 0 || b.Proto == p.Proto) &&
		b.SrcPort.From <= uint64(p.SrcPort) && uint64(p.SrcPort) <= b.SrcPort.To &&
		b.DstPort.From <= uint64(p.DstPort) && uint64(p.DstPort) <= b.DstPort.To
}

// FirstBox is the first of some boxes that the packet meets; -1 if it meets none.
func FirstBox(boxes []Box, p *Point) int {
	for i := range boxes {
		if boxes[i].Meets(p) {
			return i
		}
	}
	return -1
}

// Addr is the address of a place, in the order of places. Of IPv6, places differ in both halves.
func Addr(f ruleset.Family, at uint32) netip.Addr {
	if f == ruleset.FamilyIPv4 {
		return netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, at)))
	}
	b := [16]byte{0x20, 0x01, 0x0d, 0xb8}
	binary.BigEndian.PutUint16(b[6:], uint16(at>>16))
	binary.BigEndian.PutUint16(b[8:], uint16(at))
	return netip.AddrFrom16(b)
}

// HostileRules is boxes as the rules of INPUT, every second one accepting.
func HostileRules(f ruleset.Family, boxes []Box) *ruleset.Ruleset {
	c := &ruleset.Chain{Name: "INPUT", Family: f, Hook: ruleset.HookInput, Policy: ruleset.Drop}
	for i, b := range boxes {
		r := &ruleset.Rule{Pos: ruleset.Pos{File: "hostile", Line: i + 1}, Matches: b.matches(f)}
		r.Verdict.Kind = []ruleset.VerdictKind{ruleset.Accept, ruleset.Drop}[i%2]
		c.Rules = append(c.Rules, r)
	}
	return &ruleset.Ruleset{Chains: []*ruleset.Chain{c}}
}

// matches is what a box asks for.
func (b Box) matches(f ruleset.Family) []ruleset.Match {
	addr := func(id ruleset.FieldID, s Span) ruleset.Match {
		return ruleset.Match{Field: id, Addrs: []ruleset.AddrRange{{From: Addr(f, s.From), To: Addr(f, s.To)}}}
	}
	out := []ruleset.Match{addr(ruleset.FieldSrcAddr, b.Src), addr(ruleset.FieldDstAddr, b.Dst)}
	number := func(id ruleset.FieldID, r ruleset.Range) {
		out = append(out, ruleset.Match{Field: id, Ranges: []ruleset.Range{r}})
	}
	if b.Proto != 0 {
		number(ruleset.FieldProto, ruleset.Range{From: uint64(b.Proto), To: uint64(b.Proto)})
	}
	if b.SrcPort != anyPort {
		number(ruleset.FieldSrcPort, b.SrcPort)
	}
	if b.DstPort != anyPort {
		number(ruleset.FieldDstPort, b.DstPort)
	}
	return out
}

// Packet is the point as a packet for INPUT.
func (p Point) Packet(f ruleset.Family) ruleset.Packet {
	out := ruleset.Packet{
		In: "eth0", Family: f, Src: Addr(f, p.Src), Dst: Addr(f, p.Dst), Proto: p.Proto, SrcPort: int(p.SrcPort), DstPort: int(p.DstPort),
		TCPFlags: ruleset.Absent, TCPMSS: ruleset.Absent, ICMPType: ruleset.Absent, ICMPCode: ruleset.Absent, State: ruleset.StateNew,
		Length: 60, TTL: 64, PktType: ruleset.PktUnicast, SrcType: ruleset.AddrUnicast, DstType: ruleset.AddrLocal,
	}
	if p.Proto == 47 {
		out.SrcPort, out.DstPort = ruleset.Absent, ruleset.Absent
	}
	return out
}
