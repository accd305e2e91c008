package settable

import (
	"math/bits"
)

// span begins at a value of the word and goes on to the next one.
type span struct {
	from int
	cell Cell
}

// A node gets a cell for every value, at 256 KiB, if it has more spans than these.
const (
	directRoot  = 256 // the first level, of which there is one
	directInner = 1 << LargestSorted
	directFew   = 128 // of the second level, as long as memory is left for it: each step of a search costs some 4 ns
)

// smallest is the class of the smallest node with keys.
const smallest = 2

// classBytes is the room of a node: keys and cells, and a link that lists of free nodes go by while readers may still be in the node. The
// smallest nodes lie in one line of the processor's cache.
func classBytes(class int) int {
	n := 6<<class + 4
	switch class {
	case Direct:
		n = 4*values + 4
	case Path:
		n = PathBytes
	}
	return (n + align - 1) / align * align
}

// spans are a node's; a path is taken for what it says of its first word.
func (t *Table) spans(c Cell, into []span) []span {
	off, n := c.offset(), 1<<c.class()
	if c.class() == Path {
		first := int(t.word16(off + pathWords))
		into = append(into, span{0, t.cell(off + PathElse)})
		return addSpan(addSpan(into, first, t.cell(off+PathMatch)), first+1, t.cell(off+PathElse))
	}
	if c.class() == Direct {
		for i := range values {
			into = addSpan(into, i, t.cell(off+4*i))
		}
		return into
	}
	for i := range n {
		key := int(t.word16(off + 2*i))
		if i > 0 && key == values-1 && into[len(into)-1].from == key {
			break // what is left repeats it
		}
		into = addSpan(into, key, t.cell(off+2*n+4*i))
	}
	return into
}

// addSpan appends a span, or makes the last one longer. Spans come in order; the later of two at one place counts.
func addSpan(spans []span, from int, c Cell) []span {
	if n := len(spans); n > 0 && spans[n-1].from == from {
		spans = spans[:n-1]
	}
	if n := len(spans); n > 0 && spans[n-1].cell == c && !c.isNode() {
		return spans
	}
	if from >= values {
		return spans
	}
	return append(spans, span{from, c})
}

// most is how many spans a node of a level may have without a cell for every value.
func most(level int) int {
	if level == 0 {
		return directRoot
	}
	return directInner
}

// store writes a node, or no node where one cell says it all. A node with more spans than most gets a cell for every value.
func (t *Table) store(spans []span, most int) (Cell, error) {
	if len(spans) == 1 && !spans[0].cell.isNode() {
		return spans[0].cell, nil
	}
	class := max(bits.Len(uint(len(spans)-1)), smallest)
	if len(spans) > most {
		class = Direct
	}
	off, err := t.alloc(class)
	if err != nil {
		return Out, err
	}
	if class == Direct {
		t.fillDirect(off, spans)
	} else {
		t.fill(off, class, spans)
	}
	return nodeCell(class, off), nil
}

func (t *Table) fill(off, class int, spans []span) {
	n := 1 << class
	for i := range n {
		s := span{values - 1, spans[len(spans)-1].cell}
		if i < len(spans) {
			s = spans[i]
		}
		t.setWord16(off+2*i, uint16(s.from))
		t.setCell(off+2*n+4*i, s.cell)
	}
}

func (t *Table) fillDirect(off int, spans []span) {
	for i, s := range spans {
		end := values
		if i+1 < len(spans) {
			end = spans[i+1].from
		}
		for v := s.from; v < end; v++ {
			t.setCell(off+4*v, s.cell)
		}
	}
}

func linkOf(off, class int) int { return off + classBytes(class) - 4 }

// drop gives back a node that readers may be in still, and the nodes below it.
func (t *Table) drop(c Cell) {
	if !c.isNode() {
		return
	}
	for _, s := range t.spans(c, nil) {
		t.drop(s.cell)
	}
	t.dropNode(c)
}

func (t *Table) dropNode(c Cell) {
	class, off := c.class(), c.offset()
	t.setCell(linkOf(off, class), Cell(t.head(headLimbo+class)))
	t.setHead(headLimbo+class, uint32(off/unit))
}
