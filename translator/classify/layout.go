package classify

import (
	"bytes"
	"encoding/binary"
)

// layout is the table's block of bytes while it is filled.
type layout struct {
	order binary.ByteOrder
	data  bytes.Buffer
	like  *Shape // of the table whose place it takes
	rooms []int
}

// align is where arrays begin: cache lines.
const align = 64

// put appends an array, with room for more elements behind it, and is its offset.
func put[T uint8 | uint16 | uint32 | uint64 | Item](l *layout, array []T, spare int) int {
	if n := l.data.Len() % align; n > 0 {
		l.data.Write(make([]byte, align-n))
	}
	off := l.data.Len()
	_ = binary.Write(&l.data, l.order, array) // a buffer takes all
	_ = binary.Write(&l.data, l.order, make([]T, spare))
	return off
}

// Item is a box as it is compared, and what its rule answers.
type Item struct {
	SrcFrom, SrcLen, DstFrom, DstLen uint16
	Rule                             uint32
	More                             uint32 // of a cell: the ref of its further items, or None
	Slot                             uint32 // from here on, 6 bytes: the answer
	Code                             uint16
	Pattern                          uint8
	Last                             uint8 // 1: of its list
}

// The bytes of an Item, and where in it the members behind the ports are. Refs to items count units.
const (
	ItemSize      = 24
	RuleOffset    = 8
	MoreOffset    = 12
	AnswerOffset  = 16
	PatternOffset = 22
	LastOffset    = 23

	UnitShift = 3 // a unit is 8 bytes
	itemUnits = ItemSize >> UnitShift
)

// item is a box as an Item.
func (b *builder) item(x box) Item {
	r := &b.rules[x.rule]
	return Item{SrcFrom: x.src.From, SrcLen: x.src.To - x.src.From, DstFrom: x.dst.From, DstLen: x.dst.To - x.dst.From,
		Rule: uint32(x.rule), More: none, Slot: r.Slot, Code: r.Code, Pattern: x.pattern}
}
