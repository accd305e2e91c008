package settable

import "slices"

// Insert adds one entry to what a root holds. Nobody who is in the set is out of it meanwhile. After ErrFull a part of the entry's keys
// may be in.
func (t *Table) Insert(root int, e Entry) error {
	return t.again(func() error { return t.insert(root, &e) })
}

func (t *Table) insert(root int, e *Entry) error {
	ins := &insertion{t: t, e: e}
	if err := ins.change(4*root, 0); err != nil {
		return err // what was made in vain is lost until the next sweep
	}
	for _, c := range ins.gone {
		t.dropNode(c)
	}
	for _, c := range ins.trees {
		t.drop(c)
	}
	return nil
}

// insertion is an entry on its way into a table.
type insertion struct {
	t           *Table
	e           *Entry
	gone, trees []Cell // nodes that nothing leads to when all is done: alone, and with all below them
}

// all reports whether the entry covers all that a cell for a word of this level is about.
func (ins *insertion) all(level int) bool { return ins.e.Bits <= 16*level }

// change lets the entry take part in the cell at an offset, which decides by the word of a level.
func (ins *insertion) change(at, level int) error {
	old := ins.t.cell(at)
	next, err := ins.with(old, level)
	if err == nil && next != old {
		ins.t.setCell(at, next)
		ins.replaced(old, level)
	}
	return err
}

func (ins *insertion) replaced(old Cell, level int) {
	switch {
	case !old.isNode():
	case ins.all(level) && ins.e.Cell == Forever:
		ins.trees = append(ins.trees, old)
	default:
		ins.gone = append(ins.gone, old)
	}
}

// with is a cell together with the entry: the same node where a cell below was changed in its place, or a new one.
func (ins *insertion) with(c Cell, level int) (Cell, error) {
	e := ins.e
	switch {
	case !c.isNode() && (ins.all(level) || c >= e.Cell):
		return max(c, e.Cell), nil
	case ins.all(level) && e.Cell == Forever:
		return Forever, nil
	case !c.isNode():
		b := builder{t: ins.t, scratch: make([][]span, MaxWords)} // and no node for speed alone
		return b.build([]Entry{*e}, level, c)
	}
	from, to := ins.values(level)
	switch c.class() {
	case Direct:
	case Path:
		return ins.path(c, level, from, to)
	default:
		return ins.sorted(c, level, from, to)
	}
	for v := from; v <= to; v++ {
		if err := ins.change(c.offset()+4*v, level+1); err != nil {
			return c, err
		}
	}
	return c, nil
}

// path lets the entry take part in a path, in what it stands for.
func (ins *insertion) path(c Cell, level, from, to int) (Cell, error) {
	unfolded, err := ins.t.unfold(c)
	if err != nil {
		return c, err
	}
	next, err := ins.sorted(unfolded, level, from, to)
	if next != unfolded {
		ins.gone = append(ins.gone, unfolded)
	}
	return next, err
}

// values are those of a level's word that the entry is about.
func (ins *insertion) values(level int) (from, to int) {
	if ins.all(level) {
		return 0, values - 1
	}
	from = int(ins.e.Key[level])
	if short := 16*(level+1) - ins.e.Bits; short > 0 {
		return from, from + 1<<short - 1
	}
	return from, from
}

// sorted lets the entry take part in a node with keys, for some values of its word.
func (ins *insertion) sorted(c Cell, level, from, to int) (Cell, error) {
	spans := ins.t.spans(c, make([]span, 0, 1<<c.class()+2))
	i, found := slices.BinarySearchFunc(spans, from, func(s span, v int) int { return s.from - v })
	if !found {
		i--
	}
	if found && i+1 < len(spans) && spans[i+1].from == to+1 && spans[i].cell.isNode() {
		return c, ins.change(c.offset()+(2<<c.class())+4*i, level+1) // the keys stay; and it is not the cell that is there several times
	}
	out := slices.Clone(spans[:i])
	for ; i < len(spans) && spans[i].from <= to; i++ {
		s := spans[i]
		if s.from < from {
			out = addSpan(out, s.from, s.cell)
			s.from = from
		}
		next, err := ins.with(s.cell, level+1)
		if err != nil {
			return c, err
		}
		if next != s.cell {
			ins.replaced(s.cell, level+1)
		}
		out = addSpan(out, s.from, next)
		if end(spans, i) > to+1 {
			out = addSpan(out, to+1, s.cell)
		}
	}
	for ; i < len(spans); i++ {
		out = addSpan(out, spans[i].from, spans[i].cell)
	}
	return ins.t.store(out, most(level))
}

// end is the first value behind a span.
func end(spans []span, i int) int {
	if i+1 < len(spans) {
		return spans[i+1].from
	}
	return values
}
