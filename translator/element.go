package translator

import (
	"github.com/cilium/ebpf/asm"

	"github.com/bpfwall/bpfwall/ruleset"
	"github.com/bpfwall/bpfwall/settable"
)

const nsPerSecond = 1_000_000_000

// timed holds if a key is in a table whose cells may be over.
type timed struct{ tableLookup }

func (c timed) jump(e *emitter, hit, miss string) {
	c.find(e)
	e.put(
		asm.JEq.Imm(regCell, 0, miss),
		asm.Mov.Reg(regTemp, regCell),
		asm.RSh.Imm(regTemp, settable.TagShift),
		asm.JEq.Imm(regTemp, settable.TagForever, hit),
		asm.And.Imm(regCell, 1<<settable.TagShift-1),
		asm.FnKtimeGetNs.Call(),
		asm.Div.Imm(asm.R0, nsPerSecond),
		asm.JGE.Reg(asm.R0, regCell, miss),
		asm.Ja.Label(hit))
}

// element holds if an address is in a live set's hash and not over; the element counts the packet if it counts at all.
type element struct {
	set    *LiveSet
	family ruleset.Family
	layout *layout
	key    int16 // offset of the address in fw_pkt
	at     int16 // where the whole key is on the stack
}

// The registers of code for an element.
const (
	regExpires = asm.R8
	regElement = asm.R9
)

func (c element) jump(e *emitter, hit, miss string) {
	c.store(e)
	c.found(e, hit, miss)
}

// store puts the key of an address on the stack.
func (c element) store(e *emitter) {
	bits := int64(8 * 4)
	if c.family == ruleset.FamilyIPv6 {
		bits = 8 * 16
	}
	e.put(asm.StoreImm(asm.R10, stackKey, int64(c.family), asm.Byte), asm.StoreImm(asm.R10, stackKey+1, bits, asm.Byte))
	storeAddress(e, c.key)
}

// inNetwork holds if an address is in the table of a set's elements, and counts the packet at its element.
type inNetwork struct {
	timed
	element
}

func (c inNetwork) jump(e *emitter, hit, miss string) {
	found := e.newLabel("network")
	c.timed.jump(e, found, miss)
	e.place(found)
	c.element.store(e)
	c.countNetwork(e, hit)
}

// found jumps to hit if the key on the stack is there, and to miss.
func (c element) found(e *emitter, hit, miss string) {
	good := e.newLabel("good")
	findElement(e, c.set, c.at)
	e.put(
		asm.JEq.Imm(asm.R0, 0, miss),
		asm.Mov.Reg(regElement, asm.R0),
		asm.LoadMem(regExpires, asm.R0, offExpires, asm.DWord),
		asm.JEq.Imm(regExpires, 0, good),
		asm.FnKtimeGetNs.Call(),
		asm.JGE.Reg(asm.R0, regExpires, miss))
	e.place(good)
	if c.set.Set.Live.Counters {
		c.count(e, regElement)
	}
	e.put(asm.Ja.Label(hit))
}

// count counts the packet at an element.
func (c element) count(e *emitter, at asm.Register) {
	e.put(
		asm.Mov.Imm(regVal, 1),
		asm.AddAtomic.Mem(at, regVal, asm.DWord, offElemPackets))
	e.load(c.layout.whole("length"))
	e.put(asm.AddAtomic.Mem(at, regVal, asm.DWord, offElemBytes))
}

// storeAddress puts the address at an offset in the packet into the key on the stack; after an IPv4 address the packet has zeroes.
func storeAddress(e *emitter, at int16) {
	e.put(asm.StoreImm(asm.R10, stackKey+2, 0, asm.Half))
	for i := range int16(4) {
		e.put(asm.LoadMem(regVal, regPkt, at+4*i, asm.Word), asm.StoreMem(asm.R10, stackKey+4+4*i, regVal, asm.Word))
	}
}

// findElement looks a key on the stack up.
func findElement(e *emitter, s *LiveSet, at int16) {
	keyAndMap(e, s, at)
	e.put(asm.FnMapLookupElem.Call())
}

func keyAndMap(e *emitter, s *LiveSet, at int16) {
	e.put(asm.Mov.Reg(asm.R2, asm.R10), asm.Add.Imm(asm.R2, int32(at)))
	e.loadMap(asm.R1, s.ElementsRef())
}

// changeSet writes a statement that adds an address of the packet to a set, or takes it out.
func (w *lowering) changeSet(c *ruleset.SetChange, s *LiveSet) {
	fresh, done, renew := w.newLabel("fresh"), w.newLabel("added"), w.newLabel("renew")
	at := int16(stackKey)
	if c.Field == ruleset.FieldElement {
		at = stackTuple
		tupleKey{w.layout, s.Set.Parts, c.Parts}.store(w.emitter, done)
	} else {
		w.keyOfPacket(c)
	}
	if c.Delete {
		keyAndMap(w.emitter, s, at)
		w.put(asm.FnMapDeleteElem.Call())
		w.place(done)
		return
	}
	findElement(w.emitter, s, at)
	w.put(asm.JEq.Imm(asm.R0, 0, fresh), asm.Mov.Reg(regElement, asm.R0))
	if !c.Renew { // what is over was not there
		w.put(asm.LoadMem(regExpires, regElement, offExpires, asm.DWord),
			asm.JEq.Imm(regExpires, 0, done),
			asm.FnKtimeGetNs.Call(),
			asm.JGE.Reg(asm.R0, regExpires, renew),
			asm.Ja.Label(done))
	}
	w.place(renew)
	w.expiry(c.Seconds(s.Set.Live))
	w.put(asm.StoreMem(regElement, offExpires, regExpires, asm.DWord), asm.Ja.Label(done))
	w.place(fresh)
	w.expiry(c.Seconds(s.Set.Live))
	w.put(
		asm.StoreMem(asm.R10, stackValue+offExpires, regExpires, asm.DWord),
		asm.StoreMem(asm.R10, stackValue+offAdded, asm.R0, asm.DWord),
		asm.Mov.Imm(regVal, 0),
		asm.StoreMem(asm.R10, stackValue+offElemPackets, regVal, asm.DWord),
		asm.StoreMem(asm.R10, stackValue+offElemBytes, regVal, asm.DWord))
	keyAndMap(w.emitter, s, at)
	w.put(
		asm.Mov.Reg(asm.R3, asm.R10),
		asm.Add.Imm(asm.R3, stackValue),
		asm.Mov.Imm(asm.R4, 0), // BPF_ANY; a set that is full stays as it is
		asm.FnMapUpdateElem.Call())
	w.place(done)
}

// keyOfPacket puts one of the packet's addresses, of whatever family, into the key on the stack.
func (w *lowering) keyOfPacket(c *ruleset.SetChange) {
	v4 := w.newLabel("v4")
	w.put(asm.StoreImm(asm.R10, stackKey+1, 32, asm.Byte))
	w.load(w.layout.whole("family"))
	w.put(
		asm.StoreMem(asm.R10, stackKey, regVal, asm.Byte),
		asm.JEq.Imm(regVal, int32(ruleset.FamilyIPv4), v4),
		asm.StoreImm(asm.R10, stackKey+1, 128, asm.Byte))
	w.place(v4)
	storeAddress(w.emitter, int16(w.layout.members[ruleset.Fields[c.Field].Member].off))
}

// expiry leaves the time in R0, and in regExpires when an element is over that stays for some seconds from now.
func (w *lowering) expiry(seconds uint64) {
	w.put(asm.FnKtimeGetNs.Call())
	if seconds == 0 {
		w.put(asm.Mov.Imm(regExpires, 0))
		return
	}
	w.put(asm.LoadImm(regExpires, int64(seconds*nsPerSecond), asm.DWord), asm.Add.Reg(regExpires, asm.R0))
}
