package packet

import (
	"encoding/binary"
	"errors"
	"net/netip"

	"github.com/bpfwall/bpfwall/ruleset"
)

// Why a frame has no ruleset.Packet. Decode returns these errors as they are.
var (
	ErrNotIP     = errors.New("frame: not IPv4 or IPv6, or tagged for a VLAN with a device of its own")
	ErrBadHeader = errors.New("frame: the IP header is cut short or lies, the IP stack drops it")
	ErrTooLong   = errors.New("frame: more VLAN tags or extension headers than are walked")
)

// How far bpf/parse.h walks.
const (
	maxTags       = 3
	maxExtensions = 32
)

const (
	etherHeader = 14
	etherVLAN   = 0x8100
	etherQinQ   = 0x88a8
	etherIPv4   = 0x0800
	etherIPv6   = 0x86dd
)

// The IPv6 extension headers that are walked, as ip6tables -p does it: AH (51), ESP, mobility and the rest end the chain.
const (
	extHopByHop    = 0
	extRouting     = 43
	extFragment    = 44
	extDestination = 60
)

// Decode reads an Ethernet frame as netfilter does, and is the reference for the parser in C (bpf/parse.h). Nothing behind the end that the
// IP header gives is read. What is not in a frame (interfaces, mark, address types of the routing table) is as if the packet had none;
// the state is untracked. A packet that is Malformed has no ports, flags and types.
func Decode(frame []byte) (*ruleset.Packet, error) {
	l := &Literal{}
	l.absent()
	l.State = ruleset.StateUntracked
	ip, etherType, err := l.link(frame)
	if err != nil {
		return nil, err
	}
	d := &decoder{l: l}
	if etherType == etherIPv4 {
		err = d.ipv4(ip)
	} else {
		err = d.ipv6(ip)
	}
	if err != nil {
		return nil, err
	}
	l.SrcType, l.DstType = addrType(l.Src), addrType(l.Dst)
	if l.readable() && !d.transport() {
		l.Malformed = true
		l.absent()
	}
	return &l.Packet, nil
}

// link reads the Ethernet header and the priority tags (VLAN id 0) behind it, which the kernel takes off before IP sees the packet.
func (l *Literal) link(frame []byte) (ip []byte, etherType uint16, err error) {
	if len(frame) < etherHeader {
		return nil, 0, ErrNotIP
	}
	l.PktType = pktTypeOf(frame[:6])
	l.HasMAC = true
	for _, b := range frame[6:12] {
		l.SrcMAC = l.SrcMAC<<8 | uint64(b)
	}
	etherType, ip = be16(frame[12:]), frame[etherHeader:]
	for tags := 0; etherType == etherVLAN || etherType == etherQinQ; tags++ {
		switch {
		case tags == maxTags:
			return nil, 0, ErrTooLong
		case len(ip) < 4, be16(ip)&0xfff != 0:
			return nil, 0, ErrNotIP
		}
		etherType, ip = be16(ip[2:]), ip[4:]
	}
	if etherType != etherIPv4 && etherType != etherIPv6 {
		return nil, 0, ErrNotIP
	}
	return ip, etherType, nil
}

func pktTypeOf(dst []byte) uint64 {
	switch {
	case string(dst) == "\xff\xff\xff\xff\xff\xff":
		return ruleset.PktBroadcast
	case dst[0]&1 != 0:
		return ruleset.PktMulticast
	}
	return ruleset.PktUnicast
}

// decoder is a packet half read: rest is what has not been read of it yet.
type decoder struct {
	l         *Literal
	rest      []byte
	moreFrags bool // the first fragment of several
}

// ipv4 reads an IPv4 header (RFC 791), options included.
func (d *decoder) ipv4(b []byte) error {
	if len(b) < 20 {
		return ErrBadHeader
	}
	header, total := int(b[0]&15)*4, int(be16(b[2:]))
	if b[0]>>4 != 4 || header < 20 || total < header || total > len(b) {
		return ErrBadHeader
	}
	offset := be16(b[6:])
	l := d.l
	l.Family, l.Length, l.TOS, l.TTL, l.Proto = ruleset.FamilyIPv4, uint32(total), b[1], b[8], b[9]
	l.Src, l.Dst = netip.AddrFrom4([4]byte(b[12:])), netip.AddrFrom4([4]byte(b[16:]))
	l.Fragment = offset&0x1fff != 0
	d.moreFrags = !l.Fragment && offset&0x2000 != 0
	d.rest = b[header:total]
	return nil
}

// ipv6 reads an IPv6 header (RFC 8200) and its extension headers.
func (d *decoder) ipv6(b []byte) error {
	if len(b) < 40 || b[0]>>4 != 6 || 40+int(be16(b[4:])) > len(b) {
		return ErrBadHeader
	}
	total := 40 + int(be16(b[4:]))
	l := d.l
	l.Family, l.Length, l.TOS, l.TTL, l.Proto = ruleset.FamilyIPv6, uint32(total), b[0]<<4|b[1]>>4, b[7], b[6]
	l.Src, l.Dst = netip.AddrFrom16([16]byte(b[8:])), netip.AddrFrom16([16]byte(b[24:]))
	d.rest = b[40:total]
	for range maxExtensions + 1 {
		if !d.extension() {
			return nil
		}
	}
	return ErrTooLong
}

// extension reads one extension header, and reports whether another may follow.
func (d *decoder) extension() bool {
	l, b := d.l, d.rest
	switch l.Proto {
	case extHopByHop, extRouting, extDestination, extFragment:
	default:
		return false
	}
	if len(b) < 8 {
		l.Malformed = true
		return false
	}
	length := 8
	if l.Proto != extFragment {
		length = (int(b[1]) + 1) * 8
	}
	if length > len(b) { // as ipv6_find_hdr: what comes next is known, but not there
		l.Proto, l.Malformed = b[0], true
		return false
	}
	switch {
	case l.Proto == extFragment:
		l.Fragment = be16(b[2:])&0xfff8 != 0
		d.moreFrags = !l.Fragment && b[3]&1 != 0
	case l.Proto == extRouting && !l.HasRouting:
		l.Routing, l.HasRouting = b[2], true
	}
	l.Proto, d.rest = b[0], b[length:]
	return !l.Fragment
}

func be16(b []byte) uint16 { return binary.BigEndian.Uint16(b) }
