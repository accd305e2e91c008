package conntrack

import (
	"regexp"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// shrinkTime is how long one script may take: those that wait take seconds a try.
const shrinkTime = 30 * time.Second

// shrink makes a script whose last packet is seen differently as short and plain as it can be with the same difference.
func (r *rig) shrink(s *script) (*script, answers, error) {
	got, err := r.play([]*script{s})
	if err != nil {
		return nil, answers{}, err
	}
	best := got[0]
	for deadline := time.Now().Add(shrinkTime); time.Now().Before(deadline); {
		smaller := s.reductions()
		if len(smaller) == 0 {
			return s, best, nil
		}
		got, err := r.play(smaller)
		if err != nil {
			return nil, answers{}, err
		}
		i := slices.IndexFunc(got, func(a answers) bool { return sameDifference(a, best) })
		if i < 0 {
			return s, best, nil
		}
		s, best = smaller[i], got[i]
	}
	return s, best, nil
}

// numbers are the times in a difference of tables, which vary a little.
var numbers = regexp.MustCompile(`\d+`)

// sameDifference reports whether two scripts differ in their last packets only, and in the same way.
func sameDifference(a, b answers) bool {
	i, j := len(a.kernel)-1, len(b.kernel)-1
	if i < 0 || a.differ() != i || a.kernel[i] != b.kernel[j] || a.bpfwall[i] != b.bpfwall[j] {
		return false
	}
	return a.kernel[i] != a.bpfwall[i] || numbers.ReplaceAllString(a.tables, "") == numbers.ReplaceAllString(b.tables, "")
}

// reductions are the script made smaller in one way each, the largest steps first.
func (s *script) reductions() []*script {
	var out []*script
	last := len(s.packets) - 1
	for size := last; size > 0; size /= 2 {
		for from := 0; from+size <= last; from += size {
			if packets := without(s.packets, from, from+size); packets != nil {
				out = append(out, &script{s.name, s.six, s.self, packets})
			}
		}
	}
	for i := range s.packets {
		for _, simplify := range simpler {
			p := s.packets[i]
			if !simplify(&p) {
				continue
			}
			packets := slices.Clone(s.packets)
			packets[i] = p
			out = append(out, &script{s.name, s.six, s.self, packets})
		}
	}
	if r := s.renumbered(); r != nil {
		out = append(out, r)
	}
	if s.six {
		out = append(out, &script{s.name, false, s.self, s.packets})
	}
	return out
}

// without is packets without some; where there are waits, which all scripts that are played side by side share, the places of those that
// are gone stay. nil if there is nothing to take away.
func without(packets []packet, from, to int) []packet {
	if !slices.ContainsFunc(packets, func(p packet) bool { return p.wait > 0 }) {
		return slices.Concat(packets[:from], packets[to:])
	}
	out, had := slices.Clone(packets), false
	for i := from; i < to; i++ {
		had = had || !out[i].skip
		out[i].skip = true
	}
	if !had {
		return nil
	}
	return out
}

// simpler are ways to make a packet plainer; they report whether there was anything to do.
var simpler = []func(*packet) bool{
	func(p *packet) bool { return clear(&p.words) },
	func(p *packet) bool {
		had := len(p.opts) > 0
		if had {
			p.opts = p.opts[: len(p.opts)-1 : len(p.opts)-1]
		}
		return had
	},
	func(p *packet) bool {
		had := len(p.opts) > 0
		if had {
			p.opts = slices.Clone(p.opts[1:])
		}
		return had
	},
	func(p *packet) bool {
		had := p.flags&(urg|psh|0xc0) != 0
		p.flags &^= urg | psh | 0xc0
		return had
	},
	func(p *packet) bool { return p.udplen == 0 && clear(&p.size) },
	func(p *packet) bool { return clear(&p.cut) },
	func(p *packet) bool { return clear(&p.code) },
}

func clear[T comparable](v *T) bool {
	var zero T
	had := *v != zero
	*v = zero
	return had
}

// renumbered is the script with sequence numbers that are easy to read: those of A from 1000, those of B from 5000 on. nil if
// they are so, or if there are none.
func (s *script) renumbered() *script {
	base, first := [2]uint32{1000, 5000}, [2]int64{-1, -1}
	for i := range s.packets {
		p := &s.packets[i]
		for _, v := range []struct {
			side end
			n    uint32
		}{{p.from.side(), p.seq}, {p.from.peer(), p.ack}} {
			if first[v.side] < 0 && v.n != 0 && p.quote == nil && p.proto == unix.IPPROTO_TCP {
				first[v.side] = int64(v.n)
			}
		}
	}
	shift := [2]uint32{}
	for side, n := range first {
		if n >= 0 {
			shift[side] = base[side] - uint32(n)
		}
	}
	if shift == [2]uint32{} {
		return nil
	}
	out := &script{s.name, s.six, s.self, slices.Clone(s.packets)}
	for i := range out.packets {
		p := &out.packets[i]
		if p.quote != nil {
			q := *p.quote
			q.shift(shift)
			p.quote = &q
		}
		p.shift(shift)
	}
	return out
}

func (p *packet) shift(by [2]uint32) {
	if p.proto != unix.IPPROTO_TCP {
		return
	}
	p.seq += by[p.from.side()]
	if p.flags&ack != 0 {
		p.ack += by[p.from.peer()]
	}
	p.opts = slices.Clone(p.opts)
	for i, o := range p.opts {
		if o.name == "sack" {
			p.opts[i].a += by[p.from.peer()]
			p.opts[i].b += by[p.from.peer()]
		}
	}
}
