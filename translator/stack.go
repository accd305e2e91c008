package translator

import (
	"fmt"

	"github.com/cilium/ebpf/asm"
)

// maxStack is the bytes of stack that the functions on a path of calls may take together: MAX_BPF_STACK of the kernel.
const maxStack = 512

// Bytes of which each takes a multiple (check_max_stack_depth in kernel/bpf/verifier.c): what rules are divided by holds on all kernels, and
// refused is only what none would take.
const (
	stackAlign      = 32
	stackAlignLater = 16
)

// frameOf is what a function that uses so many bytes takes.
func frameOf(bytes int) int { return max(1, (bytes+stackAlign-1)/stackAlign) * stackAlign }

func (c *code) frame() int { return frameOf(c.stack()) }

func (c *code) leastFrame() int {
	return (c.stack() + stackAlignLater - 1) / stackAlignLater * stackAlignLater
}

// stack is the bytes of stack that a function uses: as deep as it writes, reads, or hands out.
func (c *code) stack() int {
	low := 0
	for i := range c.insns {
		ins := &c.insns[i]
		switch class := ins.OpCode.Class(); {
		case class.IsStore() && ins.Dst == asm.R10, class.IsLoad() && ins.Src == asm.R10 && ins.OpCode.Mode() == asm.MemMode:
			low = min(low, int(ins.Offset))
		case ins.OpCode.ALUOp() == asm.Add && class.IsALU() && i > 0 && copiesFrame(&c.insns[i-1]) && c.insns[i-1].Dst == ins.Dst:
			low = min(low, int(ins.Constant))
		}
	}
	return -low
}

// copiesFrame reports whether an instruction is the first half of an address on the stack.
func copiesFrame(ins *asm.Instruction) bool {
	return ins.OpCode.Class() == asm.ALU64Class && ins.OpCode.ALUOp() == asm.Mov && ins.OpCode.Source() == asm.RegSource && ins.Src == asm.R10
}

// one counts functions.
func (c *code) one() int { return 1 }

// checkPaths checks that no path of calls takes more than the kernel gives.
func checkPaths(entry *code, all map[string]*code) error {
	const help = "make the chains on the longest way shorter, or the jumps fewer"
	if n := newHeights(all, (*code).one).of(entry.fn.Name); n > maxFrames {
		return &LimitError{What: fmt.Sprintf("ruleset: its chains make %d call frames, more than the kernel's %d", n, maxFrames), Help: help}
	}
	if n := newHeights(all, (*code).leastFrame).of(entry.fn.Name); n > maxStack {
		return &LimitError{What: fmt.Sprintf("ruleset: its chains take %d bytes of stack, more than the kernel's %d", n, maxStack), Help: help}
	}
	return nil
}
