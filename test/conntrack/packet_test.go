package conntrack

import (
	"encoding/binary"
	"net/netip"

	"github.com/bpfwall/bpfwall/internal/lab"
	"golang.org/x/sys/unix"
)

// end is who sends or receives: the two hosts of a script, or a router on the way to each.
type end uint8

const (
	hostA end = iota
	hostB
	routerA // on the side of A
	routerB
)

var endNames = [...]string{"A", "B", "rA", "rB"}

func (e end) String() string { return endNames[e&3] }

// side is where the end's packets come in: hostA or hostB.
func (e end) side() end { return e & 1 }

// peer is the host on the other side.
func (e end) peer() end { return 1 - e.side() }

// packet is one packet of a script. What a protocol does not have is zero.
type packet struct {
	from, to     end
	proto        uint8 // IPPROTO_ICMP stands for the family's own
	sport, dport uint16
	flags        uint8
	seq, ack     uint32 // SCTP: seq is the verification tag
	win          uint16
	opts         []option
	chunks       []chunk // SCTP
	typ, code    uint8   // ICMP
	id           uint16
	size         int    // bytes of payload
	raw          []byte // the payload itself, instead
	udplen       int    // 0: the right one
	quote        *packet
	cut          int  // bytes of the transport layer that are there; 0: all
	words        int  // of IP options, 4 bytes each; of an IPv6 destination option header, 8 bytes each
	bad          bool // the checksum is wrong
	bare         bool // the checksum is 0

	wait int  // milliseconds before it
	skip bool // not there, only its wait
	kind string
	want state
}

// option is a TCP option: mss, wscale, sackok, ts, sack, or any kind, of two bytes.
type option struct {
	name string
	a, b uint32
}

// chunk is an SCTP chunk.
type chunk struct {
	typ, flags uint8
	tag        uint32 // initiate tag of INIT and INIT ACK
}

func (o option) bytes() []byte {
	switch o.name {
	case "mss":
		return []byte{2, 4, byte(o.a >> 8), byte(o.a)}
	case "wscale":
		return []byte{1, 3, 3, byte(o.a)}
	case "sackok":
		return []byte{1, 1, 4, 2}
	case "ts":
		return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32([]byte{1, 1, 8, 10}, o.a), o.b)
	case "sack":
		return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32([]byte{1, 1, 5, 10}, o.a), o.b)
	}
	return []byte{1, 1, byte(o.a), 2}
}

func (c chunk) bytes() []byte {
	b := []byte{c.typ, c.flags, 0, 4}
	switch c.typ {
	case 0: // DATA: TSN, stream, sequence, protocol, one byte and padding
		b = append(b, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 'x', 0, 0, 0)
		b[3] = 17
	case 1, 2: // INIT, INIT ACK: tag, window, streams, TSN
		b = binary.BigEndian.AppendUint32(b, c.tag)
		b = append(b, 0, 1, 0, 0, 0, 1, 0, 1, 0, 0, 0, 1)
		b[3] = 20
	case 4, 5: // HEARTBEAT, HEARTBEAT ACK: one parameter
		b = append(b, 0, 1, 0, 8, 1, 2, 3, 4)
		b[3] = 12
	case 3: // SACK
		b = append(b, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0)
		b[3] = 16
	case 7, 10: // SHUTDOWN: cumulative TSN; COOKIE ECHO: a cookie
		b = append(b, 0, 0, 0, 1)
		b[3] = 8
	}
	return b
}

// addresses are those of a script's ends, by its number.
func addresses(six bool, number uint32) [4]netip.Addr {
	if six {
		a, b := netip.MustParseAddr("2001:db8:10::").As16(), netip.MustParseAddr("2001:db8:9999::").As16()
		binary.BigEndian.PutUint32(a[12:], number)
		binary.BigEndian.PutUint32(b[12:], number)
		return [4]netip.Addr{netip.AddrFrom16(a), netip.AddrFrom16(b), netip.MustParseAddr("2001:db8:10:1::1"), netip.MustParseAddr("2001:db8:9998::1")}
	}
	b := 20<<24 + number
	return [4]netip.Addr{netip.AddrFrom4([4]byte{10, 1, byte(number >> 8), byte(number)}), netip.AddrFrom4([4]byte{byte(b >> 24), byte(b >> 16), byte(b >> 8), byte(b)}),
		netip.MustParseAddr("10.1.255.254"), netip.MustParseAddr("203.0.113.7")}
}

// build makes the packet for the addresses of its script.
func (p *packet) build(six bool, at [4]netip.Addr) *lab.Packet {
	out := &lab.Packet{Src: at[p.from], Dst: at[p.to], TTL: 60, Proto: p.proto, SrcPort: p.sport, DstPort: p.dport, Flags: p.flags, Seq: p.seq, Ack: p.ack,
		Window: p.win, Type: p.typ, Code: p.code, Payload: p.payload(six, at)}
	out.Malform = lab.Malform{Cut: p.cut, BadChecksum: p.bad, NoChecksum: p.bare, UDPLength: p.udplen}
	binary.BigEndian.PutUint16(out.Rest[:], p.id)
	for _, o := range p.opts {
		out.Options = append(out.Options, o.bytes()...)
	}
	if six && p.proto == unix.IPPROTO_ICMP {
		out.Proto = unix.IPPROTO_ICMPV6
	}
	switch {
	case p.words > 0 && six:
		body := make([]byte, 8*p.words-2)
		body[0], body[1] = 1, byte(len(body)-2) // PadN
		out.Extensions = []lab.Header{{Proto: unix.IPPROTO_DSTOPTS, Body: body}}
	case p.words > 0:
		out.IPOptions = make([]byte, 4*p.words)
		for i := range out.IPOptions {
			out.IPOptions[i] = 1 // no operation
		}
	}
	return out
}

func (p *packet) payload(six bool, at [4]netip.Addr) []byte {
	switch {
	case p.quote != nil:
		return p.quote.build(six, at).IP()
	case p.raw != nil:
		return p.raw
	case p.chunks != nil:
		var b []byte
		for _, c := range p.chunks {
			b = append(b, c.bytes()...)
		}
		return b
	}
	return make([]byte, p.size)
}

// frame is the packet on the wire of its side, with the id to know it by.
func (p *packet) frame(s *script, number, id uint32) []byte {
	out := p.build(s.six, s.ends(number))
	leg := lab.LAN
	if p.from.side() == hostB {
		leg = lab.WAN
	}
	out.SrcMAC, out.DstMAC, out.ID = leg.FarMAC, leg.DUTMAC, id
	return out.Frame()
}

// script is a sequence of packets.
type script struct {
	name    string
	six     bool
	self    bool // both hosts have the address of B: for lo
	packets []packet
}

// ends are the addresses of a script's ends, by its number.
func (s *script) ends(number uint32) [4]netip.Addr {
	at := addresses(s.six, number)
	if s.self {
		at[hostA] = at[hostB]
	}
	return at
}

// toSelf makes the hosts of a script one.
func (s *script) toSelf() { s.self = true }

// toOnePort gives both ends of its flows port 80, too.
func (s *script) toOnePort() {
	s.self = true
	for i := range s.packets {
		for p := &s.packets[i]; p != nil; p = p.quote {
			if p.quote != nil {
				q := *p.quote
				p.quote = &q
			}
			if hasPorts(p.proto) {
				p.sport, p.dport = 80, 80
			}
		}
	}
}
