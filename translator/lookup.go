package translator

import (
	"fmt"

	"github.com/cilium/ebpf/asm"

	"github.com/bpfwall/bpfwall/ruleset"
	"github.com/bpfwall/bpfwall/settable"
)

// tableLookup holds if a key, which is a run of big-endian words in the packet, is in a table (package settable).
type tableLookup struct {
	name         string // of the map
	bytes        int    // of its value
	root, levels int
	base         asm.Register // to fw_pkt, or the stack
	key          int16        // offset of the first word from there
}

func (c tableLookup) jumpIf(e *emitter, label string) {
	c.find(e)
	e.put(asm.JNE.Imm(regCell, 0, label))
}

func (c tableLookup) jumpUnless(e *emitter, label string) {
	c.find(e)
	e.put(asm.JEq.Imm(regCell, 0, label))
}

// weight is about how many branches a test's lookups leave in hand of the verifier, those apart that it may follow where they stand.
func (t *test) weight() int { return 2*len(t.sets) + 2*len(t.live) }

// lookups is how the searches of tables are spread. The verifier follows a search for each word of the key and each step that there can
// be: once if it is a function, again and again if it stands in the code of a rule. A call costs a packet some 9 ns.
type lookups struct {
	uses      map[string]int
	functions map[string]*function
	levels    int  // of the searches that stand in rules
	apart     bool // none does: the stack has no room for all their keys
}

const (
	inlineUses   = 3  // of one condition stand in the rules
	inlineLevels = 48 // words of all their keys
)

// shareable is a condition that searches tables, and that several rules may ask for.
type shareable struct {
	id     string // what is searched, and for which part of the packet
	levels int    // words of the keys
	cond
}

func (c shareable) jumpIf(e *emitter, label string) {
	if !c.called(e) {
		c.cond.jumpIf(e, label)
		return
	}
	e.put(asm.JNE.Imm32(asm.R0, 0, label))
}

func (c shareable) jumpUnless(e *emitter, label string) {
	if !c.called(e) {
		c.cond.jumpUnless(e, label)
		return
	}
	e.put(asm.JEq.Imm32(asm.R0, 0, label))
}

// called writes a call of the function that asks for the condition, if there is one.
func (c shareable) called(e *emitter) bool {
	if e.share == nil {
		return false
	}
	fn := e.share(c)
	if fn != "" {
		e.call(fn)
	}
	return fn != ""
}

// share is the name of the function that asks for a condition; "" if it is to stand where it is.
func (p *plan) share(c shareable) string {
	l := &p.lookups
	if l.uses == nil {
		l.uses, l.functions = map[string]int{}, map[string]*function{}
	}
	if f := l.functions[c.id]; f != nil {
		return f.name
	}
	if l.uses[c.id]++; l.uses[c.id] <= inlineUses && l.levels+c.levels <= inlineLevels && !l.apart || len(p.functions) >= p.limits.functions+len(ruleset.Hooks) {
		l.levels += c.levels
		return ""
	}
	f := &function{name: fmt.Sprintf("lookup_%d", len(l.functions)), doc: c.id, asks: c.cond}
	l.functions[c.id] = f
	p.functions = append(p.functions, f)
	return f.name
}

// The registers of a lookup, besides regVal for the word that is searched for.
const (
	regHalf   = asm.R0 // bytes of half the keys that are left
	regNode   = asm.R2 // offset of the node
	regKeys   = asm.R3 // bytes of its keys
	regLevels = asm.R4 // that are left
	regWords  = asm.R5 // where the key's next word is
	regTemp   = asm.R7
	regCell   = asm.R8 // the result; while a node is searched, the offset of the key found so far
	regTable  = asm.R9
)

// find leaves the key's cell in regCell, in the way of settable.Table.Lookup. The offsets are cut to the table's size, so that the
// verifier sees that no content of the table can lead outside of it. A step of the search has no branch that could be foretold wrongly.
func (c tableLookup) find(e *emitter) {
	level, direct, path, done := e.newLabel("level"), e.newLabel("direct"), e.newLabel("path"), e.newLabel("done")
	e.put(
		asm.LoadMapValue(regTable, 0, 0).WithReference(c.name),
		asm.LoadMem(regCell, regTable, int16(4*c.root), asm.Word),
		asm.Mov.Reg(regWords, c.base),
		asm.Add.Imm(regWords, int32(c.key)),
		asm.Mov.Imm(regLevels, int32(c.levels)))
	e.placeLoop(level)
	e.put(
		asm.Mov.Reg(regTemp, regCell),
		asm.RSh.Imm(regTemp, settable.TagShift),
		asm.JNE.Imm(regTemp, settable.TagNode, done),
		asm.JEq.Imm(regLevels, 0, done),
		asm.Sub.Imm(regLevels, 1),
		asm.LoadMem(regVal, regWords, 0, asm.Half),
		asm.HostTo(asm.BE, regVal, asm.Half),
		asm.Add.Imm(regWords, 2),
		asm.Mov.Reg(regKeys, regCell),
		asm.RSh.Imm(regKeys, settable.ClassShift),
		asm.And.Imm(regKeys, settable.ClassMask),
		asm.Mov.Reg(regNode, regCell),
		asm.And.Imm(regNode, 1<<settable.ClassShift-1),
		asm.LSh.Imm(regNode, settable.UnitShift),
		asm.JEq.Imm(regKeys, settable.Direct, direct),
		asm.JEq.Imm(regKeys, settable.Path, path))
	c.search(e)
	e.put(asm.Ja.Label(level))
	e.place(path)
	c.follow(e, level, done)
	e.place(direct)
	e.put(asm.LSh.Imm(regVal, 2), asm.Add.Reg(regVal, regNode))
	c.loadCell(e, regVal)
	e.put(asm.Ja.Label(level))
	e.place(done)
}

// search finds the last key that is not above the word, and its cell.
func (c tableLookup) search(e *emitter) {
	step, found := e.newLabel("step"), e.newLabel("found")
	e.put(
		asm.Mov.Imm(regHalf, 2),
		asm.LSh.Reg(regHalf, regKeys),
		asm.And.Imm(regHalf, 4<<settable.LargestSorted-1), // the verifier knows nothing of what a shift by a register leaves
		asm.Mov.Reg(regKeys, regHalf),
		asm.Add.Imm(regVal, 1), // so that key - word - 1 is negative if the key is not above
		asm.Mov.Reg(regCell, regNode))
	e.placeLoop(step)
	e.put(
		asm.RSh.Imm(regHalf, 1),
		asm.JLT.Imm(regHalf, 2, found),
		asm.Mov.Reg(regTemp, regCell),
		asm.Add.Reg(regTemp, regHalf),
		asm.And.Imm(regTemp, c.mask(2)),
		asm.Add.Reg(regTemp, regTable),
		asm.LoadMem(regTemp, regTemp, 0, asm.Half),
		asm.Sub.Reg(regTemp, regVal),
		asm.ArSh.Imm(regTemp, 63),
		asm.And.Reg(regTemp, regHalf),
		asm.Add.Reg(regCell, regTemp),
		asm.Ja.Label(step))
	e.place(found)
	e.put( // node + keys + 2 * (found - node)
		asm.LSh.Imm(regCell, 1),
		asm.Sub.Reg(regCell, regNode),
		asm.Add.Reg(regCell, regKeys))
	c.loadCell(e, regCell)
}

// follow compares the words of a path, of which the first is in regVal, and goes on with the next level.
func (c tableLookup) follow(e *emitter, level, done string) {
	match, other := e.newLabel("match"), e.newLabel("other")
	e.put(
		asm.And.Imm(regNode, c.mask(settable.PathBytes)),
		asm.Add.Reg(regNode, regTable),
		asm.LoadMem(regKeys, regNode, 0, asm.Half))
	for i := range int16(settable.MaxPath) {
		if i > 0 {
			e.put(
				asm.JEq.Imm(regKeys, int32(i), match),
				asm.JEq.Imm(regLevels, 0, other), // no path is so long
				asm.Sub.Imm(regLevels, 1),
				asm.LoadMem(regVal, regWords, 0, asm.Half),
				asm.HostTo(asm.BE, regVal, asm.Half),
				asm.Add.Imm(regWords, 2))
		}
		e.put(asm.LoadMem(regTemp, regNode, 2+2*i, asm.Half), asm.JNE.Reg(regTemp, regVal, other))
	}
	e.place(match)
	e.put(asm.LoadMem(regCell, regNode, settable.PathMatch, asm.Word), asm.Ja.Label(level))
	e.place(other) // which is never a node
	e.put(asm.LoadMem(regCell, regNode, settable.PathElse, asm.Word), asm.Ja.Label(done))
}

// loadCell loads the cell at an offset.
func (c tableLookup) loadCell(e *emitter, at asm.Register) {
	e.put(
		asm.And.Imm(at, c.mask(4)),
		asm.Add.Reg(at, regTable),
		asm.LoadMem(regCell, at, 0, asm.Word))
}

// mask keeps an offset of something of n bytes inside the table.
func (c tableLookup) mask(n int) int32 { return int32(c.bytes - n) }
