package packet

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"slices"

	"github.com/bpfwall/bpfwall/ruleset"
)

// Encoding is how a packet is put on the wire where rules see no difference. IPv4Options and Extensions make it longer than its Length says.
type Encoding struct {
	PriorityTags int     // 802.1Q tags of VLAN 0 before the IP header
	IPv4Options  []byte  // at most 40, padded to a multiple of 4
	Extensions   []uint8 // IPv6: 0 hop by hop, 43 routing, 44 fragment (the only one), 60 destination; 8 bytes each
}

// Frame is the packet as an Ethernet frame with right checksums, filled with zeros to its length.
func Frame(p *ruleset.Packet) ([]byte, error) { return Encoding{}.Frame(p) }

// Frame is the packet as an Ethernet frame with right checksums, filled with zeros to its length.
func (e Encoding) Frame(p *ruleset.Packet) ([]byte, error) {
	l := &Literal{Packet: *p}
	if bits := map[ruleset.Family]int{ruleset.FamilyIPv4: 32, ruleset.FamilyIPv6: 128}[p.Family]; bits == 0 || p.Src.BitLen() != bits || p.Dst.BitLen() != bits {
		return nil, fmt.Errorf("packet: %s and %s are not both %s addresses", p.Src, p.Dst, p.Family)
	}
	most := maxLength[p.Family] - uint32(len(e.IPv4Options)+3)&^3 - 8*uint32(len(e.Extensions))
	if least := l.headers(); p.Length < least || p.Length > most {
		return nil, fmt.Errorf("packet: length %d is not in %d-%d", p.Length, least, most)
	}
	if n := l.optionBytes(); n > maxTCPOptions {
		return nil, fmt.Errorf("packet: %d bytes of TCP options, there is room for %d", n, maxTCPOptions)
	}
	payload := make([]byte, p.Length-ipHeader[p.Family])
	if p.Fragment && p.Family == ruleset.FamilyIPv6 {
		payload = payload[fragmentHeader:]
	}
	if p.HasRouting {
		payload = payload[routingHeader:]
	}
	if !p.Fragment {
		if err := l.putTransport(payload); err != nil {
			return nil, err
		}
	}
	ip := e.ipv4
	if p.Family == ruleset.FamilyIPv6 {
		ip = e.ipv6
	}
	return append(e.ethernet(l), ip(l, payload)...), nil
}

// ethernet is the link header, with a destination that goes with PktType.
func (e Encoding) ethernet(l *Literal) []byte {
	dst := []byte{2, 0, 0, 0, 0, 2}
	switch a := l.Dst.AsSlice(); {
	case l.PktType == ruleset.PktBroadcast:
		dst = []byte{255, 255, 255, 255, 255, 255}
	case l.PktType == ruleset.PktMulticast && l.Family == ruleset.FamilyIPv4: // RFC 1112
		dst = []byte{1, 0, 0x5e, a[1] & 127, a[2], a[3]}
	case l.PktType == ruleset.PktMulticast: // RFC 2464
		dst = append([]byte{0x33, 0x33}, a[12:]...)
	}
	mac := uint64(defaultMAC)
	if l.HasMAC {
		mac = l.SrcMAC
	}
	b := append(dst, binary.BigEndian.AppendUint64(nil, mac)[2:]...)
	for range e.PriorityTags {
		b = append(b, etherVLAN>>8, etherVLAN&0xff, 0, 0)
	}
	return binary.BigEndian.AppendUint16(b, map[ruleset.Family]uint16{ruleset.FamilyIPv4: etherIPv4, ruleset.FamilyIPv6: etherIPv6}[l.Family])
}

// A fragment other than the first starts 1480 bytes into its packet, and is the last.
const fragmentOffset = 1480

func (e Encoding) ipv4(l *Literal, payload []byte) []byte {
	options := append(slices.Clone(e.IPv4Options), make([]byte, -len(e.IPv4Options)&3)...)
	header := 20 + len(options)
	b := append(make([]byte, 20, header+len(payload)), options...)
	b[0], b[1], b[8], b[9] = 4<<4|byte(header/4), l.TOS, l.TTL, l.Proto
	put16(b[2:], header+len(payload))
	if l.Fragment {
		put16(b[6:], fragmentOffset/8)
	}
	copy(b[12:], l.Src.AsSlice())
	copy(b[16:], l.Dst.AsSlice())
	put16(b[10:], int(checksum(b)))
	return append(b, payload...)
}

func (e Encoding) ipv6(l *Literal, payload []byte) []byte {
	var chain []uint8
	if l.HasRouting {
		chain = append(chain, extRouting)
	}
	chain = append(chain, e.Extensions...)
	if l.Fragment {
		chain = append(chain, extFragment)
	}
	b := make([]byte, 40)
	b[0], b[1], b[7] = 6<<4|l.TOS>>4, l.TOS<<4, l.TTL
	put16(b[4:], 8*len(chain)+len(payload))
	copy(b[8:], l.Src.AsSlice())
	copy(b[24:], l.Dst.AsSlice())
	next := 6 // where the number of the next header goes
	for i, proto := range chain {
		b[next] = proto
		next = len(b)
		b = append(b, make([]byte, 8)...)
		switch {
		case proto == extHopByHop || proto == extDestination:
			copy(b[next+2:], []byte{1, 4}) // PadN fills the rest (RFC 8200 4.2)
		case proto == extRouting && l.HasRouting && i == 0:
			b[next+2] = l.Routing
		case proto == extFragment && l.Fragment && i == len(chain)-1:
			put16(b[next+2:], fragmentOffset)
		}
	}
	b[next] = l.Proto
	return append(b, payload...)
}

// putTransport writes the transport header into payload, which goes up to the packet's end.
func (l *Literal) putTransport(payload []byte) error {
	size := int(transportHeader(l.Proto, l.Family))
	if l.Malformed && len(payload) >= size {
		return l.putLie(payload, size)
	}
	if l.Malformed {
		return nil // cut short
	}
	b := payload
	if hasPorts(l.Proto) {
		put16(b, l.SrcPort)
		put16(b[2:], l.DstPort)
	}
	switch {
	case l.Proto == protoTCP:
		l.putTCP(b)
	case l.Proto == protoUDP:
		put16(b[4:], len(b))
	case l.Proto == protoDCCP:
		b[4], b[8] = 12/4, 2<<1 // data offset; type DATA with a short sequence number (RFC 4340 5.1)
	case isICMP(l.Proto, l.Family):
		b[0], b[1] = byte(l.ICMPType), byte(l.ICMPCode)
		put16(b[4:], 1) // identifier of echo and its like
	}
	l.putChecksum(b)
	return nil
}

// putLie writes a header that is long enough, and malformed by a length in it.
func (l *Literal) putLie(b []byte, size int) error {
	switch l.Proto {
	case protoTCP:
		b[12] = 1 << 4 // a header of 4 bytes
	case protoUDP, protoUDPLite:
		put16(b[4:], 7) // less than the header
	default:
		return fmt.Errorf("packet: %d bytes of %s cannot be malformed, their header is %d long", len(b), protoText(l.Proto), size)
	}
	return nil
}

// putTCP writes all but ports and checksum.
func (l *Literal) putTCP(b []byte) {
	at := 20
	for _, kind := range l.TCPOptions {
		n := l.optionLen(kind)
		b[at] = kind
		if n > 1 {
			b[at+1] = byte(n)
		}
		if kind == optMSS && n == 4 {
			put16(b[at+2:], l.TCPMSS)
		}
		at += n
	}
	for ; at%4 != 0; at++ {
		b[at] = optNOP
	}
	binary.BigEndian.PutUint32(b[4:], 1000) // sequence number
	if l.TCPFlags&0x10 != 0 {
		binary.BigEndian.PutUint32(b[8:], 2000) // acknowledgement
	}
	b[12], b[13] = byte(at/4)<<4, byte(l.TCPFlags)
	put16(b[14:], 65535) // window
}

// checksumAt is where the Internet checksum over pseudo-header and payload goes. ICMP's is without pseudo-header.
var checksumAt = map[uint8]int{protoTCP: 16, protoUDP: 6, protoUDPLite: 6, protoDCCP: 6, protoICMPv6: 2}

func (l *Literal) putChecksum(b []byte) {
	at, ok := checksumAt[l.Proto]
	switch {
	case l.Proto == protoSCTP: // RFC 9260 appendix A
		binary.LittleEndian.PutUint32(b[8:], crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
	case l.Proto == protoICMP && l.Family == ruleset.FamilyIPv4:
		put16(b[2:], int(checksum(b)))
	case ok && (l.Proto != protoICMPv6 || l.Family == ruleset.FamilyIPv6):
		sum := checksum(l.Src.AsSlice(), l.Dst.AsSlice(), []byte{0, l.Proto}, binary.BigEndian.AppendUint32(nil, uint32(len(b))), b)
		if sum == 0 {
			sum = 0xffff // 0 would say that there is none
		}
		put16(b[at:], int(sum))
	}
}

// checksum is the Internet checksum (RFC 1071) of all parts; each but the last has an even length.
func checksum(parts ...[]byte) uint16 {
	sum := uint32(0)
	for _, b := range parts {
		for i, v := range b {
			sum += uint32(v) << (8 * (1 - i%2))
			sum = sum&0xffff + sum>>16
		}
	}
	return ^uint16(sum)
}

func put16(b []byte, v int) { binary.BigEndian.PutUint16(b, uint16(v)) }
