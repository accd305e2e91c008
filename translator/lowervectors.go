package translator

import (
	"slices"

	"github.com/cilium/ebpf/asm"

	"github.com/bpfwall/bpfwall/ruleset"
	"github.com/bpfwall/bpfwall/translator/classify"
)

// The stack of a lookup in bit vectors, besides patterns and answer: for each dimension where the record of the packet's value is, and its
// row of the block.
const (
	stackFound   = -56 // the answer
	stackVectors = -64
	vectorsLow   = -248
)

// The registers of one.
const (
	regWord  = asm.R4 // bits of rules
	regFirst = asm.R5 // the rule of the lowest bit of the word
	regLeft  = asm.R8 // the aggregate: words of the block that are still to be looked at
	regTurns = asm.R9 // how many were
)

// vectorField is the field that a dimension is about.
var vectorField = map[classify.By]ruleset.FieldID{
	classify.BySrc: ruleset.FieldSrcAddr, classify.ByDst: ruleset.FieldDstAddr,
	classify.BySrcPort: ruleset.FieldSrcPort, classify.ByDstPort: ruleset.FieldDstPort,
}

// vectorLookup writes a lookup in bit vectors.
type vectorLookup struct {
	*lookup
	*classify.Vectors
	rule fieldPart // fw_pkt.rule: no rule in front of it counts
}

// askVectors asks the function of bit vectors for the first rule: one function for this and for what is behind stops, since the call costs little
// beside them. A packet that meets none goes to next.
func (l *lookup) askVectors(leave string) {
	ends := l.newLabel("resumed")
	rule := l.layout.whole("rule")
	l.store(rule, 0)
	l.call(l.classifier.nextFn.name)
	if len(l.stops) > 0 {
		l.put(asm.JNE.Imm32(asm.R0, resumedStop, ends), asm.LoadMem(regStop, regPkt, rule.off, rule.size))
	}
	l.writeNext(leave, ends)
}

// findVector leaves the first rule from that in fw_pkt.rule on that the packet meets in regBest.
func (l *lookup) findVector() {
	v := &vectorLookup{lookup: l, Vectors: l.classifier.vectors, rule: l.layout.whole("rule")}
	if slices.ContainsFunc(v.Dims, func(d classify.VectorDim) bool { return d.By == classify.ByPatterns }) {
		l.setPatterns()
	}
	for i, d := range v.Dims {
		l.interval(d.Search, asm.R9, v.value(d)...)
		l.put(asm.StoreMem(asm.R10, v.record(i), asm.R9, asm.DWord))
	}
	found := l.newLabel("found")
	for b := range v.Blocks {
		v.block(b, found)
	}
	l.goTo(l.none)
	l.place(found)
	l.put(asm.JGT.Imm(regBest, int32(v.Vectors.Rules-1), l.none), asm.Mov.Reg(asm.R1, regBest))
	l.at(asm.R2, asm.R1, v.Answers, 3)
	l.put(asm.LoadMem(asm.R1, asm.R2, 0, asm.DWord), asm.StoreMem(asm.R10, stackFound, asm.R1, asm.DWord))
}

// record and row are the places on the stack of the i-th dimension.
func (v *vectorLookup) record(i int) int16 { return stackVectors - 8*int16(i) }
func (v *vectorLookup) row(i int) int16    { return v.record(len(v.Dims) + i) }

// value loads what the packet has for a dimension: the first of some words.
func (v *vectorLookup) value(d classify.VectorDim) []fieldPart {
	switch d.By {
	case classify.BySrc, classify.ByDst:
		words := v.address(vectorField[d.By])
		v.load(words[0])
		return words
	case classify.ByPatterns:
		v.put(asm.LoadMem(regVal, asm.R10, stackPatterns, asm.DWord), asm.LoadImm(regImm, int64(d.Mask), asm.DWord), asm.And.Reg(regVal, regImm))
		return []fieldPart{{size: asm.DWord}}
	}
	v.port(regVal, vectorField[d.By])
	return []fieldPart{{size: asm.Word}}
}

// block looks for a rule of a block. The verifier follows each turn of the loop, but the way out of it only once.
func (v *vectorLookup) block(b int, found string) {
	next, loop, more := v.newLabel("block"), v.newLabel("word"), v.newLabel("more")
	if b+1 < v.Blocks {
		v.put(v.from(asm.R1), asm.JGE.Imm(asm.R1, int32((b+1)*v.Block), next))
	}
	v.aggregate(b)
	v.put(asm.Mov.Imm(regTurns, 0))
	v.placeLoop(loop)
	v.put(asm.JEq.Imm(regLeft, 0, next))
	v.lowestBit(regLeft)
	v.put(asm.Xor.Reg(regLeft, asm.R3), asm.Mov.Reg(regFirst, asm.R1), asm.LSh.Imm(regFirst, 6), asm.Add.Imm(regFirst, int32(b*v.Block)))
	v.word(more)
	v.lowestBit(regWord)
	v.put(asm.Mov.Reg(regBest, asm.R1), asm.Add.Reg(regBest, regFirst))
	v.goTo(found)
	v.place(more)
	v.put(asm.Add.Imm(regTurns, 1), asm.JLT.Imm(regTurns, int32(v.Block/64), loop))
	v.place(next)
}

// from loads the rule from which on rules count.
func (v *vectorLookup) from(r asm.Register) asm.Instruction {
	return asm.LoadMem(r, regPkt, v.rule.off, v.rule.size)
}

// aggregate finds the rows of a block, and leaves the words that may have a rule in regLeft.
func (v *vectorLookup) aggregate(b int) {
	whole := v.newLabel("whole")
	for i := range v.Dims {
		v.put(asm.LoadMem(asm.R1, asm.R10, v.record(i), asm.DWord), asm.LoadMem(asm.R1, asm.R1, int16(4*b), asm.Word),
			asm.JGT.Imm(asm.R1, int32(v.Units-1-v.Block/64), v.none))
		v.at(asm.R2, asm.R1, v.Rows, 3)
		v.put(asm.StoreMem(asm.R10, v.row(i), asm.R2, asm.DWord), asm.LoadMem(asm.R2, asm.R2, 0, asm.DWord))
		v.and(i, regLeft)
	}
	v.put(v.from(asm.R1), asm.JLE.Imm(asm.R1, int32(b*v.Block), whole), asm.Sub.Imm(asm.R1, int32(b*v.Block)), asm.RSh.Imm(asm.R1, 6),
		asm.Mov.Imm(asm.R2, -1), asm.LSh.Reg(asm.R2, asm.R1), asm.And.Reg(regLeft, asm.R2))
	v.place(whole)
}

// and takes the bits in R2 of the i-th dimension into a register.
func (v *vectorLookup) and(i int, to asm.Register) {
	if i == 0 {
		v.put(asm.Mov.Reg(to, asm.R2))
		return
	}
	v.put(asm.And.Reg(to, asm.R2))
}

// word leaves the rules of the word whose number is in R1 and whose first rule is in regFirst in regWord; none: more.
func (v *vectorLookup) word(more string) {
	all := v.newLabel("all")
	v.put(asm.LSh.Imm(asm.R1, 3))
	for i := range v.Dims {
		v.put(asm.LoadMem(asm.R2, asm.R10, v.row(i), asm.DWord), asm.Add.Reg(asm.R2, asm.R1), asm.LoadMem(asm.R2, asm.R2, 8, asm.DWord))
		v.and(i, regWord)
	}
	v.put(v.from(asm.R3), asm.Sub.Reg(asm.R3, regFirst), asm.JSLE.Imm(asm.R3, 0, all),
		asm.Mov.Imm(asm.R2, -1), asm.LSh.Reg(asm.R2, asm.R3), asm.And.Reg(regWord, asm.R2))
	v.place(all)
	v.put(asm.JEq.Imm(regWord, 0, more))
}

// lowestBit leaves the lowest bit of a register in R3, and its place in R1.
func (v *vectorLookup) lowestBit(of asm.Register) {
	v.put(asm.Mov.Imm(asm.R3, 0), asm.Sub.Reg(asm.R3, of), asm.And.Reg(asm.R3, of), asm.Mov.Reg(asm.R1, asm.R3),
		asm.LoadImm(asm.R2, classify.DeBruijn, asm.DWord), asm.Mul.Reg(asm.R1, asm.R2), asm.RSh.Imm(asm.R1, 58))
	v.at(asm.R2, asm.R1, v.Lowest, 0)
	v.put(asm.LoadMem(asm.R1, asm.R2, 0, asm.Byte), asm.And.Imm(asm.R1, 63))
}
