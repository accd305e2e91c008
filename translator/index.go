package translator

import (
	"cmp"
	"encoding/binary"
	"math/bits"
	"slices"

	"github.com/bpfwall/bpfwall/ruleset"
)

// indexFrom is the number of rules that an index has to spare a packet for it to be worth its comparisons.
const indexFrom = 8

// maxRepeats is how many steps indexes may repeat in all, where a rule's operands go across several branches: 10 to 20 instructions each.
const maxRepeats = 30_000

// indexer makes forks.
type indexer struct {
	repeats int // steps that may still be repeated
}

// fork is an index over a run of rules that ask for a field: a packet goes only through those whose operands its field meets, and
// those that do not ask. Rules change neither the field nor each other's order, so what decides stays what it was. It costs log2(branches) comparisons
// where going through the rules costs one for each.
type fork struct {
	field    ruleset.FieldID
	family   ruleset.Family // of addresses: packets of the other one have a fork of their own, or meet none of the rules
	word     int            // of IPv6 addresses: 0 the network, 1 the host
	branches []branch       // sorted and apart

	total int // steps in the branches
	cost  int // comparisons and steps that a packet meets at most
}

// branch is the steps for packets with from <= field <= to.
type branch struct {
	from, to uint64
	steps    []*step
}

// indexChains puts forks into chains, and into the branches of forks.
func indexChains(p *plan) error {
	x := &indexer{repeats: maxRepeats}
	for _, b := range p.blocks {
		b.steps = x.indexed(b.chain.Family, b.steps)
	}
	return nil
}

// indexed is steps with forks in place of runs of them where these pay. The packet is known to be of a family.
func (x *indexer) indexed(family ruleset.Family, steps []*step) []*step {
	var out []*step
	useless := map[ruleset.FieldID]int{} // a run of the field that ends with so many steps left does not pay
	for len(steps) > indexFrom {
		best := x.best(family, steps, useless)
		if best == nil {
			out, steps = append(out, steps[0]), steps[1:]
			continue
		}
		x.repeats -= best.repeats
		out, steps = append(out, x.steps(best, family)...), steps[best.run:]
		clear(useless)
	}
	return append(out, steps...)
}

// best is the field that spares most; nil if none pays. It notes those that do not.
func (x *indexer) best(family ruleset.Family, steps []*step, useless map[ruleset.FieldID]int) *candidate {
	var best *candidate
	for f := range ruleset.Fields {
		id := ruleset.FieldID(f)
		if left, ok := useless[id]; ok && len(steps) > left {
			continue
		}
		n := run(id, steps)
		c := x.candidate(id, family, steps[:n])
		if c == nil || c.worth() < indexFrom {
			useless[id] = len(steps) - n
			continue
		}
		if best == nil || c.worth() > best.worth() {
			best = c
		}
	}
	return best
}

// run is how many of the first steps can go under an index of a field: they ask for it, but for a few, which go into every branch.
func run(f ruleset.FieldID, steps []*step) int {
	end, others := 0, 0
	for i, s := range steps {
		switch {
		case s.asks(f) >= 0:
			end = i + 1
			continue
		case i == 0:
			return 0
		}
		if others++; others > 2+i/8 {
			break
		}
	}
	return end
}

// asks is which of a step's tests asks for values of a field that an index can have; -1 if none does. Behind a limit one does not
// count: the packet takes a token before it is asked.
func (s *step) asks(f ruleset.FieldID) int {
	for i, t := range s.tests {
		switch {
		case t.Limit != nil:
			return -1
		case t.Field == f && t.indexable():
			return i
		}
	}
	return -1
}

// indexable reports whether a test's operands are intervals.
func (t *test) indexable() bool {
	switch ruleset.Fields[t.Field].Kind {
	case ruleset.KindNumber:
		return !t.Not && len(t.Ranges) > 0 && len(t.Masked) == 0 && t.Field != ruleset.FieldTCPOption && t.Field != ruleset.FieldFamily
	case ruleset.KindAddr:
		holes := func(a ruleset.AddrRange) bool { _, ok := prefixOf(a); return !ok && a.Mask.IsValid() }
		return !t.Not && len(t.Addrs) > 0 && len(t.sets) == 0 && !slices.ContainsFunc(t.Addrs, holes)
	}
	return false
}

// candidate is a field that could index a run.
type candidate struct {
	run     int // so many steps
	forks   []*fork
	saved   int // steps that a packet is spared, at least
	repeats int // steps that are there more than once
}

// worth weighs what is spared against what is repeated.
func (c *candidate) worth() int { return c.saved - c.repeats/16 }

// candidate indexes steps by a field; nil if they are few, or too many of them would have to be repeated.
func (x *indexer) candidate(f ruleset.FieldID, family ruleset.Family, steps []*step) *candidate {
	if len(steps) < indexFrom {
		return nil
	}
	c := &candidate{run: len(steps)}
	worst := 0
	for _, shape := range shapes(f, family) {
		var best *fork
		for _, fk := range shape {
			if fk.fill(steps, len(steps)+min(7*len(steps), x.repeats)) && (best == nil || fk.cost < best.cost) {
				best = fk
			}
		}
		if best == nil {
			return nil
		}
		if len(best.branches) > 0 {
			c.forks = append(c.forks, best)
		}
		c.repeats += best.total
		worst = max(worst, best.cost)
	}
	c.repeats = max(0, c.repeats-len(steps))
	c.saved = len(steps) - worst
	return c
}

// shapes is the forks that a field takes, one after the other, and for each the ways to make it.
func shapes(f ruleset.FieldID, family ruleset.Family) [][]*fork {
	if ruleset.Fields[f].Kind != ruleset.KindAddr {
		return [][]*fork{{{field: f}}}
	}
	var out [][]*fork
	if family.Covers(ruleset.FamilyIPv4) {
		out = append(out, []*fork{{field: f, family: ruleset.FamilyIPv4}})
	}
	if family.Covers(ruleset.FamilyIPv6) {
		out = append(out, []*fork{{field: f, family: ruleset.FamilyIPv6}, {field: f, family: ruleset.FamilyIPv6, word: 1}})
	}
	return out
}

// interval is operands of one step as the fork sees them. If exact, the fork's comparison says all that the test does.
type interval struct {
	from, to uint64
	step     int
	exact    bool
}

// fill makes the branches, unless they would have more steps than a limit: one for each set of operands that a value can meet, or
// where operands overlap too much for that, one for several of those sets.
func (f *fork) fill(steps []*step, limit int) bool {
	var all []interval
	for i, s := range steps {
		all = append(all, f.intervals(i, s)...)
	}
	slabs, ok := sliced(all, 64*len(steps))
	for _, width := range []int{1, 16, 64} {
		if !ok {
			return false
		}
		if f.bins(steps, slabs, width, limit) {
			return true
		}
	}
	return false
}

// slab is the values from one operand's end to the next, which all meet the same operands.
type slab struct {
	from, to uint64
	active   []interval
}

// sliced cuts the values into slabs, those without operands left out. Not ok: they would have more operands than a limit in all.
func sliced(all []interval, limit int) (out []slab, ok bool) {
	cuts := cutPoints(all)
	slices.SortStableFunc(all, func(a, b interval) int { return cmp.Compare(a.from, b.from) })
	var active []interval
	for i, from := range cuts {
		active = slices.DeleteFunc(slices.Clone(active), func(v interval) bool { return v.to < from })
		for len(all) > 0 && all[0].from == from {
			active, all = append(active, all[0]), all[1:]
		}
		if limit -= len(active); limit < 0 {
			return nil, false
		}
		if len(active) == 0 {
			continue
		}
		to := ^uint64(0)
		if i+1 < len(cuts) {
			to = cuts[i+1] - 1
		}
		out = append(out, slab{from, to, active})
	}
	return out, true
}

// bins makes branches of one or more slabs each, of so many steps if one slab alone does not have more. It reports whether all of
// them stay within the limit of steps.
func (f *fork) bins(steps []*step, slabs []slab, width, limit int) bool {
	f.branches, f.total, f.cost = nil, 0, 0
	for len(slabs) > 0 && f.total <= limit {
		n, active := bin(slabs, width)
		b := branch{from: slabs[0].from, to: slabs[n-1].to}
		b.steps = f.branchSteps(steps, active, b)
		f.branches = append(f.branches, b)
		f.total += len(b.steps)
		f.cost = max(f.cost, len(b.steps))
		slabs = slabs[n:]
	}
	f.cost += bits.Len(uint(len(f.branches)))
	return f.total <= limit
}

// bin is how many of the first slabs go into one branch, and their operands.
func bin(slabs []slab, width int) (n int, active []interval) {
	if width == 1 {
		return 1, slabs[0].active
	}
	met := map[int]bool{}
	for n < len(slabs) {
		more := 0
		for _, v := range slabs[n].active {
			if !met[v.step] {
				more++
			}
		}
		if n > 0 && len(met)+more > width {
			break
		}
		for _, v := range slabs[n].active {
			met[v.step] = true
		}
		active = append(active, slabs[n].active...)
		n++
	}
	return n, active
}

// cutPoints is where an interval begins, or has just ended; sorted.
func cutPoints(all []interval) []uint64 {
	var cuts []uint64
	for _, v := range all {
		cuts = append(cuts, v.from)
		if v.to != ^uint64(0) {
			cuts = append(cuts, v.to+1)
		}
	}
	slices.Sort(cuts)
	return slices.Compact(cuts)
}

// branchSteps is the steps whose intervals are active, in their order, without tests that hold for all values of the branch.
func (f *fork) branchSteps(steps []*step, active []interval, b branch) []*step {
	exact := map[int]bool{}
	var order []int
	for _, v := range active {
		exact[v.step] = exact[v.step] || v.exact && v.from <= b.from && b.to <= v.to
		order = append(order, v.step)
	}
	slices.Sort(order)
	var out []*step
	for _, i := range slices.Compact(order) {
		s := *steps[i]
		if exact[i] {
			s.tests = slices.Delete(slices.Clone(s.tests), s.asks(f.field), s.asks(f.field)+1)
		}
		out = append(out, &s)
		if s.ends() {
			break
		}
	}
	return out
}

// intervals is what a step asks for.
func (f *fork) intervals(i int, s *step) []interval {
	at := s.asks(f.field)
	if at < 0 {
		return []interval{{from: 0, to: f.top(), step: i}}
	}
	var out []interval
	for _, r := range s.tests[at].Ranges {
		out = append(out, interval{r.From, r.To, i, true})
	}
	for _, a := range s.tests[at].Addrs {
		if familyOf(a.From) == f.family {
			v := f.addrInterval(a)
			v.step = i
			out = append(out, v)
		}
	}
	return out
}

// top is the highest value that the field's member can have; numbers that are absent count.
func (f *fork) top() uint64 {
	switch {
	case f.family == ruleset.FamilyIPv4:
		return 1<<32 - 1
	case f.family == ruleset.FamilyIPv6:
		return ^uint64(0)
	case canLack(f.field):
		return absent(f.field)
	}
	return 1<<ruleset.Fields[f.field].Bits - 1
}

// addrInterval is an address operand. Of an IPv6 address the fork sees one word only.
func (f *fork) addrInterval(a ruleset.AddrRange) interval {
	last := a.To
	p, ok := prefixOf(a)
	if ok {
		last = lastAddr(p)
	}
	if f.family == ruleset.FamilyIPv4 {
		from, to := a.From.As4(), last.As4()
		return interval{from: uint64(binary.BigEndian.Uint32(from[:])), to: uint64(binary.BigEndian.Uint32(to[:])), exact: true}
	}
	from, to := hostWords(a.From.AsSlice()), hostWords(last.AsSlice())
	switch {
	case f.word == 0:
		return interval{from: from[0], to: to[0], exact: ok && p.Bits() <= 64}
	case from[0] == to[0]:
		return interval{from: from[1], to: to[1]}
	}
	return interval{to: f.top()}
}

// steps is a candidate's forks as steps, with forks in their branches where these pay too.
func (x *indexer) steps(c *candidate, family ruleset.Family) []*step {
	var out []*step
	for _, f := range c.forks {
		f.join()
		for i := range f.branches {
			f.branches[i].steps = x.indexed(max(family, f.family), f.branches[i].steps)
		}
		out = append(out, &step{verb: verbFork, fork: f})
	}
	return out
}

// join makes one branch of neighbours with the same steps.
func (f *fork) join() {
	out := f.branches[:1]
	for _, b := range f.branches[1:] {
		last := &out[len(out)-1]
		if last.to+1 == b.from && slices.EqualFunc(last.steps, b.steps, sameStep) {
			last.to = b.to
			continue
		}
		out = append(out, b)
	}
	f.branches = out
}

func sameStep(a, b *step) bool { return a.rule == b.rule && len(a.tests) == len(b.tests) }

// each calls visit for every step, those in branches and pieces included.
func each(steps []*step, visit func(*step)) {
	for _, s := range steps {
		visit(s)
		if s.piece != nil {
			each(s.piece.part, visit)
		}
		if s.fork != nil {
			for _, b := range s.fork.branches {
				each(b.steps, visit)
			}
		}
	}
}
