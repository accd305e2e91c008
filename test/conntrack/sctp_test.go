package conntrack

import "golang.org/x/sys/unix"

// sctp is an association, in the usual order or not.
type sctp struct {
	g      *generator
	client end
	ports  [2]uint16
	tags   [2]uint32 // that each end, client first, wants to see
	stage  int
}

// SCTP chunk types (RFC 9260).
const (
	sctpData = iota
	sctpInit
	sctpInitAck
	sctpSack
	sctpHeartbeat
	sctpHeartbeatAck
	sctpAbort
	sctpShutdown
	sctpShutdownAck
	sctpError
	sctpCookieEcho
	sctpCookieAck
	sctpShutdownComplete = 14
)

// The usual order: who says it, client 0 or server 1, and what.
var sctpStages = []struct {
	by  int
	typ uint8
}{{0, sctpInit}, {1, sctpInitAck}, {0, sctpCookieEcho}, {1, sctpCookieAck}, {0, sctpData}, {1, sctpSack}, {1, sctpHeartbeat}, {0, sctpHeartbeatAck},
	{0, sctpShutdown}, {1, sctpShutdownAck}, {0, sctpShutdownComplete}}

func (s *sctp) says() packet {
	g := s.g
	by, typ, kind := 0, uint8(0), "sctp"
	if g.chance(75) {
		st := sctpStages[s.stage%len(sctpStages)]
		by, typ = st.by, st.typ
		s.stage++
	} else {
		by, typ = g.rng.IntN(2), pick[uint8](g, 0, 1, 2, 3, 4, 5, 6, 6, 7, 8, 9, 10, 11, 14, 14, 192)
		if g.chance(20) {
			s.stage = g.rng.IntN(len(sctpStages))
		}
	}
	p := between(s.client, unix.IPPROTO_SCTP, kind)
	p.sport, p.dport, p.seq = s.ports[0], s.ports[1], s.tags[1-by]
	if by == 1 {
		p.from, p.to, p.sport, p.dport = p.to, p.from, p.dport, p.sport
	}
	c := chunk{typ: typ}
	switch typ {
	case sctpInit:
		p.seq, c.tag = 0, s.tags[by]
	case sctpInitAck:
		c.tag = s.tags[by]
	case sctpAbort, sctpShutdownComplete:
		if g.chance(30) {
			c.flags, p.seq = 1, s.tags[by]
		}
	}
	p.chunks = []chunk{c}
	s.mutate(&p, by)
	return p
}

func (s *sctp) mutate(p *packet, by int) {
	g := s.g
	switch g.rng.IntN(24) {
	case 0:
		p.seq = pick(g, 0, s.tags[by], 5)
		p.kind += " wrong tag"
	case 1:
		p.chunks = append(p.chunks, chunk{typ: pick[uint8](g, 0, 3, 4, 6, 10, 1, 14, 11)})
		p.kind += " two chunks"
	case 2:
		p.bad = true
		p.kind += " wrong checksum"
	case 3:
		p.cut = 1 + g.rng.IntN(20)
		p.kind += " cut"
	case 4:
		p.chunks[0].flags ^= 1
	case 5:
		p.chunks[0].tag = pick(g, 0, g.rng.Uint32())
	}
}
