package translator

import (
	"fmt"

	"github.com/cilium/ebpf/asm"

	"github.com/bpfwall/bpfwall/ruleset"
)

// The protocols whose ports, or type and code, are the port of an element, as in ip_set_getport.c of the kernel.
var (
	portProtocols = []int32{6, 17, 132, 136}
	typeProtocols = []int32{1, 58}
)

// tupleKey is several fields of a packet as an element of a set.
type tupleKey struct {
	layout *layout
	parts  []ruleset.Part
	fields []ruleset.FieldID
}

// field is the packet's field for a part; of addresses the n-th.
func (k tupleKey) field(p ruleset.Part, n int) ruleset.FieldID {
	for i, part := range k.parts {
		if part != p {
			continue
		}
		if n == 0 {
			return k.fields[i]
		}
		n--
	}
	return 0
}

func (k tupleKey) part(f ruleset.FieldID) fieldPart {
	return k.layout.whole(ruleset.Fields[f].Member)
}

// store puts the key on the stack at stackTuple; a packet that lacks a part goes to miss.
func (k tupleKey) store(e *emitter, miss string) {
	s := shapeOf(k.parts)
	at := int16(stackTuple)
	e.put(asm.StoreImm(asm.R10, at, 0, asm.Word))
	if s.hasAddrs {
		k.storeFamily(e, at)
	}
	at += keyHead
	for _, p := range s.numbers {
		k.number(e, p, at, miss)
		at += int16(2 * numberWords[p])
	}
	if s.pad {
		e.put(asm.StoreImm(asm.R10, at, 0, asm.Half))
		at += 2
	}
	if s.iface {
		from := k.part(k.field(ruleset.PartInterface, 0)).off
		e.put(asm.LoadMem(regVal, regPkt, from, asm.DWord), asm.JEq.Imm(regVal, 0, miss))
		at = copyWords(e, from, at)
	}
	if s.first {
		at = copyWords(e, k.part(k.field(ruleset.PartAddress, 0)).off, at)
	}
	if s.hasAddrs {
		n := 0
		if s.first {
			n = 1
		}
		copyWords(e, k.part(k.field(ruleset.PartAddress, n)).off, at)
	}
}

// storeFamily stores the family, and the bits of a whole address.
func (k tupleKey) storeFamily(e *emitter, at int16) {
	v4 := e.newLabel("v4")
	e.put(asm.StoreImm(asm.R10, at+1, 32, asm.Byte))
	e.load(k.layout.whole("family"))
	e.put(
		asm.StoreMem(asm.R10, at, regVal, asm.Byte),
		asm.JEq.Imm(regVal, int32(ruleset.FamilyIPv4), v4),
		asm.StoreImm(asm.R10, at+1, 128, asm.Byte))
	e.place(v4)
}

// copyWords copies 16 bytes of the packet to the stack and returns the place behind.
func copyWords(e *emitter, from, to int16) int16 {
	for i := int16(0); i < 16; i += 4 {
		e.put(asm.LoadMem(regVal, regPkt, from+i, asm.Word), asm.StoreMem(asm.R10, to+i, regVal, asm.Word))
	}
	return to + 16
}

// number stores a part that is a number.
func (k tupleKey) number(e *emitter, p ruleset.Part, at int16, miss string) {
	f := k.field(p, 0)
	switch p {
	case ruleset.PartPort:
		e.load(k.part(ruleset.FieldProto))
		storeWords(e, at, 1)
		k.port(e, f, at+2, miss)
		return
	case ruleset.PartMAC:
		e.load(k.part(f))
		e.put(asm.Mov.Reg(regImm, regVal), asm.RSh.Imm(regImm, int32(ruleset.Fields[f].Bits)), asm.JNE.Imm(regImm, 0, miss))
	default:
		e.load(k.part(f))
	}
	storeWords(e, at, numberWords[p])
}

// port stores the port, with the protocol in the value register.
func (k tupleKey) port(e *emitter, f ruleset.FieldID, at int16, miss string) {
	ports, types, store := e.newLabel("ports"), e.newLabel("types"), e.newLabel("store")
	for _, n := range portProtocols {
		e.put(asm.JEq.Imm(regVal, n, ports))
	}
	for _, n := range typeProtocols {
		e.put(asm.JEq.Imm(regVal, n, types))
	}
	e.put(asm.Mov.Imm(regVal, 0), asm.Ja.Label(store))
	e.place(types)
	e.load(k.part(ruleset.FieldICMPType))
	e.put(asm.JGT.Imm(regVal, 0xff, miss), asm.Mov.Reg(regImm, regVal), asm.LSh.Imm(regImm, 8))
	e.load(k.part(ruleset.FieldICMPCode))
	e.put(asm.Or.Reg(regVal, regImm), asm.Ja.Label(store))
	e.place(ports)
	e.load(k.part(f))
	e.put(asm.JGT.Imm(regVal, 0xffff, miss))
	e.place(store)
	storeWords(e, at, 1)
}

// storeWords stores the value register as so many big-endian words.
func storeWords(e *emitter, at int16, words int) {
	for i := range words {
		e.put(asm.Mov.Reg(regImm, regVal))
		if shift := 16 * (words - 1 - i); shift > 0 {
			e.put(asm.RSh.Imm(regImm, int32(shift)))
		}
		e.put(asm.HostTo(asm.BE, regImm, asm.Half), asm.StoreMem(asm.R10, at+2*int16(i), regImm, asm.Half))
	}
}

// tuple holds if several fields of the packet together are in a set.
type tuple struct {
	key    tupleKey
	static *SetMap  // nil: the set lists nothing
	live   *LiveSet // nil: nothing is added at run time
}

// tuple is the condition of a match.
func (m *matcher) tuple(t *test) cond {
	c := tuple{key: tupleKey{m.layout, t.parts, t.Parts}}
	for _, s := range t.sets {
		c.static = s
	}
	for _, s := range t.live {
		c.live = s
	}
	return shareable{id: fmt.Sprintf("set %q, %s", t.named, ruleset.FieldsText(t.Parts)), levels: 2 * shapeOf(t.parts).levels(ruleset.FamilyIPv6), cond: decided{c}}
}

func (c tuple) jump(e *emitter, hit, miss string) {
	c.key.store(e, miss)
	other, searched := e.newLabel("ipv6"), e.newLabel("searched")
	if shapeOf(c.key.parts).hasAddrs {
		e.load(c.key.layout.whole("family"))
		e.put(asm.JNE.Imm(regVal, int32(ruleset.FamilyIPv4), other))
		c.search(e, ruleset.FamilyIPv4, hit)
		e.put(asm.Ja.Label(searched))
		e.place(other)
	}
	c.search(e, ruleset.FamilyIPv6, hit)
	e.place(searched)
	if c.live == nil || !c.live.Set.Live.Dynamic {
		e.put(asm.Ja.Label(miss))
		return
	}
	element{set: c.live, layout: c.key.layout, at: stackTuple}.found(e, hit, miss)
}

// search goes to hit if a table has the key on the stack, for packets of a family.
func (c tuple) search(e *emitter, f ruleset.Family, hit string) {
	s := shapeOf(c.key.parts)
	l := tableLookup{base: asm.R10, key: stackTuple + keyHead, levels: s.levels(f)}
	if f == ruleset.FamilyIPv6 && s.hasAddrs {
		l.root = 1
	}
	if c.static != nil {
		l.name, l.bytes = c.static.Name, len(c.static.table)
		l.jumpIf(e, hit)
	}
	if c.live != nil && c.live.Set.Live.Dynamic && s.hasAddrs {
		l.root += RootElements4
		l.name, l.bytes = c.live.TableRef(), c.live.tableBytes()
		c.network(e, timed{l}, f, hit)
	}
}

// network goes to hit if the table of the elements that are networks has the key, and counts the packet.
func (c tuple) network(e *emitter, t timed, f ruleset.Family, hit string) {
	if !c.live.Set.Live.Counters {
		decided{t}.jumpIf(e, hit)
		return
	}
	found, miss := e.newLabel("network"), e.newLabel("miss")
	t.jump(e, found, miss)
	e.place(found)
	element{set: c.live, family: f, layout: c.key.layout, at: stackTuple}.countNetwork(e, hit)
	e.place(miss)
}
