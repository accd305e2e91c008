package netns

import (
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/bpfwall/bpfwall/internal/lab"
	"golang.org/x/sys/unix"
)

// script writes the packets of one flow. The forward direction is from e.src to e.dst.
type script struct {
	g         *generator
	w         *window
	f         *flow
	e         ends
	seq, rseq uint32 // next sequence number of each direction
}

// add appends a packet that has its protocol's own fields already.
func (s *script) add(reply bool, what string, p lab.Packet) *step {
	s.w.ids++
	p.ID, p.TTL, p.TOS, p.Proto = s.w.ids, s.e.ttl, s.e.tos, s.e.proto
	p.Src, p.Dst, p.SrcPort, p.DstPort = s.e.src, s.e.dst, s.e.sport, s.e.dport
	if reply {
		p.Src, p.Dst, p.SrcPort, p.DstPort = p.Dst, p.Src, p.DstPort, p.SrcPort
		p.TTL, p.TOS = 77, 0
	}
	at := s.origin(reply)
	p.SrcMAC, p.DstMAC = macs(at, p.Dst)
	if p.Rest != [4]byte{} { // an ICMP query: its sequence number comes back in the answer
		binary.BigEndian.PutUint16(p.Rest[2:], uint16(p.ID))
	}
	if len(p.Payload) >= 8 {
		binary.BigEndian.PutUint32(p.Payload[4:], p.ID)
	}
	st := step{id: p.ID, at: at, pkt: p, what: what}
	if at == atDUT {
		st.frames = [][]byte{p.IP()}
	} else {
		st.frames = [][]byte{p.Frame()}
	}
	s.f.steps = append(s.f.steps, st)
	return &s.f.steps[len(s.f.steps)-1]
}

// segment appends a TCP segment whose numbers continue the flow.
func (s *script) segment(reply bool, flags uint8, n int) *step {
	seq, ack := &s.seq, s.rseq
	if reply {
		seq, ack = &s.rseq, s.seq
	}
	p := lab.Packet{Flags: flags, Seq: *seq, Ack: ack, Window: 30000}
	if flags&lab.ACK == 0 {
		p.Ack = 0
	}
	if n > 0 {
		p.Payload = payload(0, n)
	}
	if flags&lab.SYN != 0 && s.e.option > 1 && !reply {
		p.Options = tcpOption(s.e.option)
	}
	*seq += uint32(len(p.Payload))
	if flags&lab.SYN != 0 {
		*seq++
	}
	if flags&lab.FIN != 0 {
		*seq++
	}
	return s.add(reply, "tcp "+flagNames(flags), p)
}

// tcpOption is an option of the given kind with an empty body, padded with NOPs to a word; timestamps have a body of 8 bytes.
func tcpOption(kind int) []byte {
	if kind == 8 {
		return []byte{1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0}
	}
	return []byte{1, 1, byte(kind), 2}
}

func flagNames(f uint8) string {
	if f&63 == 0 {
		return "none"
	}
	out := ""
	for i, c := range "FSRPAU" {
		if f&(1<<i) != 0 {
			out += string(c)
		}
	}
	return out
}

const forth, back = false, true

func (s *script) tcp(a aim) {
	const syn, ack, fin, rst, psh = lab.SYN, lab.ACK, lab.FIN, lab.RST, lab.PSH
	if s.e.first != syn { // the rule is about other flags: show them to it, before and after
		s.segment(forth, s.e.first, 8*s.g.rng.IntN(2))
		s.segment(back, s.e.first, 0)
		return
	}
	n := 0
	if s.e.length > 40 {
		n = s.e.length - 40
	}
	switch s.g.rng.IntN(10) {
	case 0, 1, 2: // a whole connection
		s.segment(forth, syn, n)
		s.segment(back, syn|ack, 0)
		s.segment(forth, ack, 0)
		s.segment(forth, psh|ack, 20)
		s.segment(back, psh|ack, 30)
		s.segment(forth, fin|ack, 0)
		s.segment(back, fin|ack, 0)
		s.segment(forth, ack, 0)
		s.segment(back, ack, 10)
	case 3: // asked twice, refused
		s.segment(forth, syn, n)
		s.seq--
		s.segment(forth, syn, n)
		s.segment(back, rst|ack, 0)
		s.segment(back, ack, 10)
		s.segment(forth, ack, 10)
	case 4: // picked up in the middle
		s.segment(forth, psh|ack, 10)
		s.segment(back, ack, 20)
		s.segment(forth, ack, 0)
	case 5: // the answer without the question
		s.segment(back, syn|ack, 0)
		s.segment(forth, syn, n)
		s.segment(back, syn|ack, 0)
		s.segment(forth, rst, 0)
		s.segment(forth, ack, 10)
	case 6: // segments far outside of the window, and resets that are guesses
		s.segment(forth, syn, n)
		s.segment(back, syn|ack, 0)
		s.segment(forth, ack, 0)
		s.seq += 1 << 28
		s.segment(forth, ack, 10)
		s.segment(forth, rst, 0)
		s.seq -= 1<<28 + 10
		s.segment(forth, psh|ack, 10)
		s.segment(back, ack, 0)
	case 7: // flags that nobody sends
		for range 4 {
			s.segment(s.g.rng.IntN(2) == 0, uint8(s.g.rng.IntN(64)), 0)
		}
	case 8: // anything after a handshake
		s.segment(forth, syn, n)
		s.segment(back, syn|ack, 0)
		for range 5 {
			s.segment(s.g.rng.IntN(2) == 0, []uint8{syn, ack, psh | ack, fin | ack, rst, rst | ack, syn | ack}[s.g.rng.IntN(7)], 8*s.g.rng.IntN(2))
		}
	case 9: // an ICMP error about it
		first := s.segment(forth, syn, n)
		s.errorAbout(first.pkt, back)
		s.segment(back, syn|ack, 0)
		s.errorAbout(s.segment(forth, ack, 10).pkt, back)
	}
}

const (
	wrongLength   = "udp, wrong length"
	wrongChecksum = "udp, wrong checksum"
)

func (s *script) udp() {
	head := 28
	if s.f.aim.six {
		head = 48
	}
	n := max(8, s.e.length-head)
	name := map[bool]string{false: "udp", true: "udplite"}[s.e.proto == unix.IPPROTO_UDPLITE]
	datagram := func(reply bool, n int) *step { return s.add(reply, name, lab.Packet{Payload: payload(0, n)}) }
	way := s.g.rng.IntN(5)
	if way == 4 && strings.Contains(s.f.aim.rule, "-m limit") {
		way = 0 // what is INVALID for one firewall only would take a token from one only
	}
	switch way {
	case 0:
		datagram(forth, n)
		datagram(forth, n)
		datagram(back, 20)
		datagram(forth, 20)
		datagram(back, 20)
	case 1:
		datagram(back, 20)
		datagram(forth, n)
		datagram(back, 20)
	case 2:
		first := datagram(forth, n)
		s.errorAbout(first.pkt, back)
		s.errorAbout(first.pkt, forth)
		datagram(back, 9)
	case 3:
		s.fragmented(name, lab.Packet{Payload: payload(0, 1000)}, 496)
		datagram(back, 20)
		datagram(forth, n)
	case 4:
		s.add(forth, wrongLength, lab.Packet{Payload: payload(0, 20), Malform: lab.Malform{UDPLength: 100}})
		s.add(forth, wrongChecksum, lab.Packet{Payload: payload(0, 20), Malform: lab.Malform{BadChecksum: s.origin(forth) != atDUT}})
		datagram(forth, n)
		datagram(back, n)
	}
}

// fragmented appends a packet in fragments, which come in order. The dut sends whole packets only.
func (s *script) fragmented(what string, p lab.Packet, size int) {
	st := s.add(forth, what, p)
	if st.at != atDUT && !s.g.whole {
		st.frames = st.pkt.Fragments(size)
	}
}

var icmpTypes = map[bool][]int{
	false: {0, 3, 4, 5, 8, 8, 8, 9, 10, 11, 12, 13, 14, 15, 17, 30, 40},
	true:  {1, 2, 3, 4, 128, 128, 128, 129, 130, 133, 134, 135, 136, 137, 139, 140, 144, 200},
}

func (s *script) icmp() {
	six := s.e.proto == unix.IPPROTO_ICMPV6
	kind, code := s.e.icmpType, max(0, s.e.icmpCode)
	if kind < 0 {
		types := icmpTypes[six]
		kind = types[s.g.rng.IntN(len(types))]
	}
	id := [4]byte{byte(s.g.port >> 8), byte(s.g.port), 0, 1}
	n := 16
	if head := map[bool]int{false: 28, true: 48}[six]; s.e.length > head+8 {
		n = s.e.length - head
	}
	message := func(reply bool, kind, code int) *step {
		return s.add(reply, fmt.Sprintf("icmp %d/%d", kind, code), lab.Packet{Type: uint8(kind), Code: uint8(code), Rest: id, Payload: payload(0, n)})
	}
	request, answer := 8, 0
	if six {
		request, answer = 128, 129
	}
	switch s.g.rng.IntN(4) {
	case 0, 1:
		message(forth, kind, code)
		if kind == request {
			message(back, answer, code)
			message(forth, kind, code)
			message(back, answer, code)
		}
	case 2:
		message(forth, answer, 0) // unasked
		message(forth, kind, code+s.g.rng.IntN(2))
	case 3:
		s.fragmented(fmt.Sprintf("icmp %d/%d", request, 0), lab.Packet{Type: uint8(request), Rest: id, Payload: payload(0, 800)}, 400)
		message(back, answer, 0)
	}
}

// errorAbout appends an ICMP error that quotes a packet.
func (s *script) errorAbout(p lab.Packet, reply bool) {
	quote := p.IP()
	q := lab.Packet{Type: 3, Code: uint8(s.g.rng.IntN(4)), Payload: quote[:min(len(quote), 100)]}
	proto := uint8(unix.IPPROTO_ICMP)
	if p.Src.Is6() {
		q.Type, q.Code, proto = 1, uint8(s.g.rng.IntN(4)), unix.IPPROTO_ICMPV6
	}
	old := s.e.proto
	s.e.proto = proto
	defer func() { s.e.proto = old }()
	s.w.ids++
	at := s.origin(reply)
	q.ID, q.TTL, q.Proto, q.Src, q.Dst = s.w.ids, 77, proto, s.e.src, s.e.dst
	if reply {
		q.Src, q.Dst = q.Dst, q.Src
	}
	q.SrcMAC, q.DstMAC = macs(at, q.Dst)
	st := step{id: q.ID, at: at, pkt: q, what: fmt.Sprintf("icmp error %d/%d about the flow", q.Type, q.Code), frames: [][]byte{q.Frame()}}
	if at == atDUT {
		st.frames[0] = q.IP()
	}
	s.f.steps = append(s.f.steps, st)
}

// plain is packets of a protocol without ports.
func (s *script) plain() {
	for _, reply := range []bool{forth, forth, back, forth} {
		s.add(reply, fmt.Sprintf("protocol %d", s.e.proto), lab.Packet{Payload: payload(0, 24)})
	}
}
