package translator

import "github.com/cilium/ebpf/asm"

// regStop is the number of the stop that a lookup has found.
const regStop = asm.R2

// What a function that resumes a lookup returns beside the code of the rule that it found, whose slot is then in fw_pkt.rule: that there is
// none, or that it is the stop whose number is there.
const (
	resumedNone = 1 << 16
	resumedStop = 1 << 17
)

// writeNext writes the code of all stops, for the one in regStop, and what is done with what resumed lookups find, at ends.
func (l *lookup) writeNext(leave, ends string) {
	known := l.lowering.family
	l.lowering.family = l.classifier.family
	if len(l.stops) > 0 {
		l.chooseNext(0, len(l.stops), nil, leave, ends)
	}
	l.lowering.family = known
	l.place(ends)
	l.put(asm.JEq.Imm32(asm.R0, resumedNone, l.none), asm.Mov.Reg(regCode, asm.R0))
	l.verdict(leave)
}

// chooseNext writes a tree of comparisons whose leaves are the stops from..to. Jumps go on only, so that the verifier sees an end: behind are the
// stops after these, the last ones first.
func (l *lookup) chooseNext(from, to int, behind []later, leave, ends string) {
	if to-from == 1 {
		l.nextStop(from, behind, leave, ends)
		return
	}
	mid := (from + to) / 2
	right := l.newLabel("stops")
	l.put(asm.JGE.Imm(regStop, int32(mid), right))
	l.chooseNext(from, mid, append(behind[:len(behind):len(behind)], later{mid, to, right}), leave, ends)
	l.place(right)
	l.chooseNext(mid, to, behind, leave, ends)
}

// nextStop writes a stop, and how the lookup goes on behind it.
func (l *lookup) nextStop(n int, behind []later, leave, ends string) {
	s, goOn := l.stops[n], l.newLabel("on")
	l.remark(sourceLine(l.rules[s.rule].rule))
	if s.step.rule != nil {
		l.rule(s.step, goOn)
	}
	l.end(s.step, leave)
	l.place(goOn)
	rule := l.layout.whole("rule")
	l.store(rule, int64(s.rule+1))
	l.call(l.classifier.nextFn.name)
	if len(behind) == 0 {
		l.goTo(ends)
		return
	}
	l.put(asm.JNE.Imm32(asm.R0, resumedStop, ends), asm.LoadMem(regStop, regPkt, rule.off, rule.size))
	for i := len(behind) - 1; i > 0; i-- {
		l.put(asm.JLT.Imm(regStop, int32(behind[i].end), behind[i].label))
	}
	l.goTo(behind[0].label)
}

// resume writes the function that asks a classifier for the next rule.
func (w *lowering) resume(c *classifier) {
	l := &lookup{lowering: w, classifier: c, none: w.newLabel("none")}
	w.family = c.family
	l.findVector()
	rule := w.layout.whole("rule")
	w.put(asm.JGT.Imm(regBest, int32(len(c.rules)-1), l.none),
		asm.LoadMem(regStop, asm.R10, stackFound, asm.Word),
		asm.LoadMem(asm.R0, asm.R10, stackFound+4, asm.Half),
		asm.StoreMem(regPkt, rule.off, regStop, rule.size),
		asm.JNE.Imm(asm.R0, codeStop, w.out),
		asm.Mov.Imm(asm.R0, resumedStop))
	w.goTo(w.out)
	w.place(l.none)
	w.put(asm.Mov.Imm(asm.R0, resumedNone))
	w.goTo(w.out)
}
