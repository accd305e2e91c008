package classify

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
)

// Options bound a table, and say what its patterns mean.
type Options struct {
	Family Family
	Order  binary.ByteOrder // of the machine that looks things up
	// Covers has for each pattern, as bits, those whose packets all meet it too.
	Covers [64]uint64
	// MaxSubsets and MaxBytes are what a table may have; beyond them building it is an error.
	MaxSubsets, MaxBytes int
	// MaxPairs is how many pairs of classes the rules may cover in all, on which the time of building depends; 0: as many as there is memory for.
	MaxPairs int

	// Like is the shape of a table that this one takes the place of; nil: none. Was is, for each rule, the subset that it was in there
	// (Table.Parts); 0, and nil: it is not known.
	Like *Shape
	Was  []uint8

	cells int // that all subsets may have, about
	block int // rules of a block of bit vectors; 0: as memory allows
}

// Table is a classifier.
type Table struct {
	Family   Family
	Data     []byte
	Src, Dst *Search
	Subsets  []Subset // in the order in which they are asked: pass by pass
	Items    int      // offset: of Items
	MaxItems int      // that Items has room for
	Ports    *Ports2  // nil: no list is long
	MaxList  int      // items that are compared for a cell that has a list, at most
	Rules    int
	Parts    []uint8 // by rule: the number of its subset, from 1 on
	Again    bool    // the rules are divided as in the table before (Memory)

	rooms  []int
	memory Memory
}

// Subset is where the cells of a subset are. One either has an item, which most spares a packet another wait for memory, or a ref to a list:
// the number of its first Item, or with bit 31 set what to add to the class of both ports to find that number in Rows.
type Subset struct {
	Cells int    // offset: cells
	Size  uint64 // cells that there is room for
	First uint32 // no rule is in front of this one
	Pass  Pass   // of its rules
}

// Ports2 is the table over both ports.
type Ports2 struct {
	Src, Dst int // offsets: class by port, uint16; that of the source is multiplied already if it fits
	Dsts     int // classes of destination ports
	Combined int // offset: class of both by class of source * Dsts + class of destination, uint32
	Size     int // of Combined
	Rows     int // offset: uint32
	RowsSize int
}

// RowRef marks a ref to Rows.
const RowRef = 1 << 31

// None is no row, class or item.
const None = none

// LimitError says which bound a table would exceed.
type LimitError struct{ What string }

func (e *LimitError) Error() string { return e.What }

func limit(format string, args ...any) error { return &LimitError{fmt.Sprintf(format, args...)} }

// builder makes a table.
type builder struct {
	opt      Options
	rules    []Rule
	src, dst *dimension
	lists    lists
	matrices []*matrix
	drift    int // see Memory
	again    bool
}

// Build makes a table of rules. Errors are *LimitError.
func Build(rules []Rule, opt Options) (*Table, error) {
	if opt.cells == 0 {
		opt.cells = max(1<<14, 2*len(rules))
	}
	if err := numbered(rules); err != nil {
		return nil, err
	}
	b := &builder{opt: opt, rules: rules, lists: lists{alone: listID(len(rules))}}
	b.dimensions()
	if b.opt.MaxPairs == 0 {
		b.opt.MaxPairs = opt.MaxBytes / 2
	}
	if err := b.divided(); err != nil {
		return nil, err
	}
	parallel(len(b.matrices), func(i int, _ *scratch) int { b.fill(b.matrices[i]); return 0 })
	b.lists.gather(b.matrices)
	return b.table()
}

// divided has the rules divided into subsets, which it makes the classes of: as they were before, or from scratch.
func (b *builder) divided() error {
	if subsets := b.asBefore(); subsets != nil {
		b.matrices = b.views(subsets)
		if b.again = !b.tooLoose() && b.check(subsets) == nil; b.again {
			return nil
		}
	}
	b.drift = 0
	subsets, err := b.subsets()
	if err != nil {
		return err
	}
	if err := b.check(subsets); err != nil {
		return err
	}
	b.matrices = b.views(subsets)
	return nil
}

// numbered refuses what an Answer has no room for.
func numbered(rules []Rule) error {
	if len(rules) > mostRules {
		return limit("%d rules: more than %d", len(rules), mostRules)
	}
	for _, r := range rules {
		if r.Slot >= mostSlots && r.Slot != none {
			return limit("a rule answers %d: more than %d", r.Slot, mostSlots)
		}
	}
	return nil
}

// subsets divides the rules, those of each pass apart, in the order in which they are asked.
func (b *builder) subsets() (out []*subset, err error) {
	var of [passes][]int32
	for i, r := range b.rules {
		of[r.Pass] = append(of[r.Pass], int32(i))
	}
	var w scratch
	all := b.all()
	for _, rules := range of {
		some := all
		if len(rules) < len(all.rules) {
			some = b.part(all, rules, &w)
		}
		list := b.divide(some, 0, &w)
		if err := b.affordable(slices.Concat(out, list)); err != nil {
			return nil, err
		}
		out = append(out, b.merge(list)...)
	}
	return b.inOrder(out), nil
}

// inOrder puts subsets in the order in which they are asked.
func (b *builder) inOrder(list []*subset) []*subset {
	slices.SortFunc(list, func(x, y *subset) int {
		return cmp.Or(cmp.Compare(b.rules[x.rules[0]].Pass, b.rules[y.rules[0]].Pass), cmp.Compare(x.rules[0], y.rules[0]))
	})
	return list
}

// all is all rules.
func (b *builder) all() *subset {
	s := &subset{rules: make([]int32, len(b.rules)), src: b.src.events, dst: b.dst.events}
	for i := range s.rules {
		s.rules[i] = int32(i)
	}
	return s
}

func (b *builder) dimensions() {
	d := both(func() *dimension { return newDimension(b.opt.Family, b.rules, func(r *Rule) []Span { return r.Src }) },
		func() *dimension { return newDimension(b.opt.Family, b.rules, func(r *Rule) []Span { return r.Dst }) })
	b.src, b.dst = d[0], d[1]
}

// check refuses what would become too large before it is made.
func (b *builder) check(subsets []*subset) error {
	if len(subsets) > b.opt.MaxSubsets {
		return limit("%d rules: their addresses overlap too much: %d subsets, more than %d", len(b.rules), len(subsets), b.opt.MaxSubsets)
	}
	return b.affordable(subsets)
}

// affordable refuses subsets that would have too many pairs of classes.
func (b *builder) affordable(subsets []*subset) error {
	sum := 0
	for _, s := range subsets {
		if sum += s.cells; s.cells >= tooMany || sum > b.opt.MaxPairs {
			return limit("%d rules: their addresses overlap too much: more than %d pairs of classes", len(b.rules), b.opt.MaxPairs)
		}
	}
	return nil
}

// table lays everything out.
func (b *builder) table() (*Table, error) {
	l := &layout{order: b.opt.Order, like: b.opt.Like}
	if l.like == nil || l.like.Family != b.opt.Family {
		l.like = &Shape{}
	}
	t := &Table{Family: b.opt.Family, Rules: len(b.rules)}
	arrays := parallel(len(b.matrices), func(i int, _ *scratch) *packed { return b.matrices[i].pack() })
	b.settle(l.like, arrays)
	l.data = make([]byte, 0, b.bytes(arrays))
	b.search(l, t, arrays)
	firsts, err := b.items(l, t)
	if err != nil {
		return nil, err
	}
	for i, p := range arrays {
		room := l.room(len(p.cells))
		at := put(l, []uint8{}, ItemSize*room)
		t.Subsets = append(t.Subsets, Subset{Cells: at, Size: uint64(room), First: l.firstRule(i, b.foremost(i)), Pass: b.pass(i)})
		for k := range room {
			cell := l.data[at+ItemSize*k:]
			if k < len(p.cells) && p.cells[k].owner != none {
				firsts[p.cells[k].list].write(l.order, cell, p.cells[k].owner)
				continue
			}
			l.order.PutUint32(cell, none)
		}
	}
	t.Data, t.rooms, t.Parts, t.memory, t.Again = l.data, l.rooms, b.parts(), b.memory(), b.again
	if len(t.Data) > b.opt.MaxBytes {
		return nil, limit("%d rules: their table is %d bytes, more than %d", len(b.rules), len(t.Data), b.opt.MaxBytes)
	}
	return t, nil
}

// bytes is about how large the table will be, rather more than less.
func (b *builder) bytes(arrays []*packed) int {
	n := (len(b.src.cuts) + len(b.dst.cuts)) * (12 + 4*len(arrays))
	for _, p := range arrays {
		n += len(p.cells) * ItemSize
	}
	return n + n/4 + 1<<19
}

// search lays out both searches. Classes without cells have none for a word.
func (b *builder) search(l *layout, t *Table, arrays []*packed) {
	var src, dst []*view
	used := make([][]bool, len(b.matrices))
	for k, m := range b.matrices {
		src, dst = append(src, m.src), append(dst, m.dst)
		used[k] = make([]bool, m.dst.classes())
		for _, row := range m.rows {
			for _, c := range row {
				used[k][c.class] = true
			}
		}
	}
	lists := both(func() []interval {
		return intervals(b.src.cuts, src, func(k int, class int32) uint32 {
			row := b.matrices[k].row[class]
			if row < 0 {
				return noRow
			}
			return arrays[k].word[row]
		})
	}, func() []interval {
		return intervals(b.dst.cuts, dst, func(k int, class int32) uint32 {
			if !used[k][class] {
				return none
			}
			return uint32(class)
		})
	})
	t.Src = l.search(b.opt.Family, &l.like.Src, lists[0], wordSizes(lists[0], l.like.Src.Sizes))
	t.Dst = l.search(b.opt.Family, &l.like.Dst, lists[1], wordSizes(lists[1], l.like.Dst.Sizes))
}
