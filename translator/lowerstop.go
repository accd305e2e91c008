package translator

import (
	"github.com/cilium/ebpf/asm"

	"github.com/bpfwall/bpfwall/translator/classify"
)

// kept is where on the stack that is what of a lookup outlives it while the stops' code runs: the answer of the rule that ends the packet's
// way, a bit for each stop in front of it that the packet meets, and for classifiers whose rules count, too, how far these are counted.
type kept struct {
	answer int16
	bits   int16 // of the first group; the others' are above
	ahead  int16 // 4 bytes: 1 if the packet meets a stop; if a rule that only counts has to wait for it, 1 more than the rule that ends the packet's way
	from   int16 // 4 bytes: the first rule that is not counted yet
}

// aheadCounts is the least that stands for a rule: the first one never ends the way of a packet that meets others.
const aheadCounts = 2

// keptBelow is what a lookup keeps right below a place on the stack.
func keptBelow(at int16, groups int) kept {
	bits := at - 8 - int16(8*groups)
	return kept{answer: at - 8, bits: bits, ahead: bits - 8, from: bits - 4}
}

// firstKept is where no other code puts anything.
var firstKept = keptBelow(0, 1)

// keep finds room for what a lookup keeps: below what the stops' code needs itself if another lookup waits for this one.
func (l *lookup) keep() {
	if l.lowering.kept == 0 && l.groups() <= 1 {
		l.kept = firstKept
		return
	}
	l.kept = keptBelow(min(l.lowering.kept, stackLoop, l.classifier.bottom()), l.groups())
}

// group is the stops that one word has bits for.
const group = 64

// groups is how many words the bits of the stops are.
func (c *classifier) groups() int {
	if c.vectors != nil {
		return 1 // which has no bits
	}
	return (len(c.stops) + group - 1) / group
}

// inline is the stops whose code stands where the classifier is asked.
func (c *classifier) inline() []stop {
	if c.groups() > 1 {
		return nil
	}
	return c.stops
}

// functions is how many functions it needs of its own.
func (c *classifier) functions() (n int) {
	if c.waits() || c.vectors != nil {
		n++
	}
	if c.groups() > 1 {
		n += c.groups()
	}
	return n
}

// waits reports whether rules that only count may have to wait for what a stop in front of them says.
func (c *classifier) waits() bool { return c.counts > 0 && c.open }

// clearStops begins without any stop.
func (l *lookup) clearStops() {
	if len(l.stops) == 0 || l.later {
		return
	}
	l.put(asm.Mov.Imm(asm.R2, 0))
	l.hide(asm.R2)
	for g := range l.groups() {
		l.put(asm.StoreMem(asm.R10, l.kept.bits+int16(8*g), asm.R2, asm.DWord))
	}
}

// collect notes the stop whose number is in R4. R0 and R3 stay what they are.
func (l *lookup) collect(next string) {
	at, off := asm.R10, l.kept.bits
	if l.groups() > 1 {
		at, off = asm.R2, 0
		l.put(asm.Mov.Reg(asm.R2, asm.R4), asm.RSh.Imm(asm.R2, 6), asm.JGT.Imm(asm.R2, int32(l.groups()-1), next), asm.LSh.Imm(asm.R2, 3),
			asm.Add.Reg(asm.R2, asm.R10), asm.Add.Imm(asm.R2, int32(l.kept.bits)), asm.And.Imm(asm.R4, group-1))
	}
	l.put(asm.Mov.Imm(asm.R5, 1), asm.LSh.Reg(asm.R5, asm.R4),
		asm.LoadMem(asm.R1, at, off, asm.DWord), asm.Or.Reg(asm.R1, asm.R5), asm.StoreMem(at, off, asm.R1, asm.DWord))
}

// anyStops leaves in R2 the bits of all groups, put together.
func (l *lookup) anyStops() {
	l.put(asm.LoadMem(asm.R2, asm.R10, l.kept.bits, asm.DWord))
	for g := 1; g < l.groups(); g++ {
		l.put(asm.LoadMem(asm.R1, asm.R10, l.kept.bits+int16(8*g), asm.DWord), asm.Or.Reg(asm.R2, asm.R1))
	}
}

// aheadOfCounts notes whether stops are met, before rules that only count are asked for.
func (l *lookup) aheadOfCounts() {
	none := l.newLabel("ahead")
	l.anyStops()
	l.load(l.layout.whole("length")) // for hide
	l.put(asm.Mov.Imm(asm.R4, 0), asm.JEq.Imm(asm.R2, 0, none), asm.Mov.Imm(asm.R4, aheadCounts-1))
	l.place(none)
	l.hide(asm.R4)
	l.put(asm.StoreMem(asm.R10, l.kept.ahead, asm.R4, asm.Word), asm.StoreImm(asm.R10, l.kept.from, 0, asm.Word))
}

// countItem counts the rule of the item at R3, unless it has to wait. R0 and R3 stay what they are.
func (l *lookup) countItem() {
	done := l.newLabel("counted")
	if l.waits() && !l.later {
		now := l.newLabel("now")
		l.put(asm.LoadMem(asm.R4, asm.R10, l.kept.ahead, asm.Word), asm.JEq.Imm(asm.R4, 0, now),
			asm.Mov.Reg(asm.R4, regBest), asm.RSh.Imm(asm.R4, classify.RuleShift), asm.Add.Imm(asm.R4, 1), asm.StoreMem(asm.R10, l.kept.ahead, asm.R4, asm.Word))
		l.goTo(done)
		l.place(now)
	}
	loops := l.table.MaxList > 1
	l.put(asm.StoreMem(asm.R10, stackItem, asm.R3, asm.DWord))
	if loops {
		l.put(asm.StoreMem(asm.R10, stackLoop, asm.R0, asm.DWord))
	}
	l.slot(regVal, asm.R1)
	l.countSlot()
	l.put(asm.LoadMem(asm.R3, asm.R10, stackItem, asm.DWord))
	if loops {
		l.put(asm.LoadMem(asm.R0, asm.R10, stackLoop, asm.DWord))
	}
	l.place(done)
}

// writeStops writes what is done for the stops that the packet meets, before the answer, whose place is in the code behind it.
func (l *lookup) writeStops(leave, answer string) {
	l.anyStops()
	l.put(asm.JEq.Imm(asm.R2, 0, answer))
	if l.groups() == 1 {
		outer := l.lowering.kept
		l.lowering.kept = l.kept.ahead
		l.stopsOf(0, leave, answer)
		l.lowering.kept = outer
		l.place(answer)
		l.catchUp(len(l.rules))
		return
	}
	for g := range l.groups() {
		next := l.newLabel("group")
		l.put(asm.LoadMem(asm.R2, asm.R10, l.kept.bits+int16(8*g), asm.DWord), asm.JEq.Imm(asm.R2, 0, next), asm.Mov.Imm(asm.R3, 0))
		if l.waits() {
			l.put(asm.LoadMem(asm.R3, asm.R10, l.kept.ahead, asm.DWord))
		}
		l.callNumbers(l.classifier.groupFn[g].name, 2)
		l.put(asm.JEq.Imm32(asm.R0, left, leave), asm.JNE.Imm32(asm.R0, 0, l.out))
		if l.waits() {
			l.put(asm.StoreImm(asm.R10, l.kept.from, int64(l.stops[min(len(l.stops), group*(g+1))-1].rule+1), asm.Word))
		}
		l.place(next)
	}
	l.place(answer)
	l.catchUp(len(l.rules))
}

// stopsOf writes the stops of a group, for the bits that are on the stack. It goes on at ends.
func (l *lookup) stopsOf(g int, leave, ends string) {
	known := l.lowering.family
	l.lowering.family = l.classifier.family
	l.put(asm.LoadMem(asm.R2, asm.R10, l.kept.bits+int16(8*g), asm.DWord))
	l.chooseStop(g*group, min(len(l.stops), (g+1)*group), nil, leave, ends)
	l.lowering.family = known
}

// later is the stops from one up to another, none of which is written yet.
type later struct {
	from, end int
	label     string
}

// chooseStop writes a tree of comparisons whose leaves are the stops from..to: it goes to the first one whose bit is set in R2. Jumps go on
// only, so that the verifier sees an end: behind are the stops after these, the last ones first.
func (l *lookup) chooseStop(from, to int, behind []later, leave, ends string) {
	if to-from == 1 {
		l.stop(from, behind, leave, ends)
		return
	}
	mid := (from + to) / 2
	right := l.newLabel("stops")
	l.unlessStops(from, mid, right)
	l.chooseStop(from, mid, append(behind[:len(behind):len(behind)], later{mid, to, right}), leave, ends)
	l.place(right)
	l.chooseStop(mid, to, behind, leave, ends)
}

// unlessStops jumps unless one of the stops from..to is met.
func (l *lookup) unlessStops(from, to int, label string) {
	l.put(asm.Mov.Reg(asm.R4, asm.R2)) // a copy, so that the verifier does not follow what it learns of the bits
	l.among(from, to)
	l.put(asm.JEq.Imm(asm.R4, 0, label))
}

// among leaves in R4 the bits of the stops from..to only.
func (l *lookup) among(from, to int) {
	mask := ^uint64(0) >> (group - (to - from)) << (from % group)
	l.put(asm.LoadImm(asm.R5, int64(mask), asm.DWord), asm.And.Reg(asm.R4, asm.R5))
}

// stop writes a stop, and how the packet goes on behind it.
func (l *lookup) stop(n int, behind []later, leave, ends string) {
	s, goOn := l.stops[n], l.newLabel("on")
	l.remark(sourceLine(l.rules[s.rule].rule))
	l.catchUp(s.rule)
	if s.step.rule != nil {
		l.rule(s.step, goOn)
	}
	l.end(s.step, leave)
	l.place(goOn)
	if len(behind) == 0 {
		l.goTo(ends)
		return
	}
	l.put(asm.LoadMem(asm.R2, asm.R10, l.kept.bits+int16(n/group*8), asm.DWord))
	for i := len(behind) - 1; i >= 0; i-- {
		l.put(asm.Mov.Reg(asm.R4, asm.R2))
		l.among(behind[i].from, behind[i].end)
		l.put(asm.JNE.Imm(asm.R4, 0, behind[i].label))
	}
	l.goTo(ends)
}

// catchUp counts the rules in front of one, and of that which ends the packet's way, that had to wait so far.
func (l *lookup) catchUp(rule int) {
	if !l.waits() {
		return
	}
	done, within := l.newLabel("caught"), l.newLabel("within")
	l.put(asm.LoadMem(asm.R4, asm.R10, l.kept.ahead, asm.Word), asm.JLT.Imm(asm.R4, aheadCounts, done),
		asm.Sub.Imm(asm.R4, 1), asm.LoadMem(asm.R2, asm.R10, l.kept.from, asm.Word), asm.Mov.Imm(asm.R3, int32(rule)),
		asm.JLE.Reg(asm.R3, asm.R4, within), asm.Mov.Reg(asm.R3, asm.R4))
	l.place(within)
	l.callNumbers(l.classifier.countFn.name, 2)
	l.put(asm.StoreImm(asm.R10, l.kept.from, int64(rule), asm.Word))
	l.place(done)
}

// stopGroup is a group of stops as a function, for classifiers of more than one.
type stopGroup struct {
	*classifier
	group int
}

// groupBody writes a group's function: its bits are in R2, and in R3 what of the lookup says how far rules are counted.
func (w *lowering) groupBody(s *stopGroup) {
	l := &lookup{lowering: w, classifier: s.classifier}
	l.kept = firstKept
	l.kept.bits -= int16(8 * s.group)
	w.kept = l.kept.ahead
	leave, ends := w.newLabel("leave"), w.newLabel("end")
	w.put(asm.StoreMem(asm.R10, l.kept.bits+int16(8*s.group), asm.R2, asm.DWord), asm.StoreMem(asm.R10, l.kept.ahead, asm.R3, asm.DWord))
	l.stopsOf(s.group, leave, ends)
	w.place(ends)
	l.catchUp(l.stops[min(len(l.stops), group*(s.group+1))-1].rule + 1)
	w.put(asm.Mov.Imm(asm.R0, 0))
	w.goTo(w.out)
	w.place(leave)
	w.put(asm.Mov.Imm(asm.R0, left))
	w.goTo(w.out)
}

// countBody writes the function that counts the rules of a classifier that only count, from that in R2 up to that in R3.
func (w *lowering) countBody(c *classifier) {
	l := &lookup{lowering: w, classifier: c, none: w.newLabel("none"), later: true}
	l.keep()
	w.family = c.family
	w.put(asm.StoreMem(asm.R10, l.kept.from, asm.R2, asm.Word), asm.StoreMem(asm.R10, l.kept.ahead, asm.R3, asm.Word))
	l.find()
	w.place(l.none)
	w.put(asm.Mov.Imm(asm.R0, 0))
	w.goTo(w.out)
}
