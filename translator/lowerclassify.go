package translator

import (
	"github.com/cilium/ebpf/asm"

	"github.com/bpfwall/bpfwall/ruleset"
	"github.com/bpfwall/bpfwall/translator/classify"
)

// The registers of a lookup in a classifier, besides those for one comparison.
const (
	regBest = asm.R7 // the answer found so far
	regSrc  = asm.R8 // the source's record
	regDst  = asm.R9 // the destination's

	stackPatterns = -40 // the patterns that the packet meets
	stackPorts    = -48 // the class of its ports, or portsUnknown
	stackItem     = -56 // the place of an item while its rule is counted
	stackLoop     = -64 // how many of a list are compared already, meanwhile
)

const portsUnknown = -1

// lookup writes one lookup.
type lookup struct {
	*lowering
	*classifier
	none  string // label: no rule is met
	pass  classify.Pass
	kept  kept
	later bool // it only counts what had to wait for stops
}

// classify writes what a classifier says of the packet. A packet of the other family, or that meets no rule, goes to next.
func (w *lowering) classify(c *classifier, leave, next string) {
	w.only(c.family, next)
	w.remark("classifier " + c.name + ": " + c.String())
	l := &lookup{lowering: w, classifier: c, none: next}
	if c.vectors != nil {
		l.askVectors(leave)
		return
	}
	l.keep()
	l.find()
	l.answer(leave)
}

// find leaves the answer of the first rule that the packet meets and that ends in regBest, collects the stops in front of it and counts what only counts.
func (l *lookup) find() {
	w, c := l.lowering, l.classifier
	l.setPatterns()
	l.record(c.table.Src, regSrc, ruleset.FieldSrcAddr)
	l.record(c.table.Dst, regDst, ruleset.FieldDstAddr)
	if c.table.Ports != nil {
		w.put(asm.Mov.Imm(asm.R2, portsUnknown))
		l.hide(asm.R2)
		w.put(asm.StoreMem(asm.R10, stackPorts, asm.R2, asm.DWord))
	}
	w.put(asm.Mov.Imm(regBest, -1))
	l.hide(regBest)
	if l.keeps() {
		w.put(asm.StoreMem(asm.R10, l.kept.answer, regBest, asm.DWord))
		l.hide(regBest) // that it is the same
	}
	l.clearStops()
	done := w.newLabel("answer")
	l.pass = classify.Ends
	for i, s := range c.table.Subsets {
		if s.Pass != classify.Counts && l.later {
			continue
		}
		if s.Pass != l.pass {
			w.place(done)
			done = w.newLabel("answer")
			l.begin(s.Pass)
		}
		if i > 0 {
			w.put(asm.LoadImm(asm.R1, int64(s.First)<<classify.RuleShift, asm.DWord), asm.JLE.Reg(regBest, asm.R1, done))
		}
		l.subset(i, s)
	}
	w.place(done)
}

// begin begins a pass.
func (l *lookup) begin(p classify.Pass) {
	l.pass = p
	switch {
	case l.later:
		l.put(asm.LoadMem(regBest, asm.R10, l.kept.ahead, asm.Word), asm.LSh.Imm(regBest, classify.RuleShift))
	case p == classify.Counts && l.waits():
		l.aheadOfCounts()
	}
}

// at brings the address of something in the map into a register: an index times a size behind an offset. The index is changed.
func (l *lookup) at(r, index asm.Register, off int, shift int32) {
	if shift > 0 {
		l.put(asm.LSh.Imm(index, shift))
	}
	l.put(asm.LoadMapValue(r, 0, uint32(l.classifier.base+off)).WithReference(classifierMap), asm.Add.Reg(r, index))
}

// setPatterns leaves the patterns that the packet meets on the stack. The verifier first follows the way on which the packet meets all of a test's:
// it then knows least of them, and needs to follow no other one, where it would follow each combination of ways.
func (l *lookup) setPatterns() {
	l.load(l.layout.whole("length"))
	l.put(asm.Mov.Imm(regBest, -1)) // nobody asks for the bits of patterns that there are not
	l.hide(regBest)
	for _, f := range l.fields {
		part := l.layout.whole(ruleset.Fields[f.field].Member)
		l.load(part)
		if part.size != asm.Byte {
			l.put(asm.And.Imm(regVal, int32(f.size-1)))
		}
		l.at(asm.R2, regVal, f.off, 3)
		l.put(asm.LoadMem(asm.R2, asm.R2, 0, asm.DWord), asm.And.Reg(regBest, asm.R2))
	}
	for i, t := range l.patterns.tests {
		met, unmet := l.newLabel("met"), l.newLabel("unmet")
		m := &matcher{layout: l.layout, family: l.classifier.family}
		m.cond(t).jumpUnless(l.emitter, unmet)
		l.goTo(met)
		l.place(unmet)
		l.put(asm.LoadMapValue(regImm, 0, uint32(l.classifier.base+l.unmet+8*i)).WithReference(classifierMap),
			asm.LoadMem(regImm, regImm, 0, asm.DWord), asm.And.Reg(regBest, regImm))
		l.place(met)
	}
	l.load(l.layout.whole("length"))
	l.hide(regBest)
	l.put(asm.StoreMem(asm.R10, stackPatterns, regBest, asm.DWord))
}

// hide keeps the number in a register, and hides from the verifier what it knows of it: it then follows one way from here on, not one for
// every number that may be there. The value register has anything but a constant.
func (l *lookup) hide(r asm.Register) { l.put(asm.Add.Reg(r, regVal), asm.Sub.Reg(r, regVal)) }

// record leaves where an address's record is in a register.
func (l *lookup) record(s *classify.Search, to asm.Register, field ruleset.FieldID) {
	words := l.address(field)
	l.load(words[0])
	l.interval(s, to, words...)
}

// address is the words of an address of the classifier's family, in host byte order.
func (l *lookup) address(field ruleset.FieldID) []fieldPart {
	bytes := 4
	if l.classifier.family == ruleset.FamilyIPv6 {
		bytes = 16
	}
	words := l.layout.words(ruleset.Fields[field].Member, bytes)
	for i := range words {
		words[i].swap = true
	}
	return words
}

// interval leaves where the record of a number of some words, the first of which is in the value register, is in a register.
func (l *lookup) interval(s *classify.Search, to asm.Register, words ...fieldPart) {
	found := l.newLabel("found")
	intervals := s.Starts
	l.window(s, words[0].size, found)
	l.place(found)
	if h := s.Hosts; h != nil {
		l.host(s, words[1])
		intervals = h.N
	}
	l.hide(asm.R0)
	l.put(asm.JGT.Imm(asm.R0, int32(intervals-1), l.none), asm.Mul.Imm(asm.R0, int32(s.Record)))
	l.at(to, asm.R0, s.Records, 0)
}

// window leaves in R0 which of the starts is the last that is not above the value register.
func (l *lookup) window(s *classify.Search, size asm.Size, found string) {
	l.put(asm.Mov.Imm(asm.R0, 0))
	if s.Starts == 1 {
		return
	}
	l.branch(asm.JLT, asm.DWord, s.Base, found)
	l.put(asm.Mov.Reg(asm.R3, regVal), asm.LoadImm(asm.R2, int64(s.Base), asm.DWord), asm.Sub.Reg(asm.R3, asm.R2))
	if s.Shift > 0 {
		l.put(asm.RSh.Imm(asm.R3, int32(s.Shift)))
	}
	l.atMost(asm.R3, s.Windows-1)
	l.at(asm.R2, asm.R3, s.Index, 2)
	l.put(asm.LoadMem(asm.R0, asm.R2, 0, asm.Word))
	divided, search := l.newLabel("divided"), l.newLabel("search")
	if s.Divided {
		l.put(asm.JSLT.Imm32(asm.R0, 0, divided))
	}
	l.put(asm.Mov.Reg(asm.R4, asm.R0), asm.RSh.Imm(asm.R4, classify.FewShift), asm.And.Imm(asm.R0, 1<<classify.FewShift-1))
	if s.Divided {
		l.goTo(search)
		l.place(divided)
		l.divided(s, size, found)
		l.place(search)
	}
	if size == asm.Word && s.Steps > 1 {
		l.ahead(s, found)
	}
	l.halve(array{s.At, s.Stride, size, s.Starts}, s.Steps, found)
}

// ahead finds the last of R0..R0+R4 whose start is not above the value register, if R4 is few. It counts those behind the first, whether there
// are any or not: they are compared without a branch and do not wait for each other, which for packets that all differ is half of what
// halving takes.
func (l *lookup) ahead(s *classify.Search, found string) {
	search := l.newLabel("search")
	if 1<<s.Steps-1 > classify.Ahead {
		l.put(asm.JGT.Imm(asm.R4, classify.Ahead, search))
	}
	l.put(asm.JGT.Imm(asm.R0, int32(s.Starts-classify.Ahead-1), found), asm.Mov.Reg(asm.R2, asm.R0), asm.Mul.Imm(asm.R2, int32(s.Stride)))
	l.at(asm.R3, asm.R2, s.At, 0)
	l.put(asm.Mov.Reg(asm.R5, regVal), asm.Add.Imm(asm.R5, 1))
	for i := range classify.Ahead {
		l.put(asm.LoadMem(asm.R4, asm.R3, int16(s.Stride*(i+1)), asm.Word), asm.Sub.Reg(asm.R4, asm.R5), asm.RSh.Imm(asm.R4, 63), asm.Add.Reg(asm.R0, asm.R4))
	}
	l.goTo(found)
	l.place(search)
}

// atMost makes a number no larger than so much.
func (l *lookup) atMost(r asm.Register, most uint64) {
	inside := l.newLabel("inside")
	l.put(asm.JLE.Imm(r, int32(most), inside), asm.Mov.Imm(r, int32(most)))
	l.place(inside)
}

// divided leaves in R0 a start that is not above the value register, and in R4 how many behind it may be, for the entry of a divided window
// in R0.
func (l *lookup) divided(s *classify.Search, size asm.Size, found string) {
	above, inside := l.newLabel("above"), l.newLabel("inside")
	words := classify.IPv4.HeadWords()
	if size == asm.DWord {
		words = classify.IPv6.HeadWords()
	}
	head := 4 * int16(words)
	l.put(asm.Mov.Reg(asm.R5, asm.R0), asm.And.Imm(asm.R5, classify.Divided-1), asm.JGT.Imm(asm.R5, int32(s.Words-words), found),
		asm.Mov.Reg(asm.R2, asm.R5))
	l.at(asm.R3, asm.R2, s.Index, 2)
	l.put(asm.LoadMem(asm.R2, asm.R3, 0, size), asm.LoadMem(asm.R4, asm.R3, head-4, asm.Word),
		asm.Mov.Reg(asm.R3, regVal), asm.JGE.Reg(asm.R3, asm.R2, above), asm.Mov.Reg(asm.R3, asm.R2))
	l.place(above)
	l.put(asm.Sub.Reg(asm.R3, asm.R2), asm.Mov.Reg(asm.R2, asm.R4), asm.And.Imm(asm.R2, 63), asm.RSh.Reg(asm.R3, asm.R2),
		asm.RSh.Imm(asm.R4, classify.ShiftBits), asm.JLE.Reg(asm.R3, asm.R4, inside), asm.Mov.Reg(asm.R3, asm.R4))
	l.place(inside)
	l.put(asm.Add.Reg(asm.R3, asm.R5), asm.JGT.Imm(asm.R3, int32(s.Words-words-2), found))
	l.at(asm.R2, asm.R3, s.Index+int(head), 2)
	l.put(asm.LoadMem(asm.R0, asm.R2, 0, asm.Word), asm.LoadMem(asm.R4, asm.R2, 4, asm.Word), asm.Sub.Reg(asm.R4, asm.R0))
}

// halve finds the last of R0..R0+R4 whose number in an array is not above the value register. The first one's is not. It branches by what
// it finds: for packets like those before the processor knows the way, and need not wait for one load after the other; for others, an error
// costs it no more than waiting does.
func (l *lookup) halve(a array, steps int, found string) {
	for range steps {
		above := l.newLabel("above")
		l.put(asm.JEq.Imm(asm.R4, 0, found),
			asm.Mov.Reg(asm.R5, asm.R4), asm.Add.Imm(asm.R5, 1), asm.RSh.Imm(asm.R5, 1), asm.RSh.Imm(asm.R4, 1),
			asm.Mov.Reg(asm.R2, asm.R0), asm.Add.Reg(asm.R2, asm.R5), asm.JGT.Imm(asm.R2, int32(a.n-1), found), asm.Mul.Imm(asm.R2, int32(a.stride)))
		l.at(asm.R3, asm.R2, a.off, 0)
		l.put(asm.LoadMem(asm.R3, asm.R3, 0, a.size), asm.JGT.Reg(asm.R3, regVal, above), asm.Add.Reg(asm.R0, asm.R5))
		l.place(above)
	}
}

// array is n sorted numbers in the map.
type array struct {
	off, stride int
	size        asm.Size
	n           uint64
}

// host goes on from the start in R0, whose upper half of an address may be that in the value register, to the interval.
func (l *lookup) host(s *classify.Search, low fieldPart) {
	h := s.Hosts
	same, found := l.newLabel("same"), l.newLabel("found")
	l.put(asm.JGT.Imm(asm.R0, int32(s.Starts-1), l.none), asm.Mov.Reg(asm.R2, asm.R0))
	l.at(asm.R3, asm.R2, h.First, 2)
	l.put(asm.Mov.Reg(asm.R2, asm.R0), asm.LoadMem(asm.R0, asm.R3, 0, asm.Word), asm.LoadMem(asm.R4, asm.R3, 4, asm.Word), asm.Sub.Imm(asm.R4, 1))
	l.at(asm.R3, asm.R2, s.At, 3)
	l.put(asm.LoadMem(asm.R3, asm.R3, 0, asm.DWord), asm.JEq.Reg(asm.R3, regVal, same), asm.Mov.Reg(asm.R0, asm.R4))
	l.goTo(found)
	l.place(same)
	l.put(asm.Sub.Reg(asm.R4, asm.R0))
	l.load(low)
	l.halve(array{h.At, 8, asm.DWord, h.N}, h.Steps, found)
	l.place(found)
}

// subset asks a subset for a rule in front of the best one.
func (l *lookup) subset(i int, s classify.Subset) {
	next, list := l.newLabel("subset"), l.newLabel("list")
	l.put(l.word(asm.R1, regSrc, l.table.Src, i), l.word(asm.R2, regDst, l.table.Dst, i),
		asm.Mov.Reg(asm.R3, asm.R1), asm.Sub.Reg(asm.R3, asm.R2), asm.JGT.Imm(asm.R3, int32(s.Size-1), next))
	l.at(asm.R4, asm.R3, s.Cells, classify.ItemShift)
	l.put(asm.LoadMem(asm.R2, asm.R4, 0, asm.Word), asm.JNE.Reg(asm.R2, asm.R1, next), asm.Mov.Reg(asm.R3, asm.R4))
	l.before(next)
	if l.table.MaxList > 0 {
		l.put(asm.JSet.Imm(asm.R1, int32(classify.IsList), list))
	}
	l.unlessCounted(next)
	l.pattern(next)
	l.ports(ruleset.FieldDstPort, classify.DstOffset, next)
	l.meet(next)
	if l.table.MaxList > 0 {
		l.goTo(next)
		l.place(list)
		l.list(next)
	}
	l.place(next)
}

// word loads the word of a subset from a record.
func (l *lookup) word(to, record asm.Register, s *classify.Search, subset int) asm.Instruction {
	w := s.Word[subset]
	return asm.LoadMem(to, record, int16(w.At), loadSizes[w.Size])
}

// list compares the items that the cell at R3 leads to.
func (l *lookup) list(next string) {
	l.put(asm.LoadMem(asm.R1, asm.R3, classify.RefOffset, asm.Word))
	if l.table.Ports != nil {
		l.row(next)
	}
	l.put(asm.JGT.Imm(asm.R1, int32(l.table.MaxItems-1), next))
	l.at(asm.R3, asm.R1, l.table.Items, classify.ItemShift)
	l.items(next)
}

// row replaces a ref of a row in R1 by what the row says for the packet's ports.
func (l *lookup) row(next string) {
	p := l.table.Ports
	direct, known := l.newLabel("direct"), l.newLabel("known")
	l.put(asm.Mov.Reg(asm.R2, asm.R1), asm.RSh.Imm(asm.R2, 31), asm.JEq.Imm(asm.R2, 0, direct), asm.And.Imm(asm.R1, classify.RowRef-1),
		asm.LoadMem(asm.R2, asm.R10, stackPorts, asm.DWord), asm.JNE.Imm(asm.R2, portsUnknown, known))
	l.port(asm.R3, ruleset.FieldSrcPort)
	l.at(asm.R4, asm.R3, p.Src, 1)
	l.put(asm.LoadMem(asm.R3, asm.R4, 0, asm.Half), asm.Mul.Imm(asm.R3, int32(p.Dsts)))
	l.port(asm.R2, ruleset.FieldDstPort)
	l.at(asm.R4, asm.R2, p.Dst, 1)
	l.put(asm.LoadMem(asm.R2, asm.R4, 0, asm.Half), asm.Add.Reg(asm.R2, asm.R3), asm.JGT.Imm(asm.R2, int32(p.Size-1), next))
	l.at(asm.R4, asm.R2, p.Combined, 2)
	l.put(asm.LoadMem(asm.R2, asm.R4, 0, asm.Word), asm.StoreMem(asm.R10, stackPorts, asm.R2, asm.DWord))
	l.place(known)
	l.put(asm.Add.Reg(asm.R1, asm.R2), asm.JGT.Imm(asm.R1, int32(p.RowsSize-1), next))
	l.at(asm.R3, asm.R1, p.Rows, 2)
	l.put(asm.LoadMem(asm.R1, asm.R3, 0, asm.Word))
	l.place(direct)
}

// port loads a port, or 0 if the packet has none: the lower half of the member. The bit that says so is in the upper one.
func (l *lookup) port(to asm.Register, f ruleset.FieldID) {
	name := ruleset.Fields[f].Member
	part := l.layout.part(name, 0, 2)
	if l.order.Uint16([]byte{0, 1}) == 1 {
		part = l.layout.part(name, 2, 2)
	}
	l.put(asm.LoadMem(to, regPkt, part.off, part.size))
}

// items compares the items from R3 on, and leaves the answer of the first one that the packet meets in regBest.
func (l *lookup) items(next string) {
	loop, miss := l.newLabel("item"), l.newLabel("miss")
	if l.table.MaxList > 1 {
		l.put(asm.Mov.Imm(asm.R0, 0))
		l.placeLoop(loop)
	}
	l.before(next)
	l.unlessCounted(miss)
	l.pattern(miss)
	l.ports(ruleset.FieldSrcPort, 0, miss)
	l.ports(ruleset.FieldDstPort, classify.DstOffset, miss)
	l.meet(next)
	l.place(miss)
	if l.table.MaxList > 1 {
		l.put(asm.LoadMem(asm.R1, asm.R3, classify.AnswerOffset, asm.DWord), asm.JSet.Imm(asm.R1, int32(classify.IsLast), next),
			asm.Add.Imm(asm.R3, classify.ItemSize), asm.Add.Imm(asm.R0, 1), asm.JLT.Imm(asm.R0, int32(l.table.MaxList), loop))
	}
}

// before loads the answer of the item or cell at R3 into R1. It goes on with done if what the packet has met is in front of it, so that those
// behind are of no interest either.
func (l *lookup) before(done string) {
	l.put(asm.LoadMem(asm.R1, asm.R3, classify.AnswerOffset, asm.DWord), asm.JGE.Reg(asm.R1, regBest, done))
}

// unlessCounted goes on with counted if the rule of the answer in R1 is.
func (l *lookup) unlessCounted(counted string) {
	if l.later && l.pass == classify.Counts {
		l.put(asm.LoadMem(asm.R4, asm.R10, l.kept.from, asm.Word), asm.LSh.Imm(asm.R4, classify.RuleShift), asm.JLT.Reg(asm.R1, asm.R4, counted))
	}
}

// pattern goes on with miss unless the packet meets the pattern of the answer in R1.
func (l *lookup) pattern(miss string) {
	l.put(asm.Mov.Reg(asm.R4, asm.R1), asm.And.Imm(asm.R4, classify.PatternMask), asm.LoadMem(asm.R5, asm.R10, stackPatterns, asm.DWord),
		asm.RSh.Reg(asm.R5, asm.R4), asm.And.Imm(asm.R5, 1), asm.JEq.Imm(asm.R5, 0, miss))
}

// ports goes on with miss unless a port is in the range that is so far in the item at R3.
func (l *lookup) ports(f ruleset.FieldID, off int16, miss string) {
	l.port(asm.R4, f)
	l.put(asm.LoadMem(asm.R5, asm.R3, off, asm.Half), asm.Sub.Reg(asm.R4, asm.R5),
		asm.LoadMem(asm.R5, asm.R3, off+2, asm.Half), asm.JGT.Reg(asm.R4, asm.R5, miss))
}

// meet notes the rule of the item at R3, whose answer is in R1. R0 and R3 stay what they are.
func (l *lookup) meet(next string) {
	switch l.pass {
	case classify.Stops:
		l.slot(asm.R4, asm.R1)
		l.collect(next)
	case classify.Counts:
		l.countItem()
	default:
		// The verifier must not learn that the rule is in front of the best one: it would have to follow every number of rules that were found so far.
		l.put(asm.LoadMem(regBest, asm.R3, classify.AnswerOffset, asm.DWord))
		if l.keeps() {
			l.put(asm.LoadMem(asm.R4, asm.R3, classify.AnswerOffset, asm.DWord), asm.StoreMem(asm.R10, l.kept.answer, asm.R4, asm.DWord))
		}
		l.goTo(next)
	}
}

// keeps reports whether the answer is kept while stops run. It is not taken from regBest then: the verifier would want to know exactly what
// is in that, once the number of a stop says which word of bits is meant.
func (l *lookup) keeps() bool { return len(l.stops) > 0 && !l.later }

// slot takes the slot out of an answer.
func (l *lookup) slot(to, answer asm.Register) {
	l.put(asm.Mov.Reg(to, answer), asm.LSh.Imm(to, 64-classify.RuleShift), asm.ArSh.Imm(to, 64-classify.SlotBits))
}

// code takes the code out of an answer.
func (l *lookup) code(to, answer asm.Register) {
	l.put(asm.Mov.Reg(to, answer), asm.RSh.Imm(to, classify.CodeShift), asm.And.Imm(to, codeNone))
}

// answer does what the best rule says, behind the stops in front of it: counts it and decides, or leaves the chain.
func (l *lookup) answer(leave string) {
	rule := l.layout.whole("rule")
	if len(l.stops) > 0 {
		l.lastStop()
		l.writeStops(leave, l.newLabel("decide"))
		l.put(asm.LoadMem(regBest, asm.R10, l.kept.answer, asm.DWord))
	}
	l.slot(asm.R2, regBest)
	l.code(regCode, regBest) // which is the same register
	l.put(asm.JEq.Imm(regCode, codeNone, l.none), asm.StoreMem(regPkt, rule.off, asm.R2, rule.size))
	l.verdict(leave)
}

// verdict does what the code of a table in regCode says.
func (l *lookup) verdict(leave string) {
	if l.leaves() {
		decide := l.newLabel("decide")
		l.put(asm.JNE.Imm(regCode, codeLeave, decide))
		l.countOn()
		l.goTo(leave)
		l.place(decide)
	}
	l.put(asm.Mov.Reg(asm.R2, regCode), asm.RSh.Imm(asm.R2, withShift), asm.LSh.Imm(asm.R2, 8),
		asm.And.Imm(regCode, kindMask), asm.Or.Reg(regCode, asm.R2))
	l.goTo(l.decided)
}

// lastStop collects the best rule if it is a stop itself.
func (l *lookup) lastStop() {
	no := l.newLabel("ends")
	l.put(asm.LoadMem(asm.R1, asm.R10, l.kept.answer, asm.DWord))
	l.code(asm.R4, asm.R1)
	l.put(asm.JNE.Imm(asm.R4, codeStop, no))
	l.slot(asm.R4, asm.R1)
	l.collect(l.none)
	l.place(no)
}
