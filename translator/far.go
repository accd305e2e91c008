package translator

import (
	"fmt"
	"math"

	"github.com/cilium/ebpf/asm"
)

// trampolineAt is how far from a jump its trampoline is put, in instruction slots: well inside the range of a jump, since trampolines
// put in later push this one further away.
const trampolineAt = math.MaxInt16 - 2048

// shortenJumps gives every jump whose label is further away than its 16-bit offset reaches (the assembler would cut the offset
// off without a word) a trampoline on the way: a jump of its own that the code around it steps over.
func shortenJumps(insns asm.Instructions, name string) (asm.Instructions, error) {
	for n := 0; ; n++ {
		at, far, err := firstFar(insns)
		if err != nil || far < 0 {
			return insns, err
		}
		if n > len(insns) {
			return nil, fmt.Errorf("%s: jump to %s: no place for a trampoline", name, insns[far].Reference())
		}
		insns = addTrampoline(insns, at, far, fmt.Sprintf("%s.far%d", name, n))
	}
}

// slots is the raw offset of every instruction (64-bit constants take two), and of the end.
func slots(insns asm.Instructions) []int {
	at := make([]int, len(insns)+1)
	for i := range insns {
		at[i+1] = at[i] + int(insns[i].Size()/asm.InstructionSize)
	}
	return at
}

// firstFar finds the first jump out of reach; -1 if there is none.
func firstFar(insns asm.Instructions) (at []int, far int, err error) {
	at = slots(insns)
	label := map[string]int{}
	for i, ins := range insns {
		if s := ins.Symbol(); s != "" {
			label[s] = at[i]
		}
	}
	for i, ins := range insns {
		if !isJump(ins) {
			continue
		}
		to, ok := label[ins.Reference()]
		if !ok {
			return nil, -1, fmt.Errorf("jump to %q: no such label", ins.Reference())
		}
		if d := to - at[i] - 1; d > math.MaxInt16 || d < math.MinInt16 {
			return at, i, nil
		}
	}
	return at, -1, nil
}

// isJump reports whether an instruction jumps inside of the function.
func isJump(ins asm.Instruction) bool {
	return ins.OpCode.Class().IsJump() && ins.Reference() != "" && !ins.IsFunctionCall() && !isExit(ins)
}

// addTrampoline puts a jump to the label of the jump far in its reach, and lets every jump before it use it.
func addTrampoline(insns asm.Instructions, at []int, far int, name string) asm.Instructions {
	to := insns[far].Reference()
	pos := far + 1
	for pos < len(insns)-1 && at[pos+1] <= at[far]+trampolineAt {
		pos++
	}
	var hop asm.Instructions
	if prev := insns[pos-1]; !isGoto(prev) && !isExit(prev) {
		if insns[pos].Symbol() == "" {
			insns[pos] = insns[pos].WithSymbol(name + "over")
		}
		hop = append(hop, asm.Ja.Label(insns[pos].Symbol()))
	}
	hop = append(hop, asm.Ja.Label(to).WithSymbol(name))
	for i := far; i < pos; i++ {
		if insns[i].Reference() == to && isJump(insns[i]) {
			insns[i] = insns[i].WithReference(name)
		}
	}
	out := append(asm.Instructions{}, insns[:pos]...)
	return append(append(out, hop...), insns[pos:]...)
}
