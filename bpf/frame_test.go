package bpf

import (
	"encoding/binary"
	"net/netip"
	"slices"
)

// Ends of the test frames: we are local, they are peer. The device of the tests has the MAC ourMAC.
var (
	ourMAC  = []byte{2, 0, 0, 0, 0, 1}
	peerMAC = []byte{2, 0, 0, 0, 0, 2}
	local4  = netip.MustParseAddr("192.0.2.1")
	peer4   = netip.MustParseAddr("198.51.100.2")
	local6  = netip.MustParseAddr("2001:db8::1")
	peer6   = netip.MustParseAddr("2001:db8:1::2")
)

const (
	protoICMP  = 1
	protoTCP   = 6
	protoUDP   = 17
	protoGRE   = 47
	protoSCTP  = 132
	protoICMP6 = 58
)

// be16 and be32 append numbers in network byte order.
func be16(v ...int) (b []byte) {
	for _, n := range v {
		b = binary.BigEndian.AppendUint16(b, uint16(n))
	}
	return b
}

func be32(v ...uint32) (b []byte) {
	for _, n := range v {
		b = binary.BigEndian.AppendUint32(b, n)
	}
	return b
}

// ether puts an Ethernet header before what comes from the peer to us.
func ether(tags []byte, ethertype int, payload []byte) []byte {
	return slices.Concat(ourMAC, peerMAC, tags, be16(ethertype), payload)
}

// frame is an IP packet from src to dst on Ethernet.
func frame(src, dst netip.Addr, proto byte, payload []byte) []byte {
	if src.Is4() {
		return ether(nil, 0x0800, ip4(src, dst, proto, 0, nil, payload))
	}
	return ether(nil, 0x86dd, ip6(src, dst, proto, payload))
}

// ip4 is an IPv4 packet; frag is the flags and offset field, id always 77.
func ip4(src, dst netip.Addr, proto byte, frag int, options, payload []byte) []byte {
	h := slices.Concat([]byte{byte(0x45 + len(options)/4), 0x10}, be16(20+len(options)+len(payload), 77, frag),
		[]byte{64, proto, 0, 0}, src.AsSlice(), dst.AsSlice(), options)
	binary.BigEndian.PutUint16(h[10:], checksum(h))
	return append(h, payload...)
}

func ip6(src, dst netip.Addr, next byte, payload []byte) []byte {
	return slices.Concat([]byte{0x61, 0, 0, 0}, be16(len(payload)), []byte{next, 64}, src.AsSlice(), dst.AsSlice(), payload)
}

// checksum is the Internet checksum of RFC 1071.
func checksum(parts ...[]byte) uint16 {
	b := slices.Concat(parts...)
	if len(b)%2 == 1 {
		b = append(b, 0)
	}
	var sum uint32
	for i := 0; i < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

// seg is a TCP segment.
type seg struct {
	sport, dport int
	flags        byte
	seq, ack     uint32
	window       int
	options      []byte // a multiple of 4 bytes
	data         int    // bytes
}

const (
	fin = 1
	syn = 2
	rst = 4
	psh = 8
	ack = 16
	urg = 32
	ece = 64
	cwr = 128
)

func (s seg) bytes() []byte {
	if s.window == 0 {
		s.window = 29200
	}
	return slices.Concat(be16(s.sport, s.dport), be32(s.seq, s.ack), []byte{byte((20 + len(s.options)) / 4 << 4), s.flags},
		be16(s.window, 0, 0), s.options, make([]byte, s.data))
}

func udp(sport, dport, data int) []byte {
	return append(be16(sport, dport, 8+data, 0), make([]byte, data)...)
}

func icmp(typ, code byte, id int, payload []byte) []byte {
	return slices.Concat([]byte{typ, code, 0, 0}, be16(id, 1), payload)
}
