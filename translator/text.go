package translator

import (
	"fmt"

	"github.com/cilium/ebpf/asm"
)

// text is an instruction as the kernel's verifier and bpftool write it, except that members of fw_pkt have their names.
func (l *layout) text(ins asm.Instruction) string {
	op := ins.OpCode
	switch op.Class() {
	case asm.LdClass:
		if name := ins.Reference(); name != "" && ins.Constant>>32 != 0 {
			return fmt.Sprintf("%s = map %s + %d", ins.Dst, name, ins.Constant>>32)
		} else if name != "" {
			return fmt.Sprintf("%s = map %s", ins.Dst, name)
		}
		return fmt.Sprintf("%s = %#x ll", ins.Dst, uint64(ins.Constant))
	case asm.LdXClass:
		return fmt.Sprintf("%s = %s", ins.Dst, l.memory(op.Size(), ins.Src, ins.Offset))
	case asm.StClass:
		return fmt.Sprintf("%s = %d", l.memory(op.Size(), ins.Dst, ins.Offset), ins.Constant)
	case asm.StXClass:
		return fmt.Sprintf("%s = %s", l.memory(op.Size(), ins.Dst, ins.Offset), ins.Src)
	case asm.ALUClass, asm.ALU64Class:
		return aluText(ins)
	}
	return jumpText(ins)
}

// memory is a place in memory, as C would read it.
func (l *layout) memory(size asm.Size, base asm.Register, off int16) string {
	if base == regPkt {
		return fmt.Sprintf("(u%d)pkt->%s", 8*size.Sizeof(), l.names[off])
	}
	return fmt.Sprintf("*(u%d *)(%s %+d)", 8*size.Sizeof(), register(base, true), off)
}

var aluOps = map[asm.ALUOp]string{
	asm.Add: "+=", asm.Sub: "-=", asm.And: "&=", asm.Xor: "^=", asm.Mov: "=", asm.Mul: "*=",
	asm.LSh: "<<=", asm.RSh: ">>=", asm.ArSh: "s>>=",
}

func aluText(ins asm.Instruction) string {
	dst := register(ins.Dst, ins.OpCode.Class() == asm.ALU64Class)
	op, known := aluOps[ins.OpCode.ALUOp()]
	switch {
	case ins.OpCode.ALUOp() == asm.Swap:
		return fmt.Sprintf("%s = be%d %s", ins.Dst, ins.Constant, ins.Dst)
	case !known:
		return fmt.Sprint(ins)
	}
	return fmt.Sprintf("%s %s %s", dst, op, operand(ins, ins.OpCode.Class() == asm.ALU64Class))
}

var jumpOps = map[asm.JumpOp]string{
	asm.JEq: "==", asm.JNE: "!=", asm.JGT: ">", asm.JGE: ">=", asm.JLT: "<", asm.JLE: "<=",
}

func jumpText(ins asm.Instruction) string {
	wide := ins.OpCode.Class() == asm.JumpClass
	op, known := jumpOps[ins.OpCode.JumpOp()]
	switch {
	case isExit(ins):
		return "exit"
	case isGoto(ins):
		return "goto " + ins.Reference()
	case ins.IsFunctionCall():
		return "call " + ins.Reference()
	case ins.IsBuiltinCall():
		return "call bpf_map_lookup_elem" // the only one that is written
	case !known:
		return fmt.Sprint(ins)
	}
	return fmt.Sprintf("if %s %s %s goto %s", register(ins.Dst, wide), op, operand(ins, wide), ins.Reference())
}

// register is a register's name: r for all 64 bits of it, w for the lower half.
func register(r asm.Register, wide bool) string {
	if wide {
		return fmt.Sprintf("r%d", r)
	}
	return fmt.Sprintf("w%d", r)
}

func operand(ins asm.Instruction, wide bool) string {
	switch {
	case ins.OpCode.Source() == asm.RegSource:
		return register(ins.Src, wide)
	case wide:
		return fmt.Sprint(ins.Constant)
	}
	return fmt.Sprint(uint32(ins.Constant))
}
