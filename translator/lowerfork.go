package translator

import (
	"encoding/binary"
	"net/netip"
	"strconv"

	"github.com/cilium/ebpf/asm"

	"github.com/bpfwall/bpfwall/ruleset"
)

// fork writes an index over rules: a tree of comparisons with the steps of the branches as its leaves. The field stays in its
// register until a leaf: no path compares it more than log2(branches) + 2 times.
func (w *lowering) fork(f *fork, leave, next string) {
	w.only(f.family, next)
	known := w.family
	w.family = max(known, f.family)
	w.remark("by " + f.title())
	part := w.forkField(f)
	w.load(part)
	w.node(f.branches, 0, ^uint64(0)>>(64-8*part.size.Sizeof()), part.size, leave, next)
	w.family = known
}

// forkField is what a fork compares.
func (w *lowering) forkField(f *fork) fieldPart {
	name := ruleset.Fields[f.field].Member
	if f.family == ruleset.FamilyAny {
		return w.layout.whole(name)
	}
	bytes := 4
	if f.family == ruleset.FamilyIPv6 {
		bytes = 16
	}
	part := w.layout.words(name, bytes)[f.word]
	part.swap = true
	return part
}

// node writes the tree of some branches, for values that are known to be from lo to hi. It does not ask again what is known: the
// verifier would have to take such comparisons out, one at a time.
func (w *lowering) node(branches []branch, lo, hi uint64, size asm.Size, leave, next string) {
	if len(branches) > 1 {
		mid := len(branches) / 2
		from, upper := branches[mid].from, w.newLabel("upper")
		w.branch(asm.JGE, size, from, upper)
		w.node(branches[:mid], lo, from-1, size, leave, next)
		w.place(upper)
		w.node(branches[mid:], from, hi, size, leave, next)
		return
	}
	w.within(branches[0], lo, hi, size, next)
	w.steps(branches[0].steps, leave)
	w.goTo(next)
}

// within jumps unless a value from lo to hi is a branch's.
func (w *lowering) within(b branch, lo, hi uint64, size asm.Size, next string) {
	if b.from == b.to && lo < hi {
		w.branch(asm.JNE, size, b.from, next)
		return
	}
	if b.from > lo {
		w.branch(asm.JLT, size, b.from, next)
	}
	if b.to < hi {
		w.branch(asm.JGT, size, b.to, next)
	}
}

// title is what a fork compares, in words.
func (f *fork) title() string {
	s := f.field.String()
	if f.family != ruleset.FamilyAny {
		s += " " + f.family.String()
	}
	if f.family == ruleset.FamilyIPv6 {
		s += [...]string{", network", ", host"}[f.word]
	}
	return s
}

// text is a branch's values.
func (f *fork) text(b branch) string {
	if b.from == b.to {
		return f.value(b.from)
	}
	return f.value(b.from) + "-" + f.value(b.to)
}

// value is one value: a number, or an address, of which the other word is left 0.
func (f *fork) value(v uint64) string {
	var b [16]byte
	switch {
	case f.family == ruleset.FamilyIPv4:
		return netip.AddrFrom4([4]byte{byte(v >> 24), byte(v >> 16), byte(v >> 8), byte(v)}).String()
	case f.family == ruleset.FamilyIPv6:
		binary.BigEndian.PutUint64(b[8*f.word:], v)
		return netip.AddrFrom16(b).String()
	}
	return strconv.FormatUint(v, 10)
}
