package prune

import (
	"encoding/binary"

	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
)

// kind is what an instruction does to the flow of control.
type kind uint8

const (
	plain kind = iota
	jump       // always or on a condition, inside of the function
	call
	exit
	strange // nothing that clang makes for the processor that the objects are made for
)

func kindOf(ins *asm.Instruction) kind {
	if !ins.OpCode.Class().IsJump() {
		return plain
	}
	switch op := ins.OpCode.JumpOp(); {
	case op == asm.Exit:
		return exit
	case op == asm.Call:
		return call
	case op == asm.JCOND || op == asm.Ja && ins.OpCode.Class() == asm.Jump32Class:
		return strange
	}
	return jump
}

func isJump(ins *asm.Instruction) bool { return kindOf(ins) == jump }

// flow is what registers hold before each block of instructions, as far as constants decide.
type flow struct {
	*graph
	maps   map[string][]byte
	order  binary.ByteOrder
	before []*registers // of the first instruction of a block; nil: nothing leads there
	todo   []int        // blocks whose registers have changed
}

func newFlow(g *graph, constants map[string][]byte, order binary.ByteOrder) *flow {
	return &flow{graph: g, maps: constants, order: order, before: make([]*registers, len(g.insns)+1)}
}

// run follows the program from its entry until nothing changes: a register that may hold two numbers holds none that is known.
func (f *flow) run() {
	f.enter(0)
	for len(f.todo) > 0 {
		i := f.todo[len(f.todo)-1]
		f.todo = f.todo[:len(f.todo)-1]
		r := *f.before[i]
		f.block(i, &r, f.reach)
	}
}

// enter has a function followed, whose arguments are not known.
func (f *flow) enter(fn int) {
	of := &f.fns[fn]
	if f.kept[of.from] {
		return
	}
	f.kept[of.from] = true
	if !of.opaque {
		f.reach(of.from, &registers{})
		return
	}
	for i := of.from; i < of.end; i++ {
		f.kept[i] = true
		f.refer(&f.insns[i])
	}
}

// refer enters the function that an instruction calls or names.
func (f *flow) refer(ins *asm.Instruction) {
	if !ins.IsFunctionReference() {
		return
	}
	if fn, ok := f.byName[ins.Reference()]; ok {
		f.enter(fn)
	}
}

// reach notes that a block can begin with such registers.
func (f *flow) reach(i int, r *registers) {
	was := f.before[i]
	if was == nil {
		now := *r
		f.before[i] = &now
		f.todo = append(f.todo, i)
		return
	}
	if was.join(r) {
		f.todo = append(f.todo, i)
	}
}

// block goes through a block, and calls next with what follows it. Each instruction that is come by is kept.
func (f *flow) block(i int, r *registers, next func(i int, r *registers)) {
	for ; ; i++ {
		ins := &f.insns[i]
		f.kept[i] = true
		switch kindOf(ins) {
		case exit:
			return
		case jump:
			taken, known := r.takes(ins)
			if taken || !known {
				next(f.to[i], r)
			}
			if !taken || !known {
				next(i+1, r)
			}
			return
		case call:
			f.refer(ins)
		}
		if ins.IsLoadOfFunctionPointer() {
			f.refer(ins)
		}
		f.do(ins, r)
		if f.leads[i+1] {
			next(i+1, r)
			return
		}
	}
}

// fold makes of the jumps that are always taken such, drops those that never are, and loads constants as such.
func (f *flow) fold() {
	for i, r := range f.before {
		if r == nil {
			continue
		}
		now := *r
		for ; ; i++ {
			ins := &f.insns[i]
			if k := kindOf(ins); k == exit || k == jump {
				f.foldJump(i, &now)
				break
			}
			f.do(ins, &now)
			f.foldLoad(ins, &now)
			if f.leads[i+1] {
				break
			}
		}
	}
}

func (f *flow) foldJump(i int, r *registers) {
	ins := &f.insns[i]
	if kindOf(ins) != jump || ins.OpCode.JumpOp() == asm.Ja {
		return
	}
	switch taken, known := r.takes(ins); {
	case known && taken:
		always := asm.Instruction{OpCode: asm.OpCode(asm.JumpClass).SetJumpOp(asm.Ja)}
		always.Metadata = ins.Metadata
		*ins = always
	case known && !f.begins(i):
		f.kept[i] = false
	}
}

// foldLoad makes a load from constants a constant, where the instruction has room for it.
func (f *flow) foldLoad(ins *asm.Instruction, after *registers) {
	if ins.OpCode.Class() != asm.LdXClass {
		return
	}
	if v := after[ins.Dst]; v.kind == number && v.n < 1<<31 {
		now := asm.Mov.Imm(ins.Dst, int32(v.n))
		now.Metadata = ins.Metadata
		*ins = now
	}
}

// relocated reports whether the loader changes an instruction for the kernel's own types.
func relocated(ins *asm.Instruction) bool { return btf.CORERelocationMetadata(ins) != nil }
