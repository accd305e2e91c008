package settable

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"sync/atomic"
	"unsafe"
)

// MaxWords is the length of the longest key: two IPv6 addresses, a port and a protocol.
const MaxWords = 18

// Roots is how many sets of keys one table can hold.
const Roots = 8

// Key is a key's words, as many as the root has levels; the rest is 0.
type Key [MaxWords]uint16

// Cell is what holds for a span of values.
type Cell uint32

// The cells that are no nodes and end at no time. Of two that are not nodes, the larger one is the one that stays longer.
const (
	Out     Cell = 0       // not in the set
	Forever Cell = 3 << 30 // in the set for good
)

// The layout of cells, for whoever reads tables without this package.
const (
	TagShift   = 30 // what is above tells nodes from others
	TagNode    = 2
	TagForever = 3
	ClassShift = 26 // of a node's class
	ClassMask  = 15
	Direct     = 15 // class of nodes with a cell for every value of the word
	Path       = 0  // class of nodes that say which several words come next
	UnitShift  = 4  // of a node's offset

	LargestSorted = 12 // class of the largest node with keys

	tagUntil  = 1
	values    = 1 << 16
	unit      = 1 << UnitShift // bytes
	align     = 32             // of nodes
	headBytes = 256
	magic     = 0x62660002
)

// Until is the cell of what is in the set until a second of the monotonic clock; Forever if the clock does not go that far.
func Until(second uint64) Cell {
	if second >= 1<<TagShift {
		return Forever
	}
	return tagUntil<<TagShift | Cell(second)
}

func (c Cell) isNode() bool { return c>>TagShift == TagNode }

// class and offset are a node's size class and place in bytes.
func (c Cell) class() int  { return int(c >> ClassShift & 15) }
func (c Cell) offset() int { return int(c&(1<<ClassShift-1)) * unit }

func nodeCell(class, offset int) Cell {
	return TagNode<<TagShift | Cell(class)<<ClassShift | Cell(offset/unit)
}

// ErrFull is a table without room for a change; it is as it was.
var ErrFull = errors.New("the set's table is full")

// Table is a table in a piece of memory.
type Table struct {
	mem  []byte
	grow bool   // mem is this process's own and may be made larger
	wait func() // until no reader can be where readers may have been when it was called
}

// New makes an empty table of a size in bytes, in memory of its own that grows as it needs to.
func New() *Table {
	t := &Table{mem: make([]byte, headBytes, 4096), grow: true, wait: func() {}}
	t.format()
	return t
}

// Open takes memory that holds a table, or zeroes, which become an empty one. The caller sees to it that there is one writer at a time;
// wait must return only after all readers that were at work when it was called are through.
func Open(mem []byte, wait func()) (*Table, error) {
	if len(mem) < headBytes || len(mem)%8 != 0 || uintptr(unsafe.Pointer(unsafe.SliceData(mem)))%8 != 0 {
		return nil, fmt.Errorf("set table: %d bytes are no table", len(mem))
	}
	t := &Table{mem: mem, wait: wait}
	switch t.head(headMagic) {
	case magic:
	case 0:
		t.format()
	default:
		return nil, errors.New("set table: of another version")
	}
	return t, nil
}

// Bytes is the memory: as a map's value it must be as long as a power of two, see Size.
func (t *Table) Bytes() []byte { return t.mem }

// Size is the smallest power of two that holds n bytes and no less than a page.
func Size(n int) int { return 1 << bits.Len(uint(max(n, 4096)-1)) }

// Used is the bytes from the beginning to the end of the last node.
func (t *Table) Used() int { return int(t.head(headEnd)) * unit }

// Lookup is the cell of a key.
func (t *Table) Lookup(root int, key []uint16) Cell {
	c := t.cell(4 * root)
	for n := 1; c.isNode() && len(key) > 0; key = key[n:] {
		if n = 1; c.class() == Path {
			c, n = t.follow(c, key)
		} else {
			c = t.at(c, key[0])
		}
	}
	return c
}

// at is a node's cell for a value of its word.
func (t *Table) at(node Cell, w uint16) Cell {
	off := node.offset()
	if node.class() == Direct {
		return t.cell(off + 4*int(w))
	}
	i, n := 0, 1<<node.class()
	for half := n / 2; half > 0; half /= 2 {
		if t.word16(off+2*(i+half)) <= w {
			i += half
		}
	}
	return t.cell(off + 2*n + 4*i)
}

// The header's words, behind the roots.
const (
	headMagic = iota + Roots
	headEnd   // units in use from the beginning
	headFree  // 16 heads of lists of free nodes, by class
	headLimbo = headFree + 16
	headNotes = headLimbo + 16
)

// NotesOffset is where the notes are, words that the table's users keep for themselves: Notes of them.
const (
	NotesOffset = 4 * headNotes
	Notes       = (headBytes - NotesOffset) / 4
)

// Note reads one of the notes.
func (t *Table) Note(i int) uint32 { return t.head(headNotes + i) }

// SetNote writes one of the notes.
func (t *Table) SetNote(i int, v uint32) { t.setHead(headNotes+i, v) }

func (t *Table) format() {
	t.setHead(headEnd, headBytes/unit)
	t.setHead(headMagic, magic)
}

func (t *Table) head(i int) uint32       { return uint32(t.cell(4 * i)) }
func (t *Table) setHead(i int, v uint32) { t.setCell(4*i, Cell(v)) }

// cell and setCell read and write 32 bits in one piece, in program order.
func (t *Table) cell(off int) Cell { return Cell(atomic.LoadUint32(t.word(off))) }

func (t *Table) setCell(off int, c Cell) { atomic.StoreUint32(t.word(off), uint32(c)) }

func (t *Table) word16(off int) uint16       { return binary.NativeEndian.Uint16(t.mem[off:]) }
func (t *Table) setWord16(off int, v uint16) { binary.NativeEndian.PutUint16(t.mem[off:], v) }

func (t *Table) word(off int) *uint32 {
	_ = t.mem[off+3]
	return (*uint32)(unsafe.Pointer(&t.mem[off]))
}
