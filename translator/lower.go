package translator

import (
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/cilium/ebpf/asm"

	"github.com/bpfwall/bpfwall/ruleset"
)

// left is what a piece of a chain returns if a rule of it returns; FW_CONTINUE means: go on with the next piece.
const left = 0xff

// lowering writes one function.
type lowering struct {
	*emitter
	plan *plan
	f    *function

	family  ruleset.Family // of the packet, as far as the place in the code tells
	kept    int16          // the lowest byte of the stack that a lookup needs still; 0: none does
	decided string         // label: count what pkt->rule says, return regCode
	out     string         // label: return R0
}

// lower writes a function's instructions.
func (p *plan) lower(f *function, l *layout) (asm.Instructions, error) {
	w := &lowering{emitter: newEmitter(l, f.name), plan: p, f: f}
	w.share = p.share
	w.decided, w.out = w.newLabel("decided"), w.newLabel("out")
	w.head()
	switch {
	case f.asks != nil:
		w.share = nil
		w.condition(f.asks)
	case f.stops != nil:
		w.groupBody(f.stops)
	case f.counts != nil:
		w.countBody(f.counts)
	case f.resumes != nil:
		w.resume(f.resumes)
	case f == p.counter:
		w.count()
		w.put(asm.Mov.Imm(asm.R0, 0), asm.Return())
	case f.hook != ruleset.HookNone:
		w.hook()
	case f.piece():
		w.body(f.part, left)
	case f.entry[0].chain.Hook != ruleset.HookNone:
		w.base(f.entry[0])
	default:
		w.body(f.entry[0].steps, 0)
	}
	w.tail()
	return w.done()
}

// head takes the argument. The verifier wants to see that it is not NULL.
func (w *lowering) head() {
	start := w.newLabel("start")
	w.remark(w.f.doc)
	w.put(
		asm.Mov.Reg(regPkt, asm.R1),
		asm.JNE.Imm(regPkt, 0, start),
		asm.Mov.Imm(asm.R0, int32(ruleset.Drop)),
		asm.Return())
	w.place(start)
}

// condition writes a function that returns 1 if a condition holds, else 0.
func (w *lowering) condition(c cond) {
	hit := w.newLabel("hit")
	c.jumpIf(w.emitter, hit)
	w.put(asm.Mov.Imm(asm.R0, 0), asm.Return())
	w.place(hit)
	w.put(asm.Mov.Imm(asm.R0, 1), asm.Return())
}

// tail counts what decided and returns.
func (w *lowering) tail() {
	w.place(w.decided)
	if !w.dead {
		w.remark("decided")
		w.count()
		w.put(asm.Mov.Reg(asm.R0, regCode))
	}
	w.place(w.out)
	w.put(asm.Return())
}

// count adds the packet to the counter whose slot is in pkt->rule. It goes through memory, so that the verifier does not follow it as
// a constant: through the function's tail once for every rule, and to lookups that it knows to succeed, whose checks it would take
// out one at a time. The counters are per CPU and a CPU runs one program of a hook at a time, so nothing need be atomic.
func (w *lowering) count() {
	w.load(w.layout.whole("rule"))
	w.countSlot()
}

// countSlot adds the packet to the counter whose slot is in the value register.
func (w *lowering) countSlot() {
	counted := w.newLabel("counted")
	w.put(
		asm.StoreMem(asm.R10, stackSlot, regVal, asm.Word),
		asm.Mov.Reg(asm.R2, asm.R10),
		asm.Add.Imm(asm.R2, stackSlot))
	w.loadMap(asm.R1, "counters")
	w.put(
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, counted))
	if w.plan.atConnect { // a process may be interrupted by packets; this one has no bytes
		w.put(asm.Mov.Imm(asm.R1, 1), asm.StoreXAdd(asm.R0, asm.R1, asm.DWord))
		w.place(counted)
		return
	}
	w.put(
		asm.LoadMem(asm.R1, asm.R0, offPackets, asm.DWord),
		asm.Add.Imm(asm.R1, 1),
		asm.StoreMem(asm.R0, offPackets, asm.R1, asm.DWord),
		asm.LoadMem(asm.R1, regPkt, w.layout.whole("length").off, asm.Word),
		asm.LoadMem(asm.R2, asm.R0, offBytes, asm.DWord),
		asm.Add.Reg(asm.R2, asm.R1),
		asm.StoreMem(asm.R0, offBytes, asm.R2, asm.DWord))
	w.place(counted)
}

// countOn counts where the function goes on afterwards.
func (w *lowering) countOn() {
	if w.plan.counter == nil {
		w.count()
		return
	}
	w.call(w.plan.counter.name)
}

// hook writes a hook's function: the base chains of the packet's family, each of which must accept.
func (w *lowering) hook() {
	w.store(w.layout.whole("rule"), -1)
	for _, b := range w.f.entry {
		next := w.newLabel("next")
		w.family = ruleset.FamilyAny
		w.only(b.chain.Family, next)
		w.wellFormed(b.chain)
		if b.fn == nil {
			w.base(b)
		} else {
			w.call(b.fn.name)
			w.put(asm.JNE.Imm32(asm.R0, int32(ruleset.Accept), w.out))
		}
		w.place(next)
	}
	w.remark("no chain is left")
	w.put(asm.Mov.Imm(asm.R0, int32(ruleset.Accept)))
	w.goTo(w.out)
}

// only jumps unless the packet is of a family.
func (w *lowering) only(f ruleset.Family, label string) {
	if f == ruleset.FamilyAny || f == w.family {
		return
	}
	w.remark("packets of " + f.String())
	m := &matcher{layout: w.layout}
	m.isFamily(f).jumpUnless(w.emitter, label)
}

// wellFormed drops packets whose transport header cannot be read, if rules read it: before the first of the hook's chains that cover the
// family, if any of these decides something.
func (w *lowering) wellFormed(c *ruleset.Chain) {
	if !w.plan.rs.ReadsTransport() {
		return
	}
	var asked []ruleset.Family
	for _, f := range []ruleset.Family{ruleset.FamilyIPv4, ruleset.FamilyIPv6} {
		if all := w.plan.rs.Base(c.Hook, f); len(all) > 0 && all[0] == c && slices.ContainsFunc(all, (*ruleset.Chain).Decides) {
			asked = append(asked, f)
		}
	}
	if len(asked) == 0 {
		return
	}
	well := w.newLabel("wellformed")
	if len(asked) == 1 && c.Family == ruleset.FamilyAny {
		w.only(asked[0], well)
	}
	w.remark("malformed packets")
	w.load(w.layout.whole("malformed"))
	w.put(asm.JEq.Imm32(regVal, 0, well), asm.Mov.Imm(asm.R0, int32(ruleset.Drop)))
	w.goTo(w.out)
	w.place(well)
}

// base writes a base chain: its rules and its policy.
func (w *lowering) base(b *block) {
	policy := w.newLabel("policy")
	w.family = b.chain.Family
	w.steps(b.steps, policy)
	w.place(policy)
	w.remark(fmt.Sprintf("chain %s: policy %s", b.chain.Key(), b.chain.Policy))
	w.decide(b.slot, verdictCode(b.chain.Policy, 0))
}

// body writes steps that a caller goes on behind: its result is FW_CONTINUE, or onLeave where a rule returns.
func (w *lowering) body(steps []*step, onLeave int32) {
	leave, end := w.newLabel("leave"), w.newLabel("end")
	if onLeave == int32(ruleset.Continue) {
		leave = end
	}
	w.family = w.f.entry[0].chain.Family
	w.steps(steps, leave)
	w.place(end)
	w.put(asm.Mov.Imm(asm.R0, int32(ruleset.Continue)))
	w.goTo(w.out)
	w.place(leave)
	w.put(asm.Mov.Imm(asm.R0, onLeave))
	w.goTo(w.out)
}

// steps writes steps in order. A rule that returns jumps to leave.
func (w *lowering) steps(steps []*step, leave string) {
	for _, s := range steps {
		next := w.newLabel("next")
		if s.rule != nil {
			w.remark(sourceLine(s.rule))
			w.rule(s, next)
		}
		if s.fork != nil {
			w.fork(s.fork, leave, next)
		}
		if s.classifier != nil {
			w.classify(s.classifier, leave, next)
		}
		w.end(s, leave)
		w.place(next)
	}
}

// rule writes a rule's matches, its counter if its tail does not count, and its statements.
func (w *lowering) rule(s *step, next string) {
	m := &matcher{layout: w.layout, family: w.family}
	for _, t := range s.tests {
		m.cond(t).jumpUnless(w.emitter, next)
	}
	if s.slot == NoRule {
		return
	}
	if s.verb != verbDecide || len(s.does) > 0 {
		w.store(w.layout.whole("rule"), int64(s.slot)) // log events tell it too
	}
	if s.verb != verbDecide {
		w.countOn()
	}
	for _, a := range s.does {
		w.action(a)
	}
}

// action writes a statement.
func (w *lowering) action(a action) {
	switch {
	case a.Log != nil:
		w.put(asm.Mov.Imm32(asm.R2, int32(a.log)))
		w.call("fw_log")
	case a.SetMark != nil:
		mark := w.layout.whole("mark")
		w.load(mark)
		w.alu(asm.And, mark.size, uint64(^a.SetMark.Mask))
		w.alu(asm.Xor, mark.size, uint64(a.SetMark.Value))
		w.put(asm.StoreMem(regPkt, mark.off, regVal, mark.size))
	case a.NoTrack != nil:
		w.store(w.layout.whole("notrack"), 1)
	case a.SynProxy != nil:
		w.store(w.layout.whole("synproxy"), 1)
	case a.Change != nil:
		w.changeSet(a.Change, w.plan.live[a.Change.Set])
	}
}

// end writes how a step ends.
func (w *lowering) end(s *step, leave string) {
	switch s.verb {
	case verbDecide:
		w.decide(s.slot, s.code)
	case verbLeave:
		w.goTo(leave)
	case verbRun:
		w.remark(s.piece.doc)
		w.call(s.piece.name)
		w.put(asm.JEq.Imm32(asm.R0, left, leave), asm.JNE.Imm32(asm.R0, 0, w.out))
	case verbJump:
		w.jump(s, leave)
	}
}

// jump writes the chain that a rule jumps to, or a call of it.
func (w *lowering) jump(s *step, leave string) {
	after := leave
	if !s.back {
		after = w.newLabel("after")
	}
	if s.target.fn != nil {
		w.call(s.target.fn.name)
		w.put(asm.JNE.Imm32(asm.R0, 0, w.out))
	} else {
		w.steps(s.target.steps, after)
	}
	if s.back {
		w.goTo(leave)
		return
	}
	w.place(after)
}

// decide ends the function with a verdict, and remembers who decided.
func (w *lowering) decide(slot, code uint32) {
	w.store(w.layout.whole("rule"), int64(int32(slot))) // NoRule is -1
	w.put(asm.Mov.Imm32(regCode, int32(code)))
	w.goTo(w.decided)
}

// sourceLine is a rule's place and its text, as its author wrote it, as far as it fits into a line. The kernel keeps it with the
// program, as a C string.
func sourceLine(r *ruleset.Rule) string {
	text := r.Text
	if text == "" {
		text = r.String()
	}
	if pos := (ruleset.Pos{File: r.Pos.File, Line: r.Pos.Line}).String(); pos != "" {
		text = pos + ": " + text
	}
	text = strings.Map(func(c rune) rune {
		if unicode.IsControl(c) {
			return ' '
		}
		return c
	}, text)
	if len(text) > 160 {
		text = strings.ToValidUTF8(text[:157], "") + "..."
	}
	return text
}
