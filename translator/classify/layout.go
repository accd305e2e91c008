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

// Item is a box as it is compared, and what its rule answers. It is never in two lines of the cache.
type Item struct {
	SrcFrom, SrcLen, DstFrom, DstLen uint16
	Answer                           Answer
}

// Answer is what a rule answers, with its number in front, so that of two answers the less is that of the first rule: a number of 24 bits,
// the rule's Slot as a signed one of 24, its Code, and a byte of the item that it stands in: IsLast, IsList, and the pattern.
type Answer uint64

// Where the parts of an Answer are, and what its lowest byte has beside the pattern.
const (
	RuleShift = 40
	SlotShift = 16
	SlotBits  = RuleShift - SlotShift
	CodeShift = 8

	IsLast      Answer = 1 << 7 // of its list
	IsList      Answer = 1 << 6 // of a cell: a ref stands in place of ports
	PatternMask        = 1<<6 - 1
)

// most is how many rules there may be, and what slots are below.
const (
	mostRules = 1<<(64-RuleShift) - 1
	mostSlots = 1 << (SlotBits - 1)
)

// The bytes of an Item. Those of a cell are the same but for the first four, the word of the row that it belongs to, which is the owner; and
// for the ports, in place of which a ref may stand.
const (
	ItemShift    = 4
	ItemSize     = 1 << ItemShift
	DstOffset    = 4
	RefOffset    = 4
	AnswerOffset = 8
)

// write writes an item to the bytes, as encoding/binary would.
func (x *Item) write(order binary.ByteOrder, to []byte) {
	_ = to[ItemSize-1]
	order.PutUint16(to, x.SrcFrom)
	order.PutUint16(to[2:], x.SrcLen)
	order.PutUint16(to[DstOffset:], x.DstFrom)
	order.PutUint16(to[DstOffset+2:], x.DstLen)
	order.PutUint64(to[AnswerOffset:], uint64(x.Answer))
}

// first is what the cells of a list have: its one item, which asks for no source port, or the ref of all.
type first struct {
	Item
	ref uint32
}

// write writes a cell to the bytes.
func (x *first) write(order binary.ByteOrder, to []byte, owner uint32) {
	x.Item.write(order, to)
	order.PutUint32(to, owner)
	if x.Answer&IsList != 0 {
		order.PutUint32(to[RefOffset:], x.ref)
	}
}

// item is a box as an Item.
func (b *builder) item(x box) Item {
	r := &b.rules[x.rule]
	slot := Answer(r.Slot) & (1<<SlotBits - 1)
	return Item{SrcFrom: x.src.From, SrcLen: x.src.To - x.src.From, DstFrom: x.dst.From, DstLen: x.dst.To - x.dst.From,
		Answer: Answer(x.rule)<<RuleShift | slot<<SlotShift | Answer(r.Code)<<CodeShift | Answer(x.pattern)}
}
