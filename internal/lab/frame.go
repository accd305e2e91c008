package lab

import (
	"encoding/binary"
	"hash/crc32"
	"net"
	"net/netip"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Packet is a packet to build. It may be as wrong as a test needs it: nothing is checked, only lengths and checksums are filled in.
type Packet struct {
	SrcMAC, DstMAC net.HardwareAddr
	Src, Dst       netip.Addr // both of one family
	ID             uint32     // IPv4 identification, IPv6 flow label
	TTL, TOS       uint8
	DontFragment   bool // IPv4
	Proto          uint8
	IPOptions      []byte   // IPv4, a multiple of 4 bytes
	Extensions     []Header // IPv6
	Malform        Malform

	SrcPort, DstPort uint16
	Flags            uint8  // TCP
	Seq, Ack         uint32 // SCTP: Seq is the verification tag
	Window           uint16
	Options          []byte // TCP, a multiple of 4 bytes
	Type, Code       uint8  // ICMP
	Rest             [4]byte
	Payload          []byte
}

// Header is an IPv6 extension header: its own number and its bytes after "next header" and "length".
type Header struct {
	Proto byte
	Body  []byte // 6 bytes, or 8 more each
}

// Malform is what to do wrong.
type Malform struct {
	Cut         int  // bytes of the transport layer to keep; 0: all
	BadChecksum bool // of the transport header
	NoChecksum  bool // the transport checksum is 0
	DataOffset  int  // TCP data offset in words; 0: the right one
	UDPLength   int  // 0: the right one
}

// Frame is the packet with its Ethernet header.
func (p *Packet) Frame() []byte { return p.frame(p.IP()) }

func (p *Packet) frame(ip []byte) []byte {
	f := make([]byte, 14, 14+len(ip))
	copy(f, p.DstMAC)
	copy(f[6:], p.SrcMAC)
	etherType := uint16(unix.ETH_P_IP)
	if p.Src.Is6() {
		etherType = unix.ETH_P_IPV6
	}
	binary.BigEndian.PutUint16(f[12:], etherType)
	return append(f, ip...)
}

// IP is the packet from its IP header on.
func (p *Packet) IP() []byte {
	l4 := p.transport()
	if p.Src.Is4() {
		return append(p.header4(len(l4), 0, false), l4...)
	}
	return append(p.header6(len(l4), p.Extensions), l4...)
}

// Fragments are the frames of the packet cut into fragments whose payloads have size bytes, a multiple of 8.
func (p *Packet) Fragments(size int) [][]byte {
	l4 := p.transport()
	id := fragmentID.Add(1)
	var out [][]byte
	for off := 0; off < len(l4); off += size {
		end, more := off+size, true
		if end >= len(l4) {
			end, more = len(l4), false
		}
		out = append(out, p.frame(append(p.fragmentHeader(id, end-off, off, more), l4[off:end]...)))
	}
	return out
}

// fragmentID makes IPv6 fragment identifications that are unique for long.
var fragmentID atomic.Uint32

func (p *Packet) fragmentHeader(id uint32, n, off int, more bool) []byte {
	if p.Src.Is4() {
		return p.header4(n, off, more)
	}
	body := make([]byte, 6)
	field := uint16(off)
	if more {
		field |= 1
	}
	binary.BigEndian.PutUint16(body, field)
	binary.BigEndian.PutUint32(body[2:], id)
	return p.header6(n, append(append([]Header{}, p.Extensions...), Header{unix.IPPROTO_FRAGMENT, body}))
}

func (p *Packet) header4(n, off int, more bool) []byte {
	h := make([]byte, 20+len(p.IPOptions))
	h[0] = 0x40 | byte(len(h)/4)
	h[1] = p.TOS
	binary.BigEndian.PutUint16(h[2:], uint16(len(h)+n))
	binary.BigEndian.PutUint16(h[4:], uint16(p.ID))
	field := uint16(off / 8)
	if more {
		field |= 0x2000
	}
	if p.DontFragment {
		field |= 0x4000
	}
	binary.BigEndian.PutUint16(h[6:], field)
	h[8], h[9] = p.TTL, p.Proto
	s, d := p.Src.As4(), p.Dst.As4()
	copy(h[12:], s[:])
	copy(h[16:], d[:])
	copy(h[20:], p.IPOptions)
	binary.BigEndian.PutUint16(h[10:], ^fold(sum(h, 0)))
	return h
}

func (p *Packet) header6(n int, extensions []Header) []byte {
	h := make([]byte, 40)
	binary.BigEndian.PutUint32(h, 6<<28|uint32(p.TOS)<<20|p.ID&0xfffff)
	next := 6 // where the number of the next header goes
	h[7] = p.TTL
	s, d := p.Src.As16(), p.Dst.As16()
	copy(h[8:], s[:])
	copy(h[24:], d[:])
	for _, e := range extensions {
		h[next] = e.Proto
		next = len(h)
		length := byte((len(e.Body)+2)/8 - 1)
		if e.Proto == unix.IPPROTO_FRAGMENT {
			length = 0 // reserved
		}
		h = append(append(h, 0, length), e.Body...)
	}
	h[next] = p.Proto
	binary.BigEndian.PutUint16(h[4:], uint16(len(h)-40+n))
	return h
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// transport is the transport header and what follows it.
func (p *Packet) transport() []byte {
	var b []byte
	at := -1 // of the checksum
	switch p.Proto {
	case unix.IPPROTO_TCP:
		b, at = p.tcp(), 16
	case unix.IPPROTO_UDP, unix.IPPROTO_UDPLITE:
		b, at = p.udp(), 6
	case unix.IPPROTO_ICMP, unix.IPPROTO_ICMPV6:
		b, at = append([]byte{p.Type, p.Code, 0, 0}, p.Rest[:]...), 2
	case unix.IPPROTO_SCTP:
		b = make([]byte, 12)
		binary.BigEndian.PutUint16(b, p.SrcPort)
		binary.BigEndian.PutUint16(b[2:], p.DstPort)
		binary.BigEndian.PutUint32(b[4:], p.Seq)
	}
	b = append(b, p.Payload...)
	if p.Malform.Cut > 0 && p.Malform.Cut < len(b) {
		b = b[:p.Malform.Cut]
	}
	if p.Proto == unix.IPPROTO_SCTP && len(b) >= 12 {
		c := crc32.Checksum(b, castagnoli)
		if p.Malform.BadChecksum {
			c++
		}
		binary.LittleEndian.PutUint32(b[8:], c) // RFC 9260, appendix A
	}
	if at >= 0 && at+2 <= len(b) {
		start := p.pseudo(len(b))
		if p.Proto == unix.IPPROTO_ICMP {
			start = 0
		}
		c := ^fold(sum(b, start))
		if c == 0 && p.Proto != unix.IPPROTO_TCP {
			c = 0xffff
		}
		if p.Malform.BadChecksum {
			c ^= 0x5555
		}
		if p.Malform.NoChecksum {
			c = 0
		}
		binary.BigEndian.PutUint16(b[at:], c)
	}
	return b
}

func (p *Packet) tcp() []byte {
	b := make([]byte, 20, 20+len(p.Options)+len(p.Payload))
	binary.BigEndian.PutUint16(b, p.SrcPort)
	binary.BigEndian.PutUint16(b[2:], p.DstPort)
	binary.BigEndian.PutUint32(b[4:], p.Seq)
	binary.BigEndian.PutUint32(b[8:], p.Ack)
	words := 5 + len(p.Options)/4
	if p.Malform.DataOffset != 0 {
		words = p.Malform.DataOffset
	}
	b[12], b[13] = byte(words<<4), p.Flags
	binary.BigEndian.PutUint16(b[14:], p.Window)
	return append(b, p.Options...)
}

func (p *Packet) udp() []byte {
	b := make([]byte, 8, 8+len(p.Payload))
	binary.BigEndian.PutUint16(b, p.SrcPort)
	binary.BigEndian.PutUint16(b[2:], p.DstPort)
	n := 8 + len(p.Payload)
	if p.Malform.UDPLength != 0 {
		n = p.Malform.UDPLength
	}
	binary.BigEndian.PutUint16(b[4:], uint16(n))
	return b
}

// pseudo is the sum of the pseudo header of a transport layer of n bytes.
func (p *Packet) pseudo(n int) uint32 {
	return sum(p.Src.AsSlice(), sum(p.Dst.AsSlice(), uint32(p.Proto)+uint32(n)))
}

// sum adds b to a ones' complement sum (RFC 1071); fold brings it to 16 bits.
func sum(b []byte, s uint32) uint32 {
	for len(b) >= 2 {
		s += uint32(b[0])<<8 | uint32(b[1])
		b = b[2:]
	}
	if len(b) == 1 {
		s += uint32(b[0]) << 8
	}
	return s
}

func fold(s uint32) uint16 {
	for s>>16 != 0 {
		s = s&0xffff + s>>16
	}
	return uint16(s)
}

// The TCP flags.
const FIN, SYN, RST, PSH, ACK, URG = 1, 2, 4, 8, 16, 32
