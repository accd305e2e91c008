package classify

import "math/rand/v2"

// Samples is keys that meet some of the rules, or parts of several: the same ones for the same rules.
func Samples(f Family, rules []Rule, groups []PatternGroup, n int) (out []Key) {
	r := sampler{rand.New(rand.NewPCG(uint64(len(rules)), 5))}
	for i := range n {
		a := &rules[r.IntN(len(rules))]
		b, c := a, a
		if i%2 == 1 {
			b, c = &rules[r.IntN(len(rules))], &rules[r.IntN(len(rules))]
		}
		out = append(out, Key{Src: r.addr(f, a.Src), Dst: r.addr(f, b.Dst), SrcPort: r.port(c.SrcPorts), DstPort: r.port(c.DstPorts), Patterns: r.met(c.Pattern, groups)})
	}
	return out
}

type sampler struct{ *rand.Rand }

// addr is an address of some: the first of a span, or one behind it.
func (r sampler) addr(f Family, list []Span) Addr {
	s := Span{To: Addr{^uint64(0), ^uint64(0)}}
	switch {
	case len(list) > 0:
		s = list[r.IntN(len(list))]
	case f == IPv4:
		s.To = Addr{Hi: 1<<32 - 1}
	}
	out := s.From
	if width := s.To.Hi - s.From.Hi; width > 0 {
		return Addr{Hi: s.From.Hi + r.Uint64()%width}
	}
	if width := s.To.Lo - s.From.Lo; width > 0 {
		out.Lo += r.Uint64() % width
	}
	return out
}

func (r sampler) port(list []Ports) uint16 {
	p := anyPort
	if len(list) > 0 {
		p = list[r.IntN(len(list))]
	}
	return p.From + uint16(r.IntN(int(p.To-p.From)+1))
}

// met is what a packet may meet that meets a pattern.
func (r sampler) met(pattern uint8, groups []PatternGroup) (out uint64) {
	for _, g := range groups {
		v := g.Values[r.IntN(len(g.Values))]
		for tries := 0; g.Mask>>pattern&1 != 0 && v>>pattern&1 == 0 && tries < 64; tries++ {
			v = g.Values[r.IntN(len(g.Values))]
		}
		out |= v
	}
	return out
}
