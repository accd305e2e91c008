package classify

import "slices"

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

// sizes is how many classes each of so many operands has.
func (v *view) sizes(out []int32, operands int) []int32 {
	out = zeroed(out, operands)
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

// add goes on with a class.
func (v *view) add(r run) {
	switch last := &v.runs[len(v.runs)-1]; {
	case last.cut == r.cut:
		last.class = r.class
	case last.class != r.class:
		v.runs = append(v.runs, r)
	}
}

// maxIncidences bounds how many operands all classes of a view may have: 33 nested prefixes around each of 500,000 addresses.
const maxIncidences = 1 << 24

// sweep goes through the events of some operands, and knows those that the address under it is in: the scratch space of one goroutine.
type sweep struct {
	list    []int32
	at      []int32 // by operand: its place in list + 1
	hash    [2]uint64
	seen    hashes
	classes numbers
	second  []uint64 // by class, the other half of the hash: two sets of operands have the same 128 random bits by chance only
}

// reset begins a sweep over events of a dimension.
func (s *sweep) reset(d *dimension) {
	for _, o := range s.list {
		s.at[o] = 0
	}
	if len(s.at) < d.n {
		s.at = make([]int32, d.n)
	}
	s.list, s.hash = s.list[:0], [2]uint64{}
}

// flip puts an operand in, or takes it out.
func (s *sweep) flip(o int32) {
	first := mix(0, uint64(o))
	s.hash[0] ^= first
	s.hash[1] ^= mix(first, uint64(o))
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

// class is that of the operands under the sweep, and whether it is a new one.
func (s *sweep) class() (class int32, fresh bool) {
	class, fresh = s.classes.of(s.hash[0], func(c int32) bool { return s.second[c] == s.hash[1] })
	if fresh {
		s.second = append(s.second, s.hash[1])
	}
	return class, fresh
}

// step flips the operands of the first of some events, those of one cut, and is the others.
func (s *sweep) step(events []event) (rest []event) {
	cut := events[0].cut()
	for len(events) > 0 && events[0].cut() == cut {
		s.flip(events[0].operand())
		events = events[1:]
	}
	return events
}

// sizes adds to sizes, by operand, how many classes each has. Not ok: they overlap too much.
func (s *sweep) sizes(d *dimension, events []event, sizes []int32) (ok bool) {
	return s.classesOf(d, events, func(list []int32) {
		for _, o := range list {
			sizes[o]++
		}
	})
}

// classesOf visits the operands of each class. Not ok: they overlap too much.
func (s *sweep) classesOf(d *dimension, events []event, visit func(list []int32)) (ok bool) {
	s.reset(d)
	s.seen.reset(len(events))
	incidences := 0
	for len(events) > 0 {
		events = s.step(events)
		if s.seen.add(s.hash) {
			visit(s.list)
			if incidences += len(s.list); incidences > maxIncidences {
				return false
			}
		}
	}
	return true
}

// view makes the classes.
func (s *sweep) view(d *dimension, events []event) *view {
	s.reset(d)
	s.second = s.second[:0]
	s.classes.reset(len(events))
	s.class() // 0: no operand
	v := &view{from: append(make([]int32, 0, len(events)/2+2), 0, 0), runs: append(make([]run, 0, len(events)+1), run{}), ops: make([]int32, 0, len(events))}
	for len(events) > 0 {
		cut := events[0].cut()
		events = s.step(events)
		class, fresh := s.class()
		if fresh {
			v.ops = append(v.ops, s.list...)
			v.from = append(v.from, int32(len(v.ops)))
		}
		v.add(run{cut, class})
	}
	return v
}
