package translator

import (
	"encoding/binary"
	"slices"

	"github.com/cilium/ebpf/asm"

	"github.com/bpfwall/bpfwall/ruleset"
	"github.com/bpfwall/bpfwall/settable"
)

// Lengths is which lengths of prefixes a set's elements have, by family. The notes of its table list them, a byte each, the longest first,
// plus 1, so that whoever counts packets knows in which networks to look for the element.
type Lengths [2][129]bool

// How many lengths are listed: of IPv6 those beyond are not counted. Words of the notes begin the list of a family.
const (
	lengthsIPv4, lengthsIPv6 = 33, 48
	noteIPv4, noteIPv6       = 0, 9
)

func notesOf(f ruleset.Family) (list, note, most int) {
	if f == ruleset.FamilyIPv6 {
		return 1, noteIPv6, lengthsIPv6
	}
	return 0, noteIPv4, lengthsIPv4
}

// Add notes the length of an element's network, and that of single addresses, which may come at any time.
func (l *Lengths) Add(t ruleset.Tuple) {
	if !t.Net.IsValid() {
		return
	}
	list, _, _ := notesOf(t.Family())
	l[list][t.Net.Bits()], l[list][t.Net.Addr().BitLen()] = true, true
}

// Write writes the lengths to a table.
func (l *Lengths) Write(t *settable.Table) {
	for _, f := range []ruleset.Family{ruleset.FamilyIPv4, ruleset.FamilyIPv6} {
		list, note, most := notesOf(f)
		bytes := make([]byte, (most+3)/4*4)
		at := 0
		for n, there := range slices.Backward(l[list][:]) {
			if there && at < most {
				bytes[at] = byte(n + 1)
				at++
			}
		}
		for i := 0; i < len(bytes); i += 4 {
			t.SetNote(note+i/4, binary.NativeEndian.Uint32(bytes[i:]))
		}
	}
}

// ReadLengths reads the lengths of a table.
func ReadLengths(t *settable.Table) (l Lengths) {
	for _, f := range []ruleset.Family{ruleset.FamilyIPv4, ruleset.FamilyIPv6} {
		list, note, most := notesOf(f)
		for i := range (most + 3) / 4 {
			for _, n := range binary.NativeEndian.AppendUint32(nil, t.Note(note+i)) {
				if n > 0 && int(n) <= len(l[list]) {
					l[list][n-1] = true
				}
			}
		}
	}
	return l
}

// masksMap is the name of a map with the masks of all lengths, 16 bytes each.
const masksMap = "prefix_masks"

// addMasks adds that map, if any set counts packets at networks.
func (p *plan) addMasks() {
	for _, s := range p.live {
		if !s.Set.Live.Counters {
			continue
		}
		m := &SetMap{Name: masksMap, masks: true, table: make([]byte, 16*256)}
		for n := range 256 {
			for i := range min(n, 128) {
				m.table[16*n+i/8] |= 0x80 >> (i % 8)
			}
		}
		p.sets = append(p.sets, m)
		return
	}
}

// countNetwork finds the element that a packet is in, whose key with a whole address is on the stack, among those that are networks and whose
// time is not over, the longest first, counts the packet there and goes to hit.
func (c element) countNetwork(e *emitter, hit string) {
	loop, good := e.newLabel("length"), e.newLabel("counted")
	address := c.at + int16(shapeOf(c.set.Set.Parts).bytes()) - 2*wordsAddress
	_, note, most := notesOf(c.family)
	words := int16(4)
	if c.family == ruleset.FamilyIPv4 {
		words = 1
	}
	e.put(asm.LoadMapValue(regTable, 0, 0).WithReference(c.set.TableRef()), asm.Mov.Imm(regCell, 0))
	e.placeLoop(loop)
	e.put(
		asm.JGE.Imm(regCell, int32(most), hit), // it was taken out meanwhile
		asm.Mov.Reg(regVal, regTable),
		asm.Add.Reg(regVal, regCell),
		asm.Add.Imm(regCell, 1),
		asm.LoadMem(regVal, regVal, int16(settable.NotesOffset+4*note), asm.Byte),
		asm.JEq.Imm(regVal, 0, hit),
		asm.Sub.Imm(regVal, 1),
		asm.StoreMem(asm.R10, c.at+1, regVal, asm.Byte),
		asm.LSh.Imm(regVal, 4),
		asm.And.Imm(regVal, 0xff0),
		asm.LoadMapValue(regImm, 0, 0).WithReference(masksMap),
		asm.Add.Reg(regImm, regVal))
	for i := range words {
		e.put(
			asm.LoadMem(asm.R3, regImm, 4*i, asm.Word),
			asm.LoadMem(regVal, asm.R10, address+4*i, asm.Word),
			asm.And.Reg(regVal, asm.R3),
			asm.StoreMem(asm.R10, address+4*i, regVal, asm.Word))
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
