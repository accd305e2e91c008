package translator

import (
	"math"
	"os"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
)

// farFunction returns 1 if its jump over n instruction slots arrives, and 2 if it does not.
func farFunction(n int) *emitter {
	e := newEmitter(nil, "f")
	e.put(asm.Mov.Imm(asm.R0, 1), asm.Mov.Imm(asm.R1, 0))
	e.put(asm.JEq.Imm(asm.R1, 0, "out"), asm.JEq.Imm(asm.R1, 1, "out"), asm.JEq.Imm(asm.R1, 2, "near"))
	for i := range n {
		switch {
		case i%100 == 0 && i+2 < n:
			e.put(asm.LoadImm(asm.R0, 2, asm.DWord)) // two slots
		case i%100 != 1:
			e.put(asm.Mov.Imm(asm.R0, 2))
		}
		if i == 50 {
			e.place("near")
		}
	}
	e.place("out")
	e.put(asm.Return())
	return e
}

// follow runs a function of farFunction's instructions with R1 = 0 by hand.
func follow(t *testing.T, insns asm.Instructions) int64 {
	t.Helper()
	label := map[string]int{}
	for i, ins := range insns {
		label[ins.Symbol()] = i
	}
	r0 := int64(0)
	for i := 0; i < len(insns); i++ {
		ins := insns[i]
		switch {
		case isExit(ins):
			return r0
		case isGoto(ins), isJump(ins) && ins.Constant == 0:
			i = label[ins.Reference()] - 1
		case ins.Dst == asm.R0:
			r0 = ins.Constant
		}
	}
	t.Fatal("ran off the end")
	return 0
}

// TestFarJumps sweeps the length of a jump around the limit of 16 bits, and twice and three times it.
func TestFarJumps(t *testing.T) {
	for times, step := range map[int]int{1: 31, 2: 307, 3: 701} {
		for n := times*math.MaxInt16 - 1200; n < times*math.MaxInt16+1200; n += step {
			insns, err := farFunction(n).done()
			if err != nil {
				t.Fatal(err)
			}
			if _, far, err := firstFar(insns); far >= 0 || err != nil {
				t.Fatalf("%d: instruction %d still jumps too far (%v)", n, far, err)
			}
			if got := follow(t, insns); got != 1 {
				t.Fatalf("%d: the jump went astray", n)
			}
		}
	}
}

// TestFarJumpsLoad asks the kernel about the lengths right at the limit.
func TestFarJumpsLoad(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("loading BPF programs needs root")
	}
	pin(t)
	for _, n := range []int{math.MaxInt16 - 3, math.MaxInt16 - 2, math.MaxInt16 - 1, math.MaxInt16, math.MaxInt16 + 1, math.MaxInt16 + 2, 3 * math.MaxInt16} {
		insns, err := farFunction(n).done()
		if err != nil {
			t.Fatal(err)
		}
		prog, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.SocketFilter, License: "GPL", Instructions: insns})
		if err != nil {
			t.Fatalf("%d: %v", n, err)
		}
		got, err := prog.Run(&ebpf.RunOptions{Data: make([]byte, 14)})
		if err != nil || got != 1 {
			t.Errorf("%d: %d, %v", n, got, err)
		}
		if err := prog.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestDeadCode: what nothing reaches is left out, and so are labels that nothing jumps to.
func TestDeadCode(t *testing.T) {
	e := newEmitter(nil, "f")
	e.put(asm.Mov.Imm(asm.R0, 1))
	e.goTo("a")
	e.put(asm.Mov.Imm(asm.R0, 2))
	e.place("b")
	e.put(asm.Mov.Imm(asm.R0, 3))
	e.place("a")
	e.place("c")
	e.put(asm.Return())
	insns, err := e.done()
	if err != nil {
		t.Fatal(err)
	}
	if want := 2; len(insns) != want || insns[1].Symbol() != "" && insns[1].Symbol() != "a" {
		t.Errorf("got\n%v\nwant mov and exit", insns)
	}
}

// TestLostLabel: a jump to a label that is nowhere is an error, not a wild jump.
func TestLostLabel(t *testing.T) {
	e := newEmitter(nil, "f")
	e.put(asm.JEq.Imm(asm.R1, 0, "nowhere"), asm.Return())
	if insns, err := e.done(); err == nil {
		t.Errorf("no error for\n%v", insns)
	}
}
