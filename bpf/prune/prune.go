// Package prune leaves out of programs what their constants rule out, before the kernel sees them. The verifier finds that too, but it takes
// as long to move the rest together as for everything else, again for each load; and it leaves in the programs that the constants are read.
package prune

import (
	"encoding/binary"
	"strings"
	"sync"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
)

// Spec prunes the programs of a spec, whose constants are what they will be loaded with.
func Spec(spec *ebpf.CollectionSpec) {
	constants := contents(spec)
	var each sync.WaitGroup
	for _, p := range spec.Programs {
		each.Go(func() { p.Instructions = Instructions(p.Instructions, constants, spec.ByteOrder) })
	}
	each.Wait()
}

// contents is what the maps of constants hold, by name.
func contents(spec *ebpf.CollectionSpec) map[string][]byte {
	all := map[string][]byte{}
	for name, m := range spec.Maps {
		if !strings.HasPrefix(name, ".rodata") || len(m.Contents) != 1 {
			continue
		}
		if b, ok := m.Contents[0].Value.([]byte); ok {
			all[name] = append([]byte(nil), b...)
		}
	}
	for _, v := range spec.Variables {
		if b := all[v.SectionName]; len(b) >= int(v.Offset)+len(v.Value) {
			copy(b[v.Offset:], v.Value)
		}
	}
	return all
}

// Instructions is a program without the functions that nothing calls, without the ways that constants close, and without what these
// needed. Functions that jump to labels stay as they are: they are generated from rules, and have no constants. What it does not understand, it
// leaves alone.
func Instructions(insns asm.Instructions, constants map[string][]byte, order binary.ByteOrder) asm.Instructions {
	g, ok := newGraph(insns)
	if !ok {
		return insns
	}
	f := newFlow(g, constants, order)
	f.run()
	f.fold()
	g.dropDead()
	g.dropEmptyJumps()
	return g.rest()
}

// graph is a program's instructions and where its jumps lead.
type graph struct {
	insns  asm.Instructions
	kept   []bool
	to     []int  // of a jump, the instruction that it leads to
	leads  []bool // a jump leads here, or a function begins here
	fns    []function
	byName map[string]int
}

// function is a function's first instruction, and what is behind its last.
type function struct {
	from, end int
	opaque    bool
}

// newGraph is not ok if there is something in the program that is not understood.
func newGraph(insns asm.Instructions) (g *graph, ok bool) {
	g = &graph{
		insns: append(asm.Instructions(nil), insns...), kept: make([]bool, len(insns)),
		to: make([]int, len(insns)), leads: make([]bool, len(insns)+1), byName: map[string]int{},
	}
	slots := g.slots(nil)
	at := make([]int, slots[len(insns)]+1)
	for i := range insns {
		at[slots[i]] = i + 1 // 0: in the middle of an instruction
		if fn := btf.FuncMetadata(&insns[i]); fn != nil {
			g.byName[fn.Name] = len(g.fns)
			g.fns = append(g.fns, function{from: i})
		}
	}
	if len(g.fns) == 0 || g.fns[0].from != 0 {
		return nil, false
	}
	for i := range g.fns {
		g.fns[i].end = len(insns)
		if i+1 < len(g.fns) {
			g.fns[i].end = g.fns[i+1].from
		}
		if !g.readJumps(&g.fns[i], slots, at) {
			return nil, false
		}
	}
	return g, true
}

// readJumps finds where the jumps of a function lead.
func (g *graph) readJumps(f *function, slots, at []int) bool {
	for i := f.from; i < f.end; i++ {
		ins := &g.insns[i]
		if kindOf(ins) == strange || isJump(ins) && ins.Reference() != "" {
			f.opaque = true
		}
	}
	if last := &g.insns[f.end-1]; kindOf(last) != exit && (kindOf(last) != jump || last.OpCode.JumpOp() != asm.Ja) {
		f.opaque = true
	}
	g.leads[f.from] = true
	for i := f.from; i < f.end && !f.opaque; i++ {
		ins := &g.insns[i]
		if !isJump(ins) {
			continue
		}
		to := slots[i+1] + int(ins.Offset)
		if to < slots[f.from] || to >= slots[f.end] || at[to] == 0 {
			return false
		}
		g.to[i] = at[to] - 1
		g.leads[g.to[i]], g.leads[i+1] = true, true
	}
	return true
}

// slots is where each instruction is, and the end, in units of 8 bytes; those that are not kept take none.
func (g *graph) slots(kept []bool) []int {
	at := make([]int, len(g.insns)+1)
	for i := range g.insns {
		at[i+1] = at[i]
		if kept == nil || kept[i] {
			at[i+1] += int(g.insns[i].Size() / asm.InstructionSize)
		}
	}
	return at
}

// dropEmptyJumps drops the jumps over nothing.
func (g *graph) dropEmptyJumps() {
	next := make([]int, len(g.insns)+1) // the first that is kept, from here on
	next[len(g.insns)] = len(g.insns)
	for i := len(g.insns) - 1; i >= 0; i-- {
		if isJump(&g.insns[i]) && g.insns[i].OpCode.JumpOp() == asm.Ja && g.insns[i].Reference() == "" && !g.begins(i) && next[g.to[i]] == next[i+1] {
			g.kept[i] = false
		}
		if next[i] = next[i+1]; g.kept[i] {
			next[i] = i
		}
	}
}

// begins reports whether a function begins with an instruction, which has to stay with its name.
func (g *graph) begins(i int) bool { return btf.FuncMetadata(&g.insns[i]) != nil }

// rest is what is kept.
func (g *graph) rest() (out asm.Instructions) {
	slots := g.slots(g.kept)
	for i, ins := range g.insns {
		if !g.kept[i] {
			continue
		}
		if isJump(&ins) && ins.Reference() == "" {
			ins.Offset = int16(slots[g.to[i]] - slots[i+1])
		}
		out = append(out, ins)
	}
	return out
}
