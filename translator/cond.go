package translator

import (
	"github.com/cilium/ebpf/asm"

	"github.com/bpfwall/bpfwall/ruleset"
)

// cond is a condition that code can be written for: a jump that is taken if it holds, or unless it does.
type cond interface {
	jumpIf(e *emitter, label string)
	jumpUnless(e *emitter, label string)
}

// allOf holds if every part does, anyOf if one does. Parts are tried in order, until one decides.
type (
	allOf []cond
	anyOf []cond
)

func (c allOf) jumpUnless(e *emitter, label string) {
	for _, part := range c {
		part.jumpUnless(e, label)
	}
}

func (c allOf) jumpIf(e *emitter, label string) {
	if len(c) == 0 {
		e.goTo(label)
		return
	}
	skip := e.newLabel("skip")
	c[:len(c)-1].jumpUnless(e, skip)
	c[len(c)-1].jumpIf(e, label)
	e.place(skip)
}

func (c anyOf) jumpIf(e *emitter, label string) {
	for _, part := range c {
		part.jumpIf(e, label)
	}
}

func (c anyOf) jumpUnless(e *emitter, label string) {
	if len(c) == 0 {
		e.goTo(label)
		return
	}
	hit := e.newLabel("hit")
	c[:len(c)-1].jumpIf(e, hit)
	c[len(c)-1].jumpUnless(e, label)
	e.place(hit)
}

// not holds if its condition does not.
type not struct{ cond }

func (c not) jumpIf(e *emitter, label string)     { c.cond.jumpUnless(e, label) }
func (c not) jumpUnless(e *emitter, label string) { c.cond.jumpIf(e, label) }

// decider is code that goes to one of two places, and never on.
type decider interface {
	jump(e *emitter, hit, miss string)
}

// decided is a decider as a condition.
type decided struct{ decider }

func (c decided) jumpIf(e *emitter, label string) {
	miss := e.newLabel("miss")
	c.jump(e, label, miss)
	e.place(miss)
}

func (c decided) jumpUnless(e *emitter, label string) {
	hit := e.newLabel("hit")
	c.jump(e, hit, label)
	e.place(hit)
}

// compare holds if ((field & mask) - base) op value. A mask of 0 stands for none.
type compare struct {
	field      fieldPart
	mask, base uint64
	op         asm.JumpOp
	value      uint64
}

// inverse is the jump that is taken where another is not.
var inverse = map[asm.JumpOp]asm.JumpOp{
	asm.JEq: asm.JNE, asm.JNE: asm.JEq, asm.JLE: asm.JGT, asm.JGT: asm.JLE, asm.JGE: asm.JLT, asm.JLT: asm.JGE,
}

func (c compare) jumpIf(e *emitter, label string)     { c.jump(e, c.op, label) }
func (c compare) jumpUnless(e *emitter, label string) { c.jump(e, inverse[c.op], label) }

func (c compare) jump(e *emitter, op asm.JumpOp, label string) {
	e.load(c.field)
	if c.mask != 0 {
		e.alu(asm.And, c.field.size, c.mask)
	}
	if c.base != 0 {
		e.alu(asm.Sub, c.field.size, c.base)
	}
	e.branch(op, c.field.size, c.value, label)
}

// search holds if a number is in one of many ranges, which are sorted and apart. It is a tree of comparisons. The number stays in
// its register: no path through the tree compares it more than about 2 log2(n) times, and it is dead at the end.
type search struct {
	field  fieldPart
	ranges []ruleset.Range
}

func (c search) jump(e *emitter, hit, miss string) {
	e.load(c.field)
	c.node(e, c.ranges, hit, miss)
}

// node jumps to hit or to miss.
func (c search) node(e *emitter, ranges []ruleset.Range, hit, miss string) {
	if len(ranges) == 0 {
		e.goTo(miss)
		return
	}
	mid := len(ranges) / 2
	r, above := ranges[mid], miss
	if mid+1 < len(ranges) {
		above = e.newLabel("above")
	}
	e.branch(asm.JGT, c.field.size, r.To, above)
	e.branch(asm.JGE, c.field.size, r.From, hit)
	c.node(e, ranges[:mid], hit, miss)
	if above != miss {
		e.place(above)
		c.node(e, ranges[mid+1:], hit, miss)
	}
}

// nth holds for one of every so many packets that ask.
type nth struct {
	slot   uint32
	sample *ruleset.Sample
}

func (c nth) jumpIf(e *emitter, label string)     { c.jump(e, asm.JNE, label) }
func (c nth) jumpUnless(e *emitter, label string) { c.jump(e, asm.JEq, label) }

func (c nth) jump(e *emitter, op asm.JumpOp, label string) {
	e.put(
		asm.Mov.Imm32(asm.R1, int32(c.slot)),
		asm.LoadImm(asm.R2, int64(c.sample.Every), asm.DWord),
		asm.LoadImm(asm.R3, int64(c.sample.Skip), asm.DWord),
		asm.Call.Label("fw_nth"),
		op.Imm32(asm.R0, 0, label))
}

// chance holds for a share of all packets, of ruleset.SampleAll.
type chance struct{ share uint32 }

func (c chance) jumpIf(e *emitter, label string)     { c.jump(e, asm.JLT, label) }
func (c chance) jumpUnless(e *emitter, label string) { c.jump(e, asm.JGE, label) }

func (c chance) jump(e *emitter, op asm.JumpOp, label string) {
	e.put(asm.FnGetPrandomU32.Call(), asm.And.Imm32(asm.R0, ruleset.SampleAll-1), op.Imm32(asm.R0, int32(c.share), label))
}

// quota holds until the bytes of the packets that ask are more than so many.
type quota struct {
	slot  uint32
	bytes uint64
}

func (c quota) jumpIf(e *emitter, label string)     { c.jump(e, asm.JNE, label) }
func (c quota) jumpUnless(e *emitter, label string) { c.jump(e, asm.JEq, label) }

func (c quota) jump(e *emitter, op asm.JumpOp, label string) {
	e.put(
		asm.Mov.Imm32(asm.R1, int32(c.slot)),
		asm.LoadImm(asm.R2, int64(c.bytes), asm.DWord),
		asm.LoadMem(asm.R3, regPkt, e.layout.whole("length").off, asm.Word),
		asm.Call.Label("fw_quota"),
		op.Imm32(asm.R0, 0, label))
}

// bucket holds if a token bucket has a token, which it takes.
type bucket struct {
	slot      uint32
	cost, max uint64 // ns
}

func (c bucket) jumpIf(e *emitter, label string)     { c.jump(e, asm.JNE, label) }
func (c bucket) jumpUnless(e *emitter, label string) { c.jump(e, asm.JEq, label) }

func (c bucket) jump(e *emitter, op asm.JumpOp, label string) {
	e.put(
		asm.Mov.Imm32(asm.R1, int32(c.slot)),
		asm.LoadImm(asm.R2, int64(c.cost), asm.DWord),
		asm.LoadImm(asm.R3, int64(c.max), asm.DWord),
		asm.Call.Label("fw_limit"),
		op.Imm32(asm.R0, 0, label))
}
