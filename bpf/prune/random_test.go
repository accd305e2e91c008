package prune

import (
	"encoding/binary"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/rlimit"
)

// Random programs answer the same when they are pruned: the kernel runs both.
func TestRandomPrograms(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: runs BPF programs")
	}
	if err := rlimit.RemoveMemlock(); err != nil {
		t.Fatal(err)
	}
	shorter := 0
	for seed := range uint64(150) {
		g := &program{Rand: rand.New(rand.NewPCG(seed, 1))}
		g.write()
		pruned := Instructions(g.insns, map[string][]byte{".rodata": g.constants}, binary.NativeEndian)
		if len(pruned) < len(g.insns) {
			shorter++
		}
		if want, got := g.run(t, g.insns), g.run(t, pruned); want != got {
			t.Fatalf("seed %d: %#x, want %#x\n%v\npruned:\n%v", seed, got, want, g.insns, pruned)
		}
	}
	if shorter < 100 {
		t.Errorf("%d of 150 programs became shorter", shorter)
	}
}

// program is a program that computes with constants and with what the verifier does not know.
type program struct {
	*rand.Rand
	constants []byte
	insns     asm.Instructions
}

// registersUsed are those that hold numbers; R7 leads to the constants.
const registersUsed = 6

func (g *program) write() {
	for range 64 {
		g.constants = append(g.constants, byte(g.IntN(3)*g.IntN(2)*127))
	}
	var body asm.Instructions
	for range 10 + g.IntN(40) {
		body = append(body, g.one()...)
	}
	g.insns = join(fn("main", asm.Mov.Reg(asm.R6, asm.R1)), asm.LoadMapValue(asm.R7, 0, 4).WithReference(".rodata"), asm.Add.Imm(asm.R7, 4))
	for r := range asm.Register(registersUsed) {
		g.insns = append(g.insns, asm.LoadMem(r, asm.R6, 0, asm.Word)) // the packet's length
		if g.IntN(2) == 0 {
			g.insns = append(g.insns, asm.Mov.Imm(r, int32(g.Uint32())))
		}
	}
	g.insns = append(g.insns, g.aimed(body)...)
	for r := asm.R1; r < registersUsed; r++ {
		g.insns = append(g.insns, asm.Xor.Reg(asm.R0, r))
	}
	g.insns = append(g.insns, asm.Return())
}

// one is a step: arithmetic, a constant, or a jump whose target is not chosen yet.
func (g *program) one() asm.Instructions {
	dst, src, imm := asm.Register(g.IntN(registersUsed)), asm.Register(g.IntN(registersUsed)), int32(g.IntN(5)-1)
	alu := []asm.ALUOp{asm.Add, asm.Sub, asm.Mul, asm.Or, asm.And, asm.Xor, asm.Mov, asm.Mov}[g.IntN(8)]
	jump := []asm.JumpOp{asm.JEq, asm.JNE, asm.JGT, asm.JGE, asm.JLT, asm.JLE, asm.JSGT, asm.JSGE, asm.JSLT, asm.JSLE, asm.JSet}[g.IntN(11)]
	switch g.IntN(8) {
	case 0:
		return asm.Instructions{alu.Reg(dst, src)}
	case 1:
		return asm.Instructions{alu.Imm32(dst, imm)}
	case 2:
		return asm.Instructions{alu.Reg32(dst, src)}
	case 3:
		return asm.Instructions{[]asm.ALUOp{asm.LSh, asm.RSh}[g.IntN(2)].Imm(dst, int32(g.IntN(64)))}
	case 4:
		return asm.Instructions{skip(jump.Imm32(dst, imm, ""), 1)}
	case 5:
		return asm.Instructions{skip(jump.Reg(dst, src, ""), 1)}
	}
	at := int16(g.IntN(len(g.constants)/8))*8 - 8
	return asm.Instructions{
		asm.LoadMem(dst, asm.R7, at, []asm.Size{asm.Byte, asm.Half, asm.Word, asm.DWord}[g.IntN(4)]),
		skip(jump.Imm(dst, imm, ""), 1),
	}
}

// aimed has jumps lead somewhere forward.
func (g *program) aimed(body asm.Instructions) asm.Instructions {
	for i := range body {
		if !isJump(&body[i]) {
			continue
		}
		slots := 0
		for _, ins := range body[i+1:][:g.IntN(len(body)-i)] {
			slots += int(ins.Size() / asm.InstructionSize)
		}
		body[i].Offset = int16(slots)
	}
	return body
}

func (g *program) run(t *testing.T, insns asm.Instructions) uint32 {
	t.Helper()
	spec := &ebpf.CollectionSpec{
		Maps: map[string]*ebpf.MapSpec{".rodata": {Name: ".rodata", Type: ebpf.Array, KeySize: 4, ValueSize: uint32(len(g.constants)), MaxEntries: 1, Flags: 1 << 7,
			Contents: []ebpf.MapKV{{Key: uint32(0), Value: g.constants}}}},
		Programs: map[string]*ebpf.ProgramSpec{"main": {Name: "main", Type: ebpf.SchedCLS, License: "GPL", Instructions: insns}},
	}
	c, err := ebpf.NewCollection(spec)
	if err != nil {
		t.Fatalf("%+v\n%v", err, insns)
	}
	defer c.Close()
	out, _, err := c.Programs["main"].Test(make([]byte, 64))
	if err != nil {
		t.Fatal(err)
	}
	return out
}
