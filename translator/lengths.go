package translator

import (
	"github.com/cilium/ebpf/asm"

	"github.com/bpfwall/bpfwall/ruleset"
	"github.com/bpfwall/bpfwall/settable"
)

// Lengths is which lengths of prefixes a set's elements have, by family: a bit for each in the notes of its table, so that whoever counts
// packets knows in which networks to look for the element.
type Lengths [lengthWords]uint32

// The words of IPv4, 33 bits, and behind them those of IPv6, 129 bits.
const lengthWordsIPv4, lengthWords = 2, 7

func firstLength(f ruleset.Family) int {
	if f == ruleset.FamilyIPv6 {
		return lengthWordsIPv4
	}
	return 0
}

// Add notes the length of an element's network, and that of single addresses, which may come at any time.
func (l *Lengths) Add(t ruleset.Tuple) {
	if !t.Net.IsValid() {
		return
	}
	for _, n := range []int{t.Net.Bits(), t.Net.Addr().BitLen()} {
		l[firstLength(t.Family())+n/32] |= 1 << (n % 32)
	}
}

// Write writes the lengths to a table.
func (l *Lengths) Write(t *settable.Table) {
	for i, w := range l {
		t.SetNote(i, w)
	}
}

// ReadLengths reads the lengths of a table.
func ReadLengths(t *settable.Table) (l Lengths) {
	for i := range l {
		l[i] = t.Note(i)
	}
	return l
}

// countNetwork finds the element that a packet is in, whose key with a whole address is on the stack, among those that are networks and whose
// time is not over, the longest first, counts the packet there and goes to hit.
func (c element) countNetwork(e *emitter, hit string) {
	loop, good := e.newLabel("length"), e.newLabel("counted")
	s := shapeOf(c.set.Set.Parts)
	address := c.at + int16(s.bytes()) - 2*wordsAddress
	width := int32(32)
	if c.family == ruleset.FamilyIPv6 {
		width = 128
	}
	e.put(asm.LoadMapValue(regTable, 0, 0).WithReference(c.set.TableRef()), asm.Mov.Imm(regCell, width+1))
	e.placeLoop(loop)
	e.put(
		asm.Sub.Imm(regCell, 1),
		asm.JSLT.Imm(regCell, 0, hit), // it was taken out meanwhile
		asm.Mov.Reg(regVal, regCell),
		asm.RSh.Imm(regVal, 5),
		asm.LSh.Imm(regVal, 2),
		asm.Add.Reg(regVal, regTable),
		asm.LoadMem(regVal, regVal, int16(settable.NotesOffset+4*firstLength(c.family)), asm.Word),
		asm.Mov.Reg(regImm, regCell),
		asm.And.Imm(regImm, 31),
		asm.RSh.Reg(regVal, regImm),
		asm.And.Imm(regVal, 1),
		asm.JEq.Imm(regVal, 0, loop),
		asm.StoreMem(asm.R10, c.at+1, regCell, asm.Byte))
	for i := range int16(width / 32) {
		maskWord(e, address+4*i, 32*int32(i))
	}
	findElement(e, c.set, c.at)
	e.put(
		asm.JEq.Imm(asm.R0, 0, loop),
		asm.Mov.Reg(regTemp, asm.R0),
		asm.LoadMem(regVal, regTemp, offExpires, asm.DWord),
		asm.JEq.Imm(regVal, 0, good),
		asm.FnKtimeGetNs.Call(),
		asm.LoadMem(regVal, regTemp, offExpires, asm.DWord),
		asm.JGE.Reg(asm.R0, regVal, loop))
	e.place(good)
	c.count(e, regTemp)
	e.put(asm.Ja.Label(hit))
}

// maskWord clears the bits of a word of the address on the stack, which begins with so many bits of it, that are behind regCell bits.
func maskWord(e *emitter, at int16, from int32) {
	part, done := e.newLabel("part"), e.newLabel("masked")
	e.put(
		asm.Mov.Reg(regVal, regCell),
		asm.Sub.Imm(regVal, from),
		asm.JSGE.Imm(regVal, 32, done),
		asm.JSGT.Imm(regVal, 0, part),
		asm.StoreImm(asm.R10, at, 0, asm.Word),
		asm.Ja.Label(done))
	e.place(part)
	e.put(
		asm.Mov.Imm(regImm, 32),
		asm.Sub.Reg(regImm, regVal),
		asm.Mov.Imm32(asm.R3, -1),
		asm.LSh.Reg(asm.R3, regImm),
		asm.HostTo(asm.BE, asm.R3, asm.Word),
		asm.LoadMem(regVal, asm.R10, at, asm.Word),
		asm.And.Reg(regVal, asm.R3),
		asm.StoreMem(asm.R10, at, regVal, asm.Word))
	e.place(done)
}
