package packet

import "github.com/bpfwall/bpfwall/ruleset"

// Kinds of TCP options (IANA).
const (
	optEnd = 0
	optNOP = 1
	optMSS = 2
)

const maxTCPOptions = 40 // bytes: the header's length field ends at 60

// tcpOptionLen is the bytes of TCP options that are not 2 long (kind and length).
var tcpOptionLen = map[byte]int{optEnd: 1, optNOP: 1, 3: 3, 5: 10, 8: 10}

// maxLength is what the length field of the IP header can say, counted from the header's first byte.
var maxLength = map[ruleset.Family]uint32{ruleset.FamilyIPv4: 65535, ruleset.FamilyIPv6: 40 + 65535}

// ipHeader is the bytes of an IP header without options.
var ipHeader = map[ruleset.Family]uint32{ruleset.FamilyIPv4: 20, ruleset.FamilyIPv6: 40}

// transportHeader is the bytes of the shortest transport header of a protocol; what is not here has none that we read.
func transportHeader(proto uint8, f ruleset.Family) uint32 {
	switch {
	case proto == protoTCP:
		return 20
	case proto == protoSCTP, proto == protoDCCP:
		return 12
	case proto == protoUDP, proto == protoUDPLite, isICMP(proto, f):
		return 8
	}
	return 0
}

// Bytes of IPv6 extension headers.
const (
	fragmentHeader = 8
	routingHeader  = 8 // without addresses
)

// optionLen is the bytes that one option takes.
func (l *Literal) optionLen(kind byte) int {
	if kind == optMSS && l.TCPMSS != ruleset.Absent {
		return 4
	}
	if n, ok := tcpOptionLen[kind]; ok {
		return n
	}
	return 2
}

// optionBytes is the bytes of the TCP options, without padding.
func (l *Literal) optionBytes() int {
	n := 0
	for _, kind := range l.TCPOptions {
		n += l.optionLen(kind)
	}
	return n
}

// headers is the bytes of the packet's headers: the least length it can have.
func (l *Literal) headers() uint32 {
	n := ipHeader[l.Family]
	if l.HasRouting {
		n += routingHeader
	}
	switch {
	case l.Fragment && l.Family == ruleset.FamilyIPv6:
		n += fragmentHeader + 8
	case l.Fragment:
		n += 8
	case !l.Malformed:
		n += transportHeader(l.Proto, l.Family) + uint32(l.optionBytes()+3)&^3
	}
	return n
}
