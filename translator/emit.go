package translator

import (
	"fmt"
	"math"

	"github.com/cilium/ebpf/asm"
)

// The registers and stack slots of generated code; doc.go says why.
const (
	regPkt  = asm.R6
	regCode = asm.R7
	regVal  = asm.R1 // the field under comparison
	regImm  = asm.R2 // an operand too wide for an immediate

	stackSlot  = -32
	stackKey   = -56  // ElementKey
	stackValue = -88  // Element
	stackAsk   = -80  // bpf.Meter, bpf.Recent
	stackTuple = -136 // the key of an element of several parts
)

// emitter writes one function. It leaves out what cannot be reached, which the verifier refuses, and labels that nothing jumps to.
// A jump to a label that was never placed is an error that done reports.
type emitter struct {
	layout *layout
	name   string // of the function: the first part of its labels
	insns  asm.Instructions

	labels  int               // given out so far
	used    map[string]bool   // labels that something jumps to
	alias   map[string]string // labels that stand where another one does
	pending string            // label of the next instruction
	comment string            // source comment of the next instruction
	dead    bool              // the next instruction cannot be reached

	share func(shareable) string // the function that asks for a condition, "" if it is to stand here
}

func newEmitter(l *layout, name string) *emitter {
	return &emitter{layout: l, name: name, used: map[string]bool{}, alias: map[string]string{}, pending: name}
}

// newLabel makes a label's name. Numbers keep labels of one function apart, its name those of different ones.
func (e *emitter) newLabel(what string) string {
	e.labels++
	return fmt.Sprintf("%s.%s%d", e.name, what, e.labels)
}

// place puts a label in front of the next instruction. All jumps to it are written by then.
func (e *emitter) place(label string) {
	if !e.used[label] {
		return
	}
	delete(e.used, label)
	e.dropJumpTo(label)
	e.dead = false
	if e.pending == "" {
		e.pending = label
		return
	}
	e.alias[label] = e.pending
}

// placeLoop puts a label that only what follows jumps to in front of the next instruction.
func (e *emitter) placeLoop(label string) {
	if e.pending == "" {
		e.pending = label
		return
	}
	e.alias[label] = e.pending
}

// dropJumpTo takes back a jump to the very next instruction.
func (e *emitter) dropJumpTo(label string) {
	if len(e.insns) == 0 || e.pending != "" {
		return
	}
	last := e.insns[len(e.insns)-1]
	if !isGoto(last) || last.Reference() != label || last.Source() != nil {
		return
	}
	e.insns = e.insns[:len(e.insns)-1]
	e.pending = last.Symbol()
}

// remark sets the source line of the next instruction.
func (e *emitter) remark(text string) { e.comment = text }

// put appends instructions.
func (e *emitter) put(insns ...asm.Instruction) {
	for _, ins := range insns {
		if e.dead {
			return
		}
		if e.pending != "" {
			ins = ins.WithSymbol(e.pending)
			e.pending = ""
		}
		if e.comment != "" {
			ins = ins.WithSource(asm.Comment(e.comment))
			e.comment = ""
		}
		if ref := ins.Reference(); ref != "" {
			e.used[ref] = true
		}
		e.insns = append(e.insns, ins)
		e.dead = isGoto(ins) || isExit(ins)
	}
}

func isGoto(ins asm.Instruction) bool { return ins.OpCode.JumpOp() == asm.Ja }
func isExit(ins asm.Instruction) bool { return ins.OpCode.JumpOp() == asm.Exit }

// done is the function, with every jump in reach of its label.
func (e *emitter) done() (asm.Instructions, error) {
	for i := range e.insns {
		if to, ok := e.alias[e.insns[i].Reference()]; ok {
			e.insns[i] = e.insns[i].WithReference(to)
		}
	}
	return shortenJumps(e.insns, e.name)
}

// goTo jumps.
func (e *emitter) goTo(label string) { e.put(asm.Ja.Label(label)) }

// load brings part of a member of fw_pkt into the value register, in host byte order if it is an address.
func (e *emitter) load(f fieldPart) {
	e.put(asm.LoadMem(regVal, regPkt, f.off, f.size))
	if f.swap {
		e.put(asm.HostTo(asm.BE, regVal, f.size))
	}
}

// alu applies an operation with a constant to the value register.
func (e *emitter) alu(op asm.ALUOp, size asm.Size, v uint64) {
	switch {
	case size != asm.DWord:
		e.put(op.Imm32(regVal, int32(uint32(v))))
	case v <= math.MaxInt32:
		e.put(op.Imm(regVal, int32(v)))
	default:
		e.put(asm.LoadImm(regImm, int64(v), asm.DWord), op.Reg(regVal, regImm))
	}
}

// branch jumps to a label if the value register stands in a relation to a constant.
func (e *emitter) branch(op asm.JumpOp, size asm.Size, v uint64, label string) {
	switch {
	case size != asm.DWord:
		e.put(op.Imm32(regVal, int32(uint32(v)), label))
	case v <= math.MaxInt32:
		e.put(op.Imm(regVal, int32(v), label))
	default:
		e.put(asm.LoadImm(regImm, int64(v), asm.DWord), op.Reg(regVal, regImm, label))
	}
}

// loadMap brings a map's address into a register.
func (e *emitter) loadMap(r asm.Register, name string) {
	e.put(asm.LoadMapPtr(r, 0).WithReference(name))
}

// call calls a global function that takes the packet first, and perhaps R2. The verifier takes all of R1-R5 for arguments (Linux 6.18,
// compute_insn_live_regs in kernel/bpf/verifier.c): if each way to a call left something else in them, it would follow all ways to their ends.
func (e *emitter) call(fn string) { e.callNumbers(fn, 1) }

// callNumbers calls one that takes so many numbers behind the packet.
func (e *emitter) callNumbers(fn string, numbers int) {
	for r := asm.R2 + asm.Register(numbers); r <= asm.R5; r++ {
		e.put(asm.Mov.Imm(r, 0))
	}
	e.put(asm.Mov.Reg(asm.R1, regPkt), asm.Call.Label(fn))
}

// store writes a constant to a member of fw_pkt.
func (e *emitter) store(f fieldPart, v int64) {
	e.put(asm.StoreImm(regPkt, f.off, v, f.size))
}
