package prune

import "github.com/cilium/ebpf/asm"

// live is registers that are read later, as bits.
type live uint16

const arguments live = 1<<asm.R1 | 1<<asm.R2 | 1<<asm.R3 | 1<<asm.R4 | 1<<asm.R5

func bit(r asm.Register) live { return 1 << r }

// dropDead drops what only computes what nobody reads.
func (g *graph) dropDead() {
	before := make([]live, len(g.insns)+1) // of the first instruction of a block
	for changed := true; changed; {
		changed = false
		for _, f := range g.fns {
			if !f.opaque && g.kept[f.from] {
				changed = g.followBack(f, before, nil) || changed
			}
		}
	}
	for _, f := range g.fns {
		if !f.opaque && g.kept[f.from] {
			g.followBack(f, before, g.drop)
		}
	}
}

func (g *graph) drop(i int) { g.kept[i] = false }

// followBack goes from a function's end to its begin, and reports whether more registers are read than was known. What computes something
// that nobody reads does not read anything either; dead is called with it.
func (g *graph) followBack(f function, before []live, dead func(i int)) (changed bool) {
	var now live
	for i := f.end - 1; i >= f.from; i-- {
		ins := &g.insns[i]
		if g.kept[i] {
			switch k := kindOf(ins); {
			case k == exit:
				now = bit(asm.R0)
			case k == jump && ins.OpCode.JumpOp() == asm.Ja:
				now = before[g.to[i]]
			case k == jump:
				now |= before[g.to[i]] | reads(ins)
			case k == call:
				now = now&^(arguments|bit(asm.R0)) | arguments
			case computes(ins) && now&bit(ins.Dst) == 0 && !g.begins(i):
				if dead != nil {
					dead(i)
				}
			default:
				now = now&^writes(ins) | reads(ins)
			}
		}
		if g.leads[i] {
			if before[i] != now {
				before[i], changed = now, true
			}
		}
	}
	return changed
}

// computes reports whether an instruction does nothing but write its register.
func computes(ins *asm.Instruction) bool {
	switch ins.OpCode.Class() {
	case asm.ALUClass, asm.ALU64Class:
		return true
	case asm.LdClass:
		return ins.OpCode.IsDWordLoad() && !ins.IsFunctionReference()
	}
	return false
}

// writes is the register that an instruction writes without reading it.
func writes(ins *asm.Instruction) live {
	switch ins.OpCode.Class() {
	case asm.ALUClass, asm.ALU64Class, asm.LdXClass:
		return bit(ins.Dst)
	case asm.LdClass:
		if ins.OpCode.IsDWordLoad() {
			return bit(ins.Dst)
		}
	}
	return 0
}

// reads is the registers that an instruction reads, or perhaps.
func reads(ins *asm.Instruction) (r live) {
	switch ins.OpCode.Class() {
	case asm.ALUClass, asm.ALU64Class:
		if ins.OpCode.ALUOp() != asm.Mov {
			r = bit(ins.Dst)
		}
		if ins.OpCode.ALUOp() == asm.Swap {
			return r
		}
		if ins.OpCode.Source() == asm.RegSource {
			r |= bit(ins.Src)
		}
	case asm.LdXClass:
		r = bit(ins.Src)
	case asm.StClass:
		r = bit(ins.Dst)
	case asm.StXClass:
		r = bit(ins.Dst) | bit(ins.Src) | bit(asm.R0)
	case asm.LdClass:
		if !ins.OpCode.IsDWordLoad() {
			r = arguments | bit(asm.R6) | bit(asm.R0)
		}
	case asm.JumpClass, asm.Jump32Class:
		r = bit(ins.Dst)
		if ins.OpCode.Source() == asm.RegSource {
			r |= bit(ins.Src)
		}
	}
	return r
}
