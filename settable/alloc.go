package settable

import "slices"

// classes are those of nodes, the smallest first.
var classes = func() (all []int) {
	all = append(all, Path)
	for class := smallest; class <= LargestSorted; class++ {
		all = append(all, class)
	}
	return append(all, Direct)
}()

// alloc finds room for a node.
func (t *Table) alloc(class int) (int, error) {
	if off, ok := t.pop(class); ok {
		return off, nil
	}
	need := classBytes(class)
	end := t.Used()
	if t.grow {
		for len(t.mem) < end+need {
			t.mem = append(t.mem, make([]byte, max(len(t.mem), end+need-len(t.mem)))...)
		}
	}
	if end+need <= min(len(t.mem), unit<<ClassShift) {
		t.setHead(headEnd, uint32((end+need)/unit))
		return end, nil
	}
	if off, ok := t.split(class); ok {
		return off, nil
	}
	t.settle()
	if off, ok := t.split(class); ok {
		return off, nil
	}
	return 0, ErrFull
}

// pop takes a node off its class's list of free ones.
func (t *Table) pop(class int) (int, bool) {
	off := int(t.head(headFree+class)) * unit
	if off == 0 {
		return 0, false
	}
	t.setHead(headFree+class, uint32(t.cell(linkOf(off, class))))
	return off, true
}

// split takes a free node of the class, or a part of a larger one.
func (t *Table) split(class int) (int, bool) {
	for _, larger := range classes {
		if larger < class {
			continue
		}
		if off, ok := t.pop(larger); ok {
			t.carve(off+classBytes(class), off+classBytes(larger))
			return off, true
		}
	}
	return 0, false
}

// carve makes free nodes of a gap, large ones first.
func (t *Table) carve(from, to int) {
	for _, class := range slices.Backward(classes) {
		for ; to-from >= classBytes(class); from += classBytes(class) {
			t.setCell(linkOf(from, class), Cell(t.head(headFree+class)))
			t.setHead(headFree+class, uint32(from/unit))
		}
	}
}

// settle makes nodes free that no reader can be in any more. If the process is killed in the middle, some of them are lost until the
// next sweep, and none is free twice.
func (t *Table) settle() {
	waited := false
	for _, class := range classes {
		first := int(t.head(headLimbo+class)) * unit
		if first == 0 {
			continue
		}
		if !waited {
			t.wait()
			waited = true
		}
		last := first
		for next := int(t.cell(linkOf(last, class))); next != 0; next = int(t.cell(linkOf(last, class))) {
			last = next * unit
		}
		t.setHead(headLimbo+class, 0)
		t.setCell(linkOf(last, class), Cell(t.head(headFree+class)))
		t.setHead(headFree+class, uint32(first/unit))
	}
}

// again does a change once more, if it found no room, after a sweep.
func (t *Table) again(change func() error) error {
	err := change()
	if err == ErrFull {
		t.sweep()
		err = change()
	}
	return err
}

// extent is where a node is.
type extent struct{ from, to int }

// sweep makes free whatever no root leads to, also what changes have lost that ended in the middle, and joins what lies side by side.
func (t *Table) sweep() {
	t.wait()
	var live []extent
	for root := range Roots {
		live = t.walk(t.cell(4*root), live)
	}
	slices.SortFunc(live, func(a, b extent) int { return a.from - b.from })
	for _, class := range classes {
		t.setHead(headFree+class, 0)
		t.setHead(headLimbo+class, 0)
	}
	at := headBytes
	for _, e := range live {
		t.carve(at, e.from)
		at = e.to
	}
	t.setHead(headEnd, uint32(at/unit))
}

// walk adds the places of a node and all below it.
func (t *Table) walk(c Cell, into []extent) []extent {
	if !c.isNode() {
		return into
	}
	into = append(into, extent{c.offset(), c.offset() + classBytes(c.class())})
	for _, s := range t.spans(c, nil) {
		into = t.walk(s.cell, into)
	}
	return into
}
