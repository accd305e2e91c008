package volume

import (
	"encoding/binary"
	"slices"

	"github.com/bpfwall/bpfwall/internal/random"
	"github.com/bpfwall/bpfwall/packet"
	"github.com/bpfwall/bpfwall/ruleset"
)

// frame is what a program is run on.
type frame struct {
	data []byte
	way
	dev, from int // indexes of names
	mark      uint32
}

// validFrames makes frames of random packets as they should be.
func validFrames(g random.Gen, n int) [][]byte {
	var out [][]byte
	for len(out) < n {
		p := g.Packet()
		if p.Length != 1500 || g.IntN(8) > 0 {
			p.Length = 120
		}
		p.Proto = random.Pick[uint8](g, p.Proto, p.Proto, p.Proto, 132, 33, 136, 47)
		e := packet.Encoding{PriorityTags: random.Pick(g, 0, 0, 0, 1, 3)}
		if g.IntN(4) == 0 {
			e.IPv4Options = make([]byte, g.IntN(11)*4)
			for range g.IntN(4) {
				e.Extensions = append(e.Extensions, random.Pick[uint8](g, 0, 43, 60))
			}
		}
		if f, err := e.Frame(normal(&p)); err == nil {
			out = append(out, f)
		}
	}
	return out
}

// normal takes from a packet what its protocol does not have.
func normal(p *ruleset.Packet) *ruleset.Packet {
	if p.SrcPort < 0 && p.ICMPType < 0 || p.SrcPort < 0 && p.Proto != 1 && p.Proto != 58 {
		p.SrcPort, p.DstPort = 53, 80
	}
	if p.TCPFlags < 0 {
		p.TCPFlags = 2
	}
	if p.ICMPType < 0 {
		p.ICMPType, p.ICMPCode = 8, 0
	}
	return p
}

// damage is one way to change a frame.
type damage func(g random.Gen, b []byte) []byte

var damages = []damage{flipBit, flipBit, setByte, setByte, setByte, truncate, extend, lieLength, addTag, addOptions, addExtension, addExtension,
	setFragment, setFragment, setMAC, tcpHeader, tcpHeader, etherType, grow}

// mutate makes a frame out of a valid one; to is the buffer for it.
func mutate(g random.Gen, to, from []byte) []byte {
	b := append(to[:0], from...)
	for range random.Pick(g, 0, 1, 1, 1, 2, 3) {
		b = damages[g.IntN(len(damages))](g, b)
	}
	return b[:min(len(b), 1800)]
}

func flipBit(g random.Gen, b []byte) []byte {
	b[header(g, b)] ^= 1 << g.IntN(8)
	return b
}

func setByte(g random.Gen, b []byte) []byte {
	b[header(g, b)] = random.Pick[byte](g, 0, 1, 2, 4, 5, 6, 8, 17, 43, 44, 60, 0x45, 0x60, 0x81, 0xff, byte(g.Uint32()))
	return b
}

// header is a byte that is read, as a rule.
func header(g random.Gen, b []byte) int {
	from := random.Pick(g, 0, 12, 12, 14, 34, 54)
	top := min(len(b), random.Pick(g, 38, 60, 110, len(b)))
	if from >= top {
		return g.IntN(len(b))
	}
	return from + g.IntN(top-from)
}

func truncate(g random.Gen, b []byte) []byte { return b[:34+g.IntN(max(1, len(b)-33))] }

func extend(g random.Gen, b []byte) []byte {
	for range g.IntN(40) {
		b = append(b, byte(g.IntN(3)))
	}
	return b
}

// ip is where the IP header starts, behind tags.
func ip(b []byte) int {
	at := 14
	for at+4 <= len(b) && (b[at-2] == 0x81 && b[at-1] == 0 || b[at-2] == 0x88 && b[at-1] == 0xa8) {
		at += 4
	}
	return at
}

// lieLength changes a length field: the IP header's, or one of the transport header behind it.
func lieLength(g random.Gen, b []byte) []byte {
	at := ip(b) + random.Pick(g, 2, 4, 24, 44, 32, 52)
	if at+2 > len(b) {
		return b
	}
	v := int(binary.BigEndian.Uint16(b[at:])) + random.Pick(g, -1, 1, -4, 4, -8, 8, -20, 20, -40, g.IntN(200)-100)
	binary.BigEndian.PutUint16(b[at:], uint16(random.Pick(g, v, v, v, 0, 7, 8, 0xffff)))
	return b
}

func addTag(g random.Gen, b []byte) []byte {
	for range random.Pick(g, 1, 1, 2, 3, 4) {
		tag := []byte{0x81, 0, random.Pick[byte](g, 0, 0, 0, 0xe0, 0x10, 1), random.Pick[byte](g, 0, 0, 0, 0, 0, 7)}
		if g.IntN(3) == 0 {
			tag[0], tag[1] = 0x88, 0xa8
		}
		b = slices.Insert(b, 12, tag...)
	}
	return b
}

// addOptions puts IPv4 options in.
func addOptions(g random.Gen, b []byte) []byte {
	at := ip(b)
	if len(b) < at+20 || b[at]>>4 != 4 {
		return b
	}
	n := 1 + g.IntN(10)
	b[at] = b[at]&0xf0 | min(15, b[at]&15+byte(n))
	if g.IntN(5) > 0 {
		binary.BigEndian.PutUint16(b[at+2:], binary.BigEndian.Uint16(b[at+2:])+uint16(4*n))
	}
	return slices.Insert(b, at+20, make([]byte, 4*n)...)
}

// addExtension puts extension headers behind an IPv6 header.
func addExtension(g random.Gen, b []byte) []byte {
	at := ip(b)
	if len(b) < at+40 || b[at]>>4 != 6 {
		return addOptions(g, b)
	}
	for range random.Pick(g, 1, 1, 2, 3, 33) {
		n := random.Pick(g, 0, 0, 0, 1, 3)
		h := make([]byte, 8*(n+1))
		h[0], h[1] = b[at+6], byte(n)
		b[at+6] = random.Pick[byte](g, 0, 43, 60, 60, 60, 44, 51, 59, 135)
		if b[at+6] == 44 {
			binary.BigEndian.PutUint16(h[2:], fragment(g))
			h[7] = byte(g.IntN(3))
		}
		if g.IntN(12) == 0 {
			h[1] = byte(g.Uint32())
		}
		binary.BigEndian.PutUint16(b[at+4:], binary.BigEndian.Uint16(b[at+4:])+uint16(len(h)))
		b = slices.Insert(b, at+40, h...)
	}
	return b
}

// fragment is the offset and flags of an IPv6 fragment.
func fragment(g random.Gen) uint16 {
	return random.Pick(g, 0, 1, 8, 9, 16, 24, 0xfff8, 0xfff9, 6, 1480, 1481, uint16(g.Uint32()))
}

// setFragment makes a fragment of an IPv4 packet.
func setFragment(g random.Gen, b []byte) []byte {
	at := ip(b)
	if len(b) < at+20 || b[at]>>4 != 4 {
		return addExtension(g, b)
	}
	b[at+5] = byte(g.IntN(3)) // the datagram's number
	binary.BigEndian.PutUint16(b[at+6:], random.Pick(g, 0x2000, 0x2000, 1, 2, 3, 0x2001, 0x2003, 185, 0x20b9, 0x4000, 0x8000, 0x1fff, uint16(g.Uint32())))
	return b
}

func setMAC(g random.Gen, b []byte) []byte {
	copy(b, random.Pick(g, "\xff\xff\xff\xff\xff\xff", "\x01\x00\x5e\x00\x00\x01", "\x33\x33\x00\x00\x00\x01", "\x02\x00\x00\x00\x00\x03", "\x02\x00\x00\x00\x00\x02"))
	return b
}

// tcpHeader makes the transport header's length another, and fills it with options.
func tcpHeader(g random.Gen, b []byte) []byte {
	at := ip(b) + 20
	if len(b) > ip(b) && b[ip(b)]>>4 == 6 {
		at += 20
	}
	if at+20 > len(b) {
		return b
	}
	b[at+12] = byte(g.IntN(16)) << 4
	for i := at + 20; i < min(at+60, len(b)); i++ {
		b[i] = random.Pick[byte](g, 0, 1, 1, 2, 2, 3, 4, 4, 5, 8, 10, 80, byte(g.Uint32()))
	}
	return b
}

func etherType(g random.Gen, b []byte) []byte {
	binary.BigEndian.PutUint16(b[12:], random.Pick[uint16](g, 0x800, 0x86dd, 0x806, 0x8100, 0x88a8, 0x8864))
	return b
}

// grow sets the datagram's or the header's length to what the frame has.
func grow(_ random.Gen, b []byte) []byte {
	at := ip(b)
	if len(b) < at+40 {
		return b
	}
	if b[at]>>4 == 4 {
		binary.BigEndian.PutUint16(b[at+2:], uint16(len(b)-at))
	} else {
		binary.BigEndian.PutUint16(b[at+4:], uint16(len(b)-at-40))
	}
	return b
}
