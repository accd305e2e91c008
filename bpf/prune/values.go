package prune

import (
	"github.com/cilium/ebpf/asm"
)

// value is what is known of a register.
type value struct {
	kind valueKind
	of   string // address: the map of constants
	n    uint64 // number, or offset in the map
}

type valueKind uint8

const (
	unknown valueKind = iota
	number
	address
)

// registers is what is known of all of them; nothing of the zero value.
type registers [11]value

// join forgets what two ways do not agree on, and reports whether that was anything.
func (r *registers) join(other *registers) (changed bool) {
	for i := range r {
		if r[i].kind != unknown && r[i] != other[i] {
			r[i], changed = value{}, true
		}
	}
	return changed
}

// forget is for what a call may leave in registers.
func (r *registers) forget(from, to asm.Register) {
	for ; from <= to; from++ {
		r[from] = value{}
	}
}

// do is what an instruction does to registers.
func (f *flow) do(ins *asm.Instruction, r *registers) {
	switch ins.OpCode.Class() {
	case asm.ALUClass, asm.ALU64Class:
		r[ins.Dst] = r.compute(ins)
	case asm.LdClass:
		if !ins.OpCode.IsDWordLoad() {
			r.forget(asm.R0, asm.R5)
			return
		}
		r[ins.Dst] = value{}
		if ins.Src == asm.PseudoMapValue && f.maps[ins.Reference()] != nil {
			r[ins.Dst] = value{address, ins.Reference(), uint64(ins.Constant) >> 32}
		}
	case asm.LdXClass:
		r[ins.Dst] = f.load(ins, r[ins.Src])
	case asm.StXClass:
		if ins.OpCode.Mode() == asm.AtomicMode {
			r[ins.Dst], r[ins.Src], r[asm.R0] = value{}, value{}, value{}
		}
	case asm.JumpClass:
		r.forget(asm.R0, asm.R5)
	}
}

// load is what is loaded from constants.
func (f *flow) load(ins *asm.Instruction, from value) value {
	b, size := f.maps[from.of], uint64(ins.OpCode.Size().Sizeof())
	at := from.n + uint64(int64(ins.Offset))
	if from.kind != address || ins.OpCode.Mode() != asm.MemMode || at > uint64(len(b)) || uint64(len(b))-at < size || relocated(ins) {
		return value{}
	}
	b = b[at:]
	switch size {
	case 1:
		return value{kind: number, n: uint64(b[0])}
	case 2:
		return value{kind: number, n: uint64(f.order.Uint16(b))}
	case 4:
		return value{kind: number, n: uint64(f.order.Uint32(b))}
	}
	return value{kind: number, n: f.order.Uint64(b)}
}

// compute is what arithmetic leaves in its register.
func (r *registers) compute(ins *asm.Instruction) value {
	a, b := r[ins.Dst], value{kind: number, n: uint64(ins.Constant)}
	if ins.OpCode.Source() == asm.RegSource {
		b = r[ins.Src]
	}
	if ins.Offset != 0 || relocated(ins) {
		return value{}
	}
	wide := ins.OpCode.Class() == asm.ALU64Class
	op := ins.OpCode.ALUOp()
	switch {
	case op == asm.Mov && wide:
		return b
	case b.kind != number || a.kind != number && op != asm.Mov && (a.kind != address || op != asm.Add || !wide):
		return value{}
	case wide:
		n, ok := arithmetic(op, a.n, b.n, 63)
		return known(a, op, n, ok)
	}
	n, ok := arithmetic(op, uint64(uint32(a.n)), uint64(uint32(b.n)), 31)
	return known(value{}, op, uint64(uint32(n)), ok)
}

// known is the result of arithmetic: an address stays one.
func known(a value, op asm.ALUOp, n uint64, ok bool) value {
	switch {
	case !ok:
		return value{}
	case a.kind == address && op != asm.Mov:
		return value{address, a.of, n}
	}
	return value{kind: number, n: n}
}

func arithmetic(op asm.ALUOp, a, b, shift uint64) (n uint64, ok bool) {
	switch op {
	case asm.Mov:
		return b, true
	case asm.Add:
		return a + b, true
	case asm.Sub:
		return a - b, true
	case asm.Mul:
		return a * b, true
	case asm.And:
		return a & b, true
	case asm.Or:
		return a | b, true
	case asm.Xor:
		return a ^ b, true
	case asm.LSh:
		return a << (b & shift), true
	case asm.RSh:
		return a >> (b & shift), true
	}
	return 0, false
}

// takes reports whether a jump is taken, if that is known.
func (r *registers) takes(ins *asm.Instruction) (taken, ok bool) {
	op := ins.OpCode.JumpOp()
	if op == asm.Ja {
		return true, true
	}
	a, b := r[ins.Dst], value{kind: number, n: uint64(ins.Constant)}
	if ins.OpCode.Source() == asm.RegSource {
		b = r[ins.Src]
	}
	if a.kind != number || b.kind != number || relocated(ins) {
		return false, false
	}
	if ins.OpCode.Class() == asm.Jump32Class {
		return compare(op, uint64(uint32(a.n)), uint64(uint32(b.n)), int64(int32(a.n)), int64(int32(b.n)))
	}
	return compare(op, a.n, b.n, int64(a.n), int64(b.n))
}

func compare(op asm.JumpOp, a, b uint64, sa, sb int64) (holds, ok bool) {
	switch op {
	case asm.JEq:
		return a == b, true
	case asm.JNE:
		return a != b, true
	case asm.JGT:
		return a > b, true
	case asm.JGE:
		return a >= b, true
	case asm.JLT:
		return a < b, true
	case asm.JLE:
		return a <= b, true
	case asm.JSet:
		return a&b != 0, true
	case asm.JSGT:
		return sa > sb, true
	case asm.JSGE:
		return sa >= sb, true
	case asm.JSLT:
		return sa < sb, true
	case asm.JSLE:
		return sa <= sb, true
	}
	return false, false
}
