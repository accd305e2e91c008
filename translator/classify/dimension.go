package classify

import "slices"

// dimension is one of the two addresses of all rules: the different sets of spans that they ask for, called operands, and where these
// begin and end.
type dimension struct {
	operand []int32 // of each rule
	n       int     // operands
	cuts    []Addr  // where spans begin, or have just ended; the first is 0
	events  []event // sorted
}

// event is the begin or the end of a span: the cut in the upper half, the operand in the lower one. An operand has one at most at a cut.
type event uint64

func (e event) cut() int32     { return int32(e >> 32) }
func (e event) operand() int32 { return int32(uint32(e)) }

// newDimension finds the operands. of is the spans of a rule.
func newDimension(f Family, rules []Rule, of func(*Rule) []Span) *dimension {
	d := &dimension{operand: make([]int32, len(rules))}
	var ids numbers
	ids.reset(len(rules))
	spans := make([][]Span, 0, len(rules))
	for i := range rules {
		s := of(&rules[i])
		id, fresh := ids.of(hashSpans(s), func(k int32) bool { return (s == nil) == (spans[k] == nil) && slices.Equal(spans[k], s) })
		if fresh {
			spans = append(spans, s)
		}
		d.operand[i] = id
	}
	d.n = len(spans)
	d.place(f, spans)
	return d
}

func hashSpans(spans []Span) (hash uint64) {
	for _, s := range spans {
		hash = mix(mix(hash, s.From.Hi^s.From.Lo<<1), s.To.Hi^s.To.Lo<<1)
	}
	return hash
}

// edge is an event before the cuts are known.
type edge struct {
	at      Addr
	operand int32
}

// place makes the cuts and events of the operands' spans.
func (d *dimension) place(f Family, spans [][]Span) {
	n := 0
	for _, list := range spans {
		n += 2 * max(1, len(list))
	}
	edges := make([]edge, 0, n)
	for o, list := range spans {
		if list == nil {
			edges = append(edges, edge{operand: int32(o)})
		}
		for _, s := range list {
			edges = append(edges, edge{s.From, int32(o)})
			if end, ok := f.next(s.To); ok {
				edges = append(edges, edge{end, int32(o)})
			}
		}
	}
	edges = sortEdges(edges)
	d.cuts = append(make([]Addr, 0, len(edges)+1), Addr{})
	d.events = make([]event, 0, len(edges))
	for _, e := range edges {
		if e.at != d.cuts[len(d.cuts)-1] {
			d.cuts = append(d.cuts, e.at)
		}
		v := event(len(d.cuts)-1)<<32 | event(e.operand)
		if n := len(d.events); n > 0 && d.events[n-1] == v { // a span begins where the one before has ended
			d.events = d.events[:n-1]
			continue
		}
		d.events = append(d.events, v)
	}
}

// sortEdges sorts by address, those of one address as they come: byte by byte, the lowest first, without those that all have in common.
func sortEdges(edges []edge) []edge {
	var differ Addr
	for _, e := range edges {
		differ.Hi |= e.at.Hi ^ edges[0].at.Hi
		differ.Lo |= e.at.Lo ^ edges[0].at.Lo
	}
	other := make([]edge, len(edges))
	for shift := 0; shift < 128; shift += 8 {
		if differ.byteAt(shift) == 0 {
			continue
		}
		var from [257]int
		for i := range edges {
			from[1+int(edges[i].at.byteAt(shift))]++
		}
		for i := range 256 {
			from[i+1] += from[i]
		}
		for i := range edges {
			b := edges[i].at.byteAt(shift)
			other[from[b]] = edges[i]
			from[b]++
		}
		edges, other = other, edges
	}
	return edges
}

// byteAt is 8 bits of an address.
func (a *Addr) byteAt(shift int) uint8 {
	if shift >= 64 {
		return uint8(a.Hi >> (shift - 64))
	}
	return uint8(a.Lo >> shift)
}
