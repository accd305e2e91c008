package random

import (
	"net/netip"

	"github.com/bpfwall/bpfwall/ruleset"
)

// number is a value that packets have too.
func (g Gen) number(f ruleset.FieldID) uint64 {
	switch f {
	case ruleset.FieldFamily:
		return Pick[uint64](g, 4, 6)
	case ruleset.FieldProto:
		return Pick[uint64](g, 6, 17, 1, 58)
	case ruleset.FieldLength:
		return Pick[uint64](g, 40, 100, 1500)
	case ruleset.FieldSrcMAC:
		return Pick[uint64](g, 0, 0x020000000001, 0xffffffffffff)
	}
	return Pick(g, 0, 1, 2, 8, uint64(g.IntN(30)), 53, 80, 443, 1024, 65535)
}

// Family is either one.
func (g Gen) Family() ruleset.Family { return Pick(g, ruleset.FamilyIPv4, ruleset.FamilyIPv6) }

// FamilyIn is a family of the packets that a chain of f judges.
func (g Gen) FamilyIn(f ruleset.Family) ruleset.Family {
	if f == ruleset.FamilyAny {
		return g.Family()
	}
	return f
}

func (g Gen) addr(f ruleset.Family) netip.Addr {
	if f == ruleset.FamilyIPv4 {
		return netip.AddrFrom4([4]byte{Pick[byte](g, 10, 192), 0, byte(g.IntN(3)), byte(g.IntN(20))})
	}
	a := [16]byte{0: Pick[byte](g, 0xfd, 10), 7: byte(g.IntN(3)), 15: byte(g.IntN(20))}
	return netip.AddrFrom16(a)
}

// AddrRange is an operand about addresses: one, a range, a prefix or a mask.
func (g Gen) AddrRange(f ruleset.Family) ruleset.AddrRange {
	a, b := g.addr(f), g.addr(f)
	if b.Less(a) {
		a, b = b, a
	}
	switch g.IntN(5) {
	case 0:
		return ruleset.AddrRange{From: a, To: b}
	case 1:
		return ruleset.MaskedAddr(a, b)
	case 2:
		return ruleset.Prefix(netip.PrefixFrom(a, g.IntN(a.BitLen()+1)))
	}
	return ruleset.AddrRange{From: a, To: a}
}

// Packet is a random packet. It need not be one that the network could bring.
func (g Gen) Packet() ruleset.Packet {
	p := ruleset.Packet{
		In: Pick(g, "", "eth0", "eth1", "wg-longname-123"), Out: Pick(g, "", "eth0", "wg-longname-124"),
		Family: g.Family(), Proto: Pick[uint8](g, 6, 17, 1, 58), SrcPort: ruleset.Absent, DstPort: ruleset.Absent,
		TCPFlags: ruleset.Absent, TCPMSS: ruleset.Absent, ICMPType: ruleset.Absent, ICMPCode: ruleset.Absent,
		State: 1 << g.IntN(5), Mark: Pick(g, 0, 1, g.Uint32()), Length: Pick[uint32](g, 40, 100, 1500), TTL: uint8(g.number(ruleset.FieldTTL)),
		TOS: Pick[uint8](g, 0, 1, 0x17, 255), Fragment: g.IntN(8) == 0, PktType: 1 << g.IntN(3),
		SrcType: 1 << g.IntN(9), DstType: 1 << g.IntN(9), Malformed: g.IntN(30) == 0,
	}
	p.Src, p.Dst = g.addr(p.Family), g.addr(p.Family)
	if g.IntN(2) == 0 {
		p.HasMAC, p.SrcMAC = true, g.number(ruleset.FieldSrcMAC)
	}
	if g.IntN(3) > 0 {
		p.Socket, p.UID, p.GID = true, Pick(g, ruleset.Absent, 0, 1, 80, 1000), Pick(g, ruleset.Absent, 0, 8, 443)
		p.Cgroup = Pick(g, "", "/", "/a", "/a/b/c", "/a.slice/x.service")
	}
	g.transport(&p)
	return p
}

func (g Gen) transport(p *ruleset.Packet) {
	if p.Proto == 1 || p.Proto == 58 {
		p.ICMPType, p.ICMPCode = int(g.number(ruleset.FieldICMPType)&0xff), g.IntN(4)
		return
	}
	p.SrcPort, p.DstPort = int(g.number(ruleset.FieldSrcPort)), int(g.number(ruleset.FieldDstPort))
	if p.Proto != 6 {
		return
	}
	p.TCPFlags = Pick(g, 2, 18, 16, 1, 0x17, 255)
	if g.IntN(2) == 0 {
		p.TCPOptions, p.TCPMSS = []byte{2, Pick[byte](g, 1, 8, 80, 200)}, Pick(g, 0, 80, 1024, 65535)
	}
}
