package classify

import (
	"cmp"
	"encoding/binary"
	"math/rand/v2"
	"slices"
)

// dimension is one of the two addresses of all rules: the different sets of spans that they ask for, called operands, and where these
// begin and end.
type dimension struct {
	operand []int32 // of each rule
	n       int     // operands
	cuts    []Addr  // where spans begin, or have just ended; the first is 0
	events  []event // sorted by cut
	random  [][2]uint64
}

// event is the begin or the end of a span.
type event struct {
	cut, operand int32
}

// newDimension finds the operands. of is the spans of a rule.
func newDimension(f Family, rules []Rule, of func(*Rule) []Span) *dimension {
	d := &dimension{operand: make([]int32, len(rules))}
	ids := map[string]int32{}
	var spans [][]Span
	var key []byte
	for i := range rules {
		s := of(&rules[i])
		key = appendKey(key[:0], s)
		id, ok := ids[string(key)]
		if !ok {
			id = int32(len(spans))
			ids[string(key)] = id
			spans = append(spans, s)
		}
		d.operand[i] = id
	}
	d.n = len(spans)
	d.place(f, spans)
	r := rand.New(rand.NewPCG(7, 11))
	for range d.n {
		d.random = append(d.random, [2]uint64{r.Uint64(), r.Uint64()})
	}
	return d
}

func appendKey(key []byte, spans []Span) []byte {
	if spans == nil {
		return append(key, 1)
	}
	for _, s := range spans {
		for _, v := range [...]uint64{s.From.Hi, s.From.Lo, s.To.Hi, s.To.Lo} {
			key = binary.LittleEndian.AppendUint64(key, v)
		}
	}
	return key
}

// place makes the cuts and events of the operands' spans.
func (d *dimension) place(f Family, spans [][]Span) {
	type edge struct {
		at      Addr
		operand int32
	}
	edges := []edge{}
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
	slices.SortFunc(edges, func(a, b edge) int {
		return cmp.Or(cmp.Compare(a.at.Hi, b.at.Hi), cmp.Compare(a.at.Lo, b.at.Lo))
	})
	d.cuts = []Addr{{}}
	for _, e := range edges {
		if e.at != d.cuts[len(d.cuts)-1] {
			d.cuts = append(d.cuts, e.at)
		}
		d.events = append(d.events, event{int32(len(d.cuts) - 1), e.operand})
	}
}

// view is a dimension as a subset of the rules sees it. Class 0 is the addresses of no operand, if there are any.
type view struct {
	runs []run   // sorted
	from []int32 // by class: where its operands begin in ops; one more at the end
	ops  []int32
}

// run says which class the addresses from a cut on have.
type run struct{ cut, class int32 }

func (v *view) classes() int { return len(v.from) - 1 }

// operands is those of a class.
func (v *view) operands(class int) []int32 { return v.ops[v.from[class]:v.from[class+1]] }

// sizes is how many classes each operand has.
func (v *view) sizes(operands int) []int32 {
	out := make([]int32, operands)
	for _, o := range v.ops {
		out[o]++
	}
	return out
}

// covers is the classes of each operand: those of operand o are flat[from[o]:from[o+1]].
func (v *view) covers(operands int) (from, flat []int32) {
	from = make([]int32, operands+1)
	for _, o := range v.ops {
		from[o+1]++
	}
	for o := range operands {
		from[o+1] += from[o]
	}
	flat = make([]int32, len(v.ops))
	at := slices.Clone(from)
	for c := range v.classes() {
		for _, o := range v.operands(c) {
			flat[at[o]] = int32(c)
			at[o]++
		}
	}
	return from, flat
}

// maxIncidences bounds how many operands all classes of a view may have: 33 nested prefixes around each of 500,000 addresses.
const maxIncidences = 1 << 24

// view makes the classes of the operands of some rules; nil if these overlap too much for that.
func (d *dimension) view(rules []int32) *view {
	in := make([]bool, d.n)
	for _, r := range rules {
		in[d.operand[r]] = true
	}
	v := &view{from: []int32{0, 0}, runs: []run{{}}}
	ids := map[[2]uint64]int32{{}: 0}
	s := newActive(d)
	for i := 0; i < len(d.events); {
		cut, changed := d.events[i].cut, false
		for ; i < len(d.events) && d.events[i].cut == cut; i++ {
			if o := d.events[i].operand; in[o] {
				s.flip(o)
				changed = true
			}
		}
		if !changed {
			continue
		}
		class, ok := ids[s.hash]
		if !ok {
			class = int32(v.classes())
			ids[s.hash] = class
			v.ops = append(v.ops, s.list...)
			v.from = append(v.from, int32(len(v.ops)))
		}
		if len(v.ops) > maxIncidences {
			return nil
		}
		v.add(run{cut, class})
	}
	return v
}

// add goes on with a class.
func (v *view) add(r run) {
	switch last := &v.runs[len(v.runs)-1]; {
	case last.cut == r.cut:
		last.class = r.class
	case last.class != r.class:
		v.runs = append(v.runs, r)
	}
}

// active is the operands that the address under the sweep is in. Two sets of operands have the same hash of 128 random bits by
// chance only.
type active struct {
	*dimension
	list []int32
	at   []int32 // by operand: its place in list + 1
	hash [2]uint64
}

func newActive(d *dimension) *active { return &active{dimension: d, at: make([]int32, d.n)} }

// flip puts an operand in, or takes it out.
func (s *active) flip(o int32) {
	s.hash[0] ^= s.random[o][0]
	s.hash[1] ^= s.random[o][1]
	if s.at[o] == 0 {
		s.list = append(s.list, o)
		s.at[o] = int32(len(s.list))
		return
	}
	last := s.list[len(s.list)-1]
	s.list[s.at[o]-1] = last
	s.at[last] = s.at[o]
	s.list = s.list[:len(s.list)-1]
	s.at[o] = 0
}
