package translator

import (
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
		case t.stateful():
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
		return !t.Not && len(t.Addrs) > 0 && len(t.sets) == 0 && len(t.live) == 0 && !slices.ContainsFunc(t.Addrs, holes)
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

// each calls visit for every step, those in branches, pieces and stops included.
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
		if s.classifier != nil {
			for _, st := range s.classifier.stops {
				each([]*step{st.step}, visit)
			}
		}
	}
}
