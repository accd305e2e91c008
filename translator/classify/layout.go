package classify

import "encoding/binary"

// layout is the table's block of bytes while it is filled.
type layout struct {
	order binary.ByteOrder
	data  []byte
	like  *Shape // of the table whose place it takes
	rooms []int
}

// align is where arrays begin: cache lines.
const align = 64

// put appends an array, with room for more elements behind it, and is its offset.
func put[T uint8 | uint16 | uint32 | uint64 | Item](l *layout, array []T, spare int) int {
	var one T
	off := (len(l.data) + align - 1) &^ (align - 1)
	end := off + binary.Size(one)*(len(array)+spare)
	l.data = append(l.data, make([]byte, end-len(l.data))...)
	write(l.order, l.data[off:], array)
	return off
}

// write writes an array to the bytes.
func write[T uint8 | uint16 | uint32 | uint64 | Item](order binary.ByteOrder, to []byte, array []T) {
	switch array := any(array).(type) {
	case []uint8:
		copy(to, array)
	case []uint16:
		for i, v := range array {
			order.PutUint16(to[2*i:], v)
		}
	case []uint32:
		for i, v := range array {
			order.PutUint32(to[4*i:], v)
		}
	case []uint64:
		for i, v := range array {
			order.PutUint64(to[8*i:], v)
		}
	case []Item:
		for i := range array {
			array[i].write(order, to[ItemSize*i:])
		}
	}
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

// write writes an item to the bytes, as encoding/binary would.
func (x *Item) write(order binary.ByteOrder, to []byte) {
	_ = to[ItemSize-1]
	order.PutUint16(to, x.SrcFrom)
	order.PutUint16(to[2:], x.SrcLen)
	order.PutUint16(to[4:], x.DstFrom)
	order.PutUint16(to[6:], x.DstLen)
	order.PutUint32(to[RuleOffset:], x.Rule)
	order.PutUint32(to[MoreOffset:], x.More)
	order.PutUint32(to[AnswerOffset:], x.Slot)
	order.PutUint16(to[AnswerOffset+4:], x.Code)
	to[PatternOffset], to[LastOffset] = x.Pattern, x.Last
}

// item is a box as an Item.
func (b *builder) item(x box) Item {
	r := &b.rules[x.rule]
	return Item{SrcFrom: x.src.From, SrcLen: x.src.To - x.src.From, DstFrom: x.dst.From, DstLen: x.dst.To - x.dst.From,
		Rule: uint32(x.rule), More: none, Slot: r.Slot, Code: r.Code, Pattern: x.pattern}
}
