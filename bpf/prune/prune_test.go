package prune

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
	"github.com/google/go-cmp/cmp"
)

// constants are those of the tests: a zero, a one, and a large number.
var constants = map[string][]byte{".rodata": {0, 1, 0, 0, 0xff, 0xff, 0xff, 0xff}}

func fn(name string, insns ...asm.Instruction) asm.Instructions {
	number := &btf.Int{Name: "int", Size: 4, Encoding: btf.Signed}
	insns[0] = btf.WithFuncMetadata(insns[0].WithSymbol(name), &btf.Func{Name: name, Type: &btf.FuncProto{Return: number}, Linkage: btf.StaticFunc})
	return insns
}

// read is the load of a byte of the constants.
func read(r asm.Register, off uint32) asm.Instructions {
	return asm.Instructions{asm.LoadMapValue(r, 0, off).WithReference(".rodata"), asm.LoadMem(r, r, 0, asm.Byte)}
}

// skip is a jump over so many slots.
func skip(ins asm.Instruction, slots int16) asm.Instruction {
	ins = ins.WithReference("")
	ins.Offset = slots
	return ins
}

// text is what a program does, without names of functions.
func text(insns asm.Instructions) (out []string) {
	for _, ins := range insns {
		s := fmt.Sprintf("%v", ins)
		if ins.OpCode.Class().IsJump() && ins.OpCode.JumpOp() != asm.Call && ins.OpCode.JumpOp() != asm.Exit {
			s = fmt.Sprintf("%v %v %v %+d", ins.OpCode, ins.Dst, ins.Constant, ins.Offset)
		}
		out = append(out, s)
	}
	return out
}

func join(parts ...any) (out asm.Instructions) {
	for _, p := range parts {
		switch p := p.(type) {
		case asm.Instruction:
			out = append(out, p)
		case asm.Instructions:
			out = append(out, p...)
		}
	}
	return out
}

func TestPrune(t *testing.T) {
	helper := fn("helper", asm.Mov.Imm(asm.R0, 7), asm.Return())
	for _, c := range []struct {
		name       string
		insns      asm.Instructions
		want       string // instructions that are left
		gone, kept string
	}{
		{name: "a way that is closed, and what only it needs", insns: join(
			fn("main", asm.Mov.Imm(asm.R6, 5)), read(asm.R1, 0), skip(asm.JEq.Imm(asm.R1, 0, ""), 2),
			asm.Call.Label("helper"), asm.Return(),
			asm.Mov.Imm(asm.R0, 1), asm.Return(), helper), want: "MovImm dst: r6 imm: 5|MovImm dst: r0 imm: 1|Exit"},
		{name: "a way that is open", insns: join(
			fn("main", asm.Mov.Imm(asm.R6, 5)), read(asm.R1, 1), skip(asm.JEq.Imm(asm.R1, 0, ""), 2),
			asm.Call.Label("helper"), asm.Return(),
			asm.Mov.Imm(asm.R0, 1), asm.Return(), helper),
			// What a call may read stays.
			want: "MovImm dst: r6 imm: 5|MovImm dst: r1 imm: 1|Call -1 <helper>|Exit|MovImm dst: r0 imm: 7|Exit"},
		{name: "both of two", insns: join(
			fn("main", asm.Mov.Imm(asm.R6, 5)), read(asm.R1, 0), read(asm.R2, 1), asm.Or.Reg(asm.R1, asm.R2), skip(asm.JNE.Imm(asm.R1, 0, ""), 2),
			asm.Mov.Imm(asm.R0, 2), asm.Return(), asm.Mov.Imm(asm.R0, 1), asm.Return()), want: "MovImm dst: r6 imm: 5|MovImm dst: r0 imm: 1|Exit"},
		{name: "a word that is no number of 31 bits stays a load", insns: join(
			fn("main", asm.LoadMapValue(asm.R1, 0, 0).WithReference(".rodata")), asm.LoadMem(asm.R0, asm.R1, 4, asm.Word), asm.Return()),
			want: "LoadMapValue dst: r1, fd: 0 off: 0 <.rodata>|LdXMemW dst: r0 src: r1 off: 4 imm: 0|Exit"},
		{name: "two ways with numbers that differ", insns: join(
			fn("main", asm.LoadMem(asm.R2, asm.R1, 0, asm.Word)), asm.Mov.Imm(asm.R3, 1), skip(asm.JEq.Imm(asm.R2, 0, ""), 1), asm.Mov.Imm(asm.R3, 2),
			skip(asm.JEq.Imm(asm.R3, 1, ""), 2), asm.Mov.Imm(asm.R0, 1), asm.Return(), asm.Mov.Imm(asm.R0, 2), asm.Return()),
			want: "LdXMemW dst: r2 src: r1 off: 0 imm: 0|MovImm dst: r3 imm: 1|JEqImm r2 0 +1|MovImm dst: r3 imm: 2|" +
				"JEqImm r3 1 +2|MovImm dst: r0 imm: 1|Exit|MovImm dst: r0 imm: 2|Exit"},
		{name: "a loop", insns: join(
			fn("main", asm.Mov.Imm(asm.R0, 0)), asm.Add.Imm(asm.R0, 1), skip(asm.JLT.Imm(asm.R0, 10, ""), -2), asm.Return()),
			want: "MovImm dst: r0 imm: 0|AddImm dst: r0 imm: 1|JLTImm r0 10 -2|Exit"},
		{name: "a function that jumps to labels, and what it calls", insns: join(
			fn("main", asm.Call.Label("rules")), asm.Return(),
			fn("rules", asm.Mov.Imm(asm.R3, 3), asm.JEq.Imm(asm.R3, 3, "there"), asm.Mov.Imm(asm.R0, 1), asm.Call.Label("helper").WithSymbol("there"), asm.Return()),
			helper, fn("nobody's", asm.Mov.Imm(asm.R0, 9), asm.Return())),
			want: "Call -1 <rules>|Exit|MovImm dst: r3 imm: 3|JEqImm r3 3 -1|MovImm dst: r0 imm: 1|Call -1 <helper>|Exit|MovImm dst: r0 imm: 7|Exit"},
	} {
		got := text(Instructions(c.insns, constants, binary.LittleEndian))
		if diff := cmp.Diff(strings.Split(c.want, "|"), got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

// What is not understood stays as it is.
func TestStrange(t *testing.T) {
	nameless := asm.Instructions{asm.Mov.Imm(asm.R0, 0), asm.Return()}
	outside := join(fn("main", asm.Mov.Imm(asm.R0, 0)), skip(asm.JEq.Imm(asm.R0, 0, ""), 7), asm.Return())
	middle := join(fn("main", skip(asm.JEq.Imm(asm.R0, 0, ""), 1)), asm.LoadImm(asm.R0, 1, asm.DWord), asm.Return())
	for _, insns := range []asm.Instructions{nil, nameless, outside, middle} {
		if got := Instructions(insns, constants, binary.LittleEndian); len(got) != len(insns) {
			t.Errorf("%v became %v", insns, got)
		}
	}
}
