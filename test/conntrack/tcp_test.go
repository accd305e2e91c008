package conntrack

import "golang.org/x/sys/unix"

// tcp is a connection as its two ends would have it, client first.
type tcp struct {
	g      *generator
	client end
	ports  [2]uint16
	ends   [2]tcpEnd
	last   packet // for retransmissions
}

// tcpEnd is what an end has sent.
type tcpEnd struct {
	next  uint32 // sequence number
	start uint32 // before the last data
	win   uint16
	scale uint32
	opts  []option // of its SYN
	syn   bool     // sent
	fin   bool
}

const (
	fin = 1 << iota
	syn
	rst
	psh
	ack
	urg
)

func newTCP(g *generator, client end, sport, dport uint16) *tcp {
	t := &tcp{g: g, client: client, ports: [2]uint16{sport, dport}}
	for i := range t.ends {
		t.ends[i] = t.newEnd()
	}
	if g.chance(10) { // seen from the middle on
		t.ends[0].syn, t.ends[1].syn = true, true
	}
	return t
}

func (t *tcp) newEnd() tcpEnd {
	g := t.g
	e := tcpEnd{next: g.rng.Uint32(), win: pick[uint16](g, 1000, 8192, 29200, 65535, 512, 1)}
	if g.chance(15) {
		e.next = pick[uint32](g, 0, 1, 0xffffffff, 0x7fffffff, 0x80000000, 0xffffff00)
	}
	if g.chance(70) {
		e.opts = append(e.opts, option{"mss", 1460, 0})
	}
	if g.chance(60) {
		e.scale = pick[uint32](g, 0, 1, 7, 7, 14, 15)
		e.opts = append(e.opts, option{"wscale", e.scale, 0})
	}
	if g.chance(60) {
		e.opts = append(e.opts, option{"sackok", 0, 0})
	}
	if g.chance(40) {
		e.opts = append(e.opts, option{"ts", g.rng.Uint32(), 0})
	}
	return e
}

// segment is what an end would send now.
func (t *tcp) segment(by int, flags uint8, kind string) packet {
	p := between(t.client, unix.IPPROTO_TCP, "tcp "+kind)
	p.sport, p.dport = t.ports[0], t.ports[1]
	if by == 1 {
		p.from, p.to, p.sport, p.dport = p.to, p.from, p.dport, p.sport
	}
	p.flags, p.seq, p.win = flags, t.ends[by].next, t.ends[by].win
	if flags&ack != 0 {
		p.ack = t.ends[1-by].next
	}
	if flags&syn != 0 {
		p.opts = t.ends[by].opts
	}
	return p
}

// sent moves an end on by what it has sent.
func (t *tcp) sent(by int, p packet) packet {
	e := &t.ends[by]
	e.start = p.seq
	e.next = p.seq + uint32(p.size)
	if p.flags&syn != 0 {
		e.next++
		e.syn = true
	}
	if p.flags&fin != 0 {
		e.next++
		e.fin = true
	}
	t.last = p
	return p
}

func (t *tcp) says() packet {
	by, p := t.natural()
	n := t.g.rng.IntN(100)
	switch {
	case n < 72:
		return t.sent(by, p)
	case n < 76:
		if t.last.proto != 0 {
			again := t.last
			again.kind = "tcp again"
			if again.bad {
				again.kind += ", wrong checksum"
			}
			return again
		}
	case n < 80:
		by, p = t.strange()
	}
	t.mutate(by, &p)
	if t.g.chance(30) {
		return t.sent(by, p)
	}
	return p
}

// natural is a segment that may come next.
func (t *tcp) natural() (int, packet) {
	g := t.g
	c, s := &t.ends[0], &t.ends[1]
	switch {
	case !c.syn && !s.syn:
		return 0, t.segment(0, syn|ecn(g), "syn")
	case !s.syn:
		return t.answer()
	case !c.syn: // simultaneous open
		return 0, t.segment(0, syn|ack, "syn/ack")
	case c.fin && s.fin:
		return t.after()
	}
	by := g.rng.IntN(2)
	if t.ends[by].fin {
		by = 1 - by
	}
	switch n := g.rng.IntN(100); {
	case n < 40:
		p := t.segment(by, ack|psh, "data")
		p.size = pick(g, 1, 10, 100, 1000, 1200)
		return by, p
	case n < 60:
		return by, t.segment(by, ack, "ack")
	case n < 66:
		return by, t.sack(by)
	case n < 70:
		p := t.segment(by, ack, "keepalive")
		p.seq--
		return by, p
	case n < 75:
		p := t.segment(by, ack, "window")
		p.win = pick[uint16](g, 0, 0, 1, 65535, 1000)
		return by, p
	case n < 80:
		p := t.segment(by, ack, "old data")
		p.seq, p.size = t.ends[by].start, int(min(1200, t.ends[by].next-t.ends[by].start))
		return by, p
	case n < 94:
		return by, t.segment(by, fin|ack, "fin")
	case n < 97:
		return by, t.segment(by, rst, "rst")
	}
	return by, t.segment(by, rst|ack, "rst")
}

func ecn(g *generator) uint8 {
	if g.chance(10) {
		return 0xc0
	}
	return 0
}

// answer is what comes back for a SYN.
func (t *tcp) answer() (int, packet) {
	switch n := t.g.rng.IntN(100); {
	case n < 70:
		return 1, t.segment(1, syn|ack, "syn/ack")
	case n < 78:
		p := t.segment(1, rst|ack, "refusal")
		p.seq = 0
		return 1, p
	case n < 86:
		return 1, t.segment(1, syn, "syn back")
	case n < 93:
		p := t.segment(0, syn, "syn again")
		p.seq--
		return 0, p
	}
	return 1, t.segment(1, ack, "challenge ack")
}

// after is what comes when both ends have closed: the last ACKs, stragglers, a new connection.
func (t *tcp) after() (int, packet) {
	g := t.g
	by := g.rng.IntN(2)
	switch n := g.rng.IntN(10); {
	case n < 5:
		return by, t.segment(by, ack, "last ack")
	case n < 6:
		return by, t.segment(by, fin|ack, "fin again")
	case n < 7:
		return by, t.segment(by, rst, "late rst")
	}
	by = pick(g, 0, 0, 1)
	next := t.ends[by].next
	t.ends = [2]tcpEnd{t.newEnd(), t.newEnd()}
	if g.chance(70) {
		t.ends[by].next = next + uint32(g.rng.IntN(200000))
	}
	p := t.segment(by, syn, "syn anew")
	if by == 1 {
		t.ends[1].syn = true
	}
	return by, p
}

func (t *tcp) sack(by int) packet {
	p := t.segment(by, ack, "sack")
	edge := t.ends[1-by].next + pick[uint32](t.g, 0, 10, 1000, 60000, 0xfffffc00)
	p.opts = []option{{"sack", edge - 100, edge}}
	if t.g.chance(30) {
		p.opts = append(p.opts, option{"ts", 5, 6})
	}
	return p
}

// strange is a segment with any flags.
func (t *tcp) strange() (int, packet) {
	by := t.g.rng.IntN(2)
	p := t.segment(by, uint8(t.g.rng.IntN(256)), "flags")
	p.ack = t.ends[1-by].next
	if t.g.chance(50) {
		p.flags = pick[uint8](t.g, syn, syn|ack, fin|ack, ack, rst, rst|ack)
		p.kind = "tcp out of turn"
	}
	return by, p
}

// mutate makes a segment one that its sender should not send.
func (t *tcp) mutate(by int, p *packet) {
	g := t.g
	peer := t.ends[1-by]
	window := uint32(peer.win)
	if g.chance(50) {
		window <<= peer.scale
	}
	offset := pick(g, 0, 1, 0xffffffff, 10, 1000, 66000, 66001, 65999, 100000, g.rng.Uint32(), window, window-1, window+1, window+2, 2*window, 2*window+1)
	if g.chance(50) {
		offset = -offset
	}
	switch g.rng.IntN(16) {
	case 0, 1, 2, 3, 4:
		p.seq += offset
		p.kind += ", other seq"
	case 5, 6, 7, 8:
		p.ack += offset
		p.kind += ", other ack"
	case 9:
		p.size = pick(g, 0, 1, 1000, 1200)
		p.kind += ", other size"
	case 10:
		p.win = pick[uint16](g, 0, 1, 100, 65535)
		p.kind += ", other window"
	case 11:
		p.opts = pick(g, nil, []option{{"wscale", 14, 0}}, []option{{"wscale", 2, 0}, {"sackok", 0, 0}}, []option{{"sackok", 0, 0}, {"ts", 1, 2}, {"sack", p.ack + 1, p.ack + offset}})
		p.kind += ", other options"
	case 12:
		p.flags ^= 1 << g.rng.IntN(6)
		p.kind += ", a flag flipped"
	case 13:
		p.from, p.to, p.sport, p.dport = p.to, p.from, p.dport, p.sport
		p.kind += ", mirrored"
	case 14:
		switch g.rng.IntN(3) {
		case 0:
			p.bad = true
			p.kind += ", wrong checksum"
		case 1:
			p.cut = 1 + g.rng.IntN(24)
			p.kind += ", cut"
		case 2:
			p.words = 1 + g.rng.IntN(3)
		}
	}
}
