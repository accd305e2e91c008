package bpf

import (
	"encoding/binary"
	"hash/crc32"
	"net/netip"
	"slices"
	"testing"
)

// summed fills in the checksum of a transport header, at an offset in it.
func summed(src, dst netip.Addr, proto byte, at int, payload []byte) []byte {
	p := slices.Clone(payload)
	var pseudo []byte
	if proto != protoICMP {
		pseudo = slices.Concat(src.AsSlice(), dst.AsSlice(), be32(uint32(len(p))), []byte{0, 0, 0, proto})
	}
	binary.BigEndian.PutUint16(p[at:], 0)
	sum := checksum(pseudo, p)
	if sum == 0 {
		sum = 0xffff
	}
	binary.BigEndian.PutUint16(p[at:], sum)
	return p
}

// withCRC fills in the CRC of an SCTP packet.
func withCRC(b []byte) []byte {
	b = slices.Clone(b)
	clear(b[8:12])
	binary.LittleEndian.PutUint32(b[8:], crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
	return b
}

// So are SCTP packets.
func TestSCTPChecksums(t *testing.T) {
	b := newBench(t, classifier(t, "cfg_conntrack", "cfg_checksums"))
	for n := range 1100 {
		init := slices.Concat(be16(1000+n, 36412), make([]byte, 8), []byte{1, 0}, be16(20+n), be32(7), make([]byte, 12+n))
		for i := range n {
			init[32+i] = byte(i * i)
		}
		good := withCRC(init)
		bad := slices.Clone(good)
		bad[len(bad)-1] ^= 1
		_, p := b.run("tc_ingress", ourselves, frame(peer4, local4, protoSCTP, bad))
		b.expect("wrong", p.CtState, invalid)
		_, p = b.run("tc_ingress", ourselves, frame(peer4, local4, protoSCTP, good))
		b.expect("right", p.CtState, isNew)
	}
	_, p := b.run("tc_egress", ourselves, frame(local4, peer4, protoSCTP, slices.Concat(be16(1, 36412), make([]byte, 8), []byte{1, 0, 0, 20}, be32(7), make([]byte, 12))))
	b.expect("sent", p.CtState, isNew)
}

// Received packets with a wrong checksum are invalid, and what we send is not looked at. Frames of a test run are CHECKSUM_NONE.
func TestChecksums(t *testing.T) {
	b := newBench(t, classifier(t, "cfg_conntrack", "cfg_checksums"))
	for name, c := range map[string]struct {
		src, dst netip.Addr
		proto    byte
		at       int
		payload  func(port, data int) []byte
	}{
		"tcp":    {peer4, local4, protoTCP, 16, func(p, n int) []byte { return seg{sport: p, dport: 80, flags: syn, data: n}.bytes() }},
		"tcp 6":  {peer6, local6, protoTCP, 16, func(p, n int) []byte { return seg{sport: p, dport: 80, flags: syn, data: n}.bytes() }},
		"udp":    {peer4, local4, protoUDP, 6, func(p, n int) []byte { return udp(p, 53, n) }},
		"udp 6":  {peer6, local6, protoUDP, 6, func(p, n int) []byte { return udp(p, 53, n) }},
		"icmp":   {peer4, local4, protoICMP, 2, func(p, n int) []byte { return icmp(8, 0, p, make([]byte, n)) }},
		"icmp 6": {peer6, local6, protoICMP6, 2, func(p, n int) []byte { return icmp(128, 0, p, make([]byte, n)) }},
	} {
		for i, n := range []int{0, 1, 2, 3, 4, 487, 488, 491, 492, 493, 499, 500, 504, 511, 512, 513, 1001, 1024, 2500} {
			good := summed(c.src, c.dst, c.proto, c.at, c.payload(1000+i, n))
			for at, fill := range good { // not all zeroes
				if at > 30 {
					good[at] = byte(at) ^ fill
				}
			}
			good = summed(c.src, c.dst, c.proto, c.at, good)
			bad := slices.Clone(good)
			bad[len(bad)-1] ^= 4
			_, p := b.run("tc_ingress", ourselves, frame(c.src, c.dst, c.proto, bad))
			b.expect(name+", wrong", p.CtState, invalid)
			_, p = b.run("tc_ingress", ourselves, frame(c.src, c.dst, c.proto, good))
			b.expect(name+", right", p.CtState, isNew)
			_, p = b.run("tc_egress", elsewhere, frame(c.dst, c.src, c.proto, bad))
			b.expect(name+", forwarded", p.CtState, invalid)
			binary.BigEndian.PutUint16(good[c.at:], 0)
			if c.proto == protoUDP {
				_, p = b.run("tc_ingress", ourselves, frame(c.src, c.dst, c.proto, good))
				b.expect(name+", none", p.CtState, isNew)
			}
		}
		bad := c.payload(3000, 20)
		bad[c.at]++
		_, p := b.run("tc_egress", ourselves, frame(c.dst, c.src, c.proto, bad))
		b.expect(name+", sent", p.CtState, isNew)
	}
	echo := icmp(135, 0, 1, nil)
	_, p := b.run("tc_ingress", ourselves, frame(peer6, local6, protoICMP6, echo))
	b.expect("neighbour solicitation, wrong", p.CtState, invalid)
	_, p = b.run("tc_ingress", ourselves, frame(peer6, local6, protoICMP6, summed(peer6, local6, protoICMP6, 2, echo)))
	b.expect("neighbour solicitation", p.CtState, untracked)
}
