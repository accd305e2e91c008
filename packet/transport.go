package packet

import "slices"

// transport reads the transport header. It reports false for one that is cut short or whose lengths lie.
func (d *decoder) transport() bool {
	l, b := d.l, d.rest
	if len(b) < int(transportHeader(l.Proto, l.Family)) {
		return false
	}
	if hasPorts(l.Proto) {
		l.SrcPort, l.DstPort = int(be16(b)), int(be16(b[2:]))
	}
	switch {
	case l.Proto == protoTCP:
		return d.tcp()
	case l.Proto == protoUDP, l.Proto == protoUDPLite:
		return d.udp()
	case isICMP(l.Proto, l.Family):
		l.ICMPType, l.ICMPCode = int(b[0]), int(b[1])
	}
	return true
}

// tcp reads flags and options (RFC 9293 3.1).
func (d *decoder) tcp() bool {
	l, b := d.l, d.rest
	header := int(b[12]>>4) * 4
	if header < 20 || header > len(b) {
		return false
	}
	l.TCPFlags = int(b[13])
	l.options(b[20:header])
	return true
}

// options notes what TCP options are there, walking as xt_tcpudp and xt_tcpmss do: an end of options ends nothing, a length of 0 is 1.
func (l *Literal) options(b []byte) {
	for i := 0; i < len(b); {
		kind, length := b[i], 1
		if !slices.Contains(l.TCPOptions, kind) {
			l.TCPOptions = append(l.TCPOptions, kind)
		}
		if kind > optNOP && i+1 < len(b) {
			length = max(1, int(b[i+1]))
		}
		if kind == optMSS && length == 4 && i+4 <= len(b) && l.TCPMSS < 0 {
			l.TCPMSS = int(be16(b[i+2:]))
		}
		i += length
	}
}

// udp checks the length field. That of a first fragment counts the others too; UDP-Lite's is how much the checksum covers, 0 for all
// (RFC 3828).
func (d *decoder) udp() bool {
	said := int(be16(d.rest[4:]))
	if said == 0 && d.l.Proto == protoUDPLite {
		return true
	}
	return said >= 8 && (said <= len(d.rest) || d.moreFrags)
}
