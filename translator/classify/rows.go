package classify

import (
	"math"
	"math/bits"
	"slices"
)

// cell is an element of a row: the destination's class and the rules.
type cell struct {
	class int32
	list  listID
}

// matrix is a subset's cells: rows by the class of the source. Classes with the same row share it.
type matrix struct {
	subset   *subset
	src, dst *view
	row      []int32 // by class of the source; -1: no rules
	rows     [][]cell
	lists    lists // until they are gathered
	size     int   // cells
}

// worker is the scratch space of one goroutine.
type worker struct {
	pairs   []uint64
	rules   []int32
	boxes   []box
	reached []int32
	cells   []cell
	ids     numbers // of rows
	flat    []cell  // the room of the last ones
}

// views makes the classes of subsets, and counts the cells that they want.
func (b *builder) views(subsets []*subset) []*matrix {
	return parallel(len(subsets), func(i int, w *scratch) *matrix {
		s := subsets[i]
		m := &matrix{subset: s, src: w.sweep.view(b.src, s.src), dst: w.sweep.view(b.dst, s.dst)}
		w.srcSizes, w.dstSizes = m.src.sizes(w.srcSizes, b.src.n), m.dst.sizes(w.dstSizes, b.dst.n)
		s.cells = b.sum(s.rules, w)
		return m
	})
}

// fill makes the cells of a subset.
func (b *builder) fill(m *matrix) {
	s := m.subset
	m.row, m.lists.alone = make([]int32, m.src.classes()), listID(len(b.rules))
	bySrc, flat := group(s.rules, b.src.operand, b.src.n)
	from, cover := m.dst.covers(b.dst.n)
	var w worker
	for class := range m.row {
		w.pairs = w.pairs[:0]
		for _, o := range m.src.operands(class) {
			for _, r := range flat[bySrc[o]:bySrc[o+1]] {
				d := b.dst.operand[r]
				for _, c := range cover[from[d]:from[d+1]] {
					w.pairs = append(w.pairs, uint64(c)<<32|uint64(r))
				}
			}
		}
		m.row[class] = m.add(b.cells(m, &w), &w)
	}
}

// group is rules by operand: those of operand o are flat[from[o]:from[o+1]].
func group(rules, operand []int32, n int) (from, flat []int32) {
	from = make([]int32, n+1)
	for _, r := range rules {
		from[operand[r]+1]++
	}
	for o := range n {
		from[o+1] += from[o]
	}
	flat = make([]int32, len(rules))
	at := slices.Clone(from)
	for _, r := range rules {
		flat[at[operand[r]]] = r
		at[operand[r]]++
	}
	return from, flat
}

// cells is a row of pairs of a destination's class and a rule.
func (b *builder) cells(m *matrix, w *worker) []cell {
	slices.Sort(w.pairs)
	w.cells = w.cells[:0]
	for i := 0; i < len(w.pairs); {
		class := w.pairs[i] >> 32
		w.rules = w.rules[:0]
		for ; i < len(w.pairs) && w.pairs[i]>>32 == class; i++ {
			w.rules = append(w.rules, int32(uint32(w.pairs[i])))
		}
		w.cells = append(w.cells, cell{int32(class), m.lists.of(b.reachable(w.rules, w))})
	}
	return w.cells
}

// add finds the row with some cells, or makes it.
func (m *matrix) add(cells []cell, w *worker) int32 {
	if len(cells) == 0 {
		return -1
	}
	hash := uint64(0)
	for _, c := range cells {
		hash = mix(hash, uint64(c.class)<<32|uint64(c.list))
	}
	id, fresh := w.ids.of(hash, func(k int32) bool { return slices.Equal(m.rows[k], cells) })
	if fresh {
		w.flat = roomy(w.flat, len(cells))
		w.flat = append(w.flat, cells...)
		m.rows = append(m.rows, w.flat[len(w.flat)-len(cells):])
		m.size += len(cells)
	}
	return id
}

// packed is a matrix in one array.
type packed struct {
	word  []uint32 // by row: the place of a cell is this less its class
	cells []slot
}

// slot is a place of the array; owner is the word of the row that it belongs to, or none.
type slot struct {
	owner uint32
	list  listID
}

// none is no class, list or owner; noRow no row. So large a class makes a place that there is not, and no place belongs to that word.
const (
	none  = ^uint32(0)
	noRow = 0
)

// pack puts the rows into an array, the longest first, each where all of its places are free. No two have the same word: that is what tells
// them apart.
func (m *matrix) pack() *packed {
	p := &packed{word: make([]uint32, len(m.rows))}
	order := make([]uint64, len(m.rows))
	for i, row := range m.rows {
		order[i] = uint64(math.MaxUint32-len(row))<<32 | uint64(i)
	}
	slices.Sort(order)
	f := &fitter{}
	f.words.word(noRow)
	f.words.add(noRow)
	for _, o := range order {
		r := uint32(o)
		p.word[r] = uint32(f.fit(m.rows[r]))
	}
	p.cells = make([]slot, f.used)
	for i := range p.cells {
		p.cells[i] = slot{owner: none}
	}
	for r, row := range m.rows {
		for _, c := range row {
			p.cells[p.word[r]-uint32(c.class)] = slot{p.word[r], c.list}
		}
	}
	return p
}

// fitter finds room for rows, the longest first.
type fitter struct {
	taken  places
	words  places // of rows
	length int    // of the last row
	from   int    // where to look for room for the next row of this length: in front of it there is hardly any
	used   int    // places up to the last one that is taken
}

// places is a set of numbers, as bits. It grows when it is looked at.
type places []uint64

// word is the 64 places from i on.
func (p *places) word(i int) uint64 {
	w, shift := i/64, i%64
	if w+2 > len(*p) {
		*p = append(*p, make([]uint64, w+2-len(*p)+len(*p)/2)...)
	}
	v := (*p)[w] >> shift
	if shift > 0 {
		v |= (*p)[w+1] << (64 - shift)
	}
	return v
}

func (p places) add(i int) { p[i/64] |= 1 << (i % 64) }

// fit takes the places of a row, and is its word: that of the first place that its last cell can have.
func (f *fitter) fit(row []cell) int {
	if len(row) != f.length {
		f.length, f.from = len(row), 0
	}
	last := int(row[len(row)-1].class)
	for at := f.from; ; at += 64 {
		busy := f.taken.word(at)
		if busy == ^uint64(0) && at == f.from {
			f.from += 64
			continue
		}
		busy |= f.words.word(at + last)
		for _, c := range row[:len(row)-1] {
			if busy |= f.taken.word(at + last - int(c.class)); busy == ^uint64(0) {
				break
			}
		}
		if busy != ^uint64(0) {
			word := at + bits.TrailingZeros64(^busy) + last
			f.take(row, word)
			return word
		}
		if len(row) > 1 {
			f.from = at
		}
	}
}

func (f *fitter) take(row []cell, word int) {
	f.words.add(word)
	for _, c := range row {
		i := word - int(c.class)
		f.taken.add(i)
		f.used = max(f.used, i+1)
	}
}
