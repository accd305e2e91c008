package translator

import (
	"slices"

	"github.com/bpfwall/bpfwall/ruleset"
)

// stop is a rule of a classifier that more has to be done for than to answer: it has tests that no table can hold (limits, sockets, sets that
// change), statements, or a jump. A lookup that finds it stops there; its code follows, and asks for the next rule unless it ends the chain.
type stop struct {
	rule int
	step *step // the rule, with the tests that are left
}

// What the classifiers' rules may do beside deciding, and how long lists of addresses in them may be.
const (
	maxStopWeight = 2000 // of the code of all stops of one, as division.weigh counts
	maxSetSpans   = 4096
)

// static reports whether a table can hold a test: it has no effects, and asks for what does not change while the rules run, or for the
// mark.
func (t *test) static() bool {
	n := 0
	for _, s := range t.sets {
		n += len(s.Entries)
	}
	if n > 0 && !t.spannable() || n > maxSetSpans { // a search in a set needs the registers of a lookup
		return false
	}
	return !t.stateful() && len(t.live) == 0 && ruleset.Fields[t.Field].Member != "" && classifiableKinds[ruleset.Fields[t.Field].Kind]
}

// divided is the tests of a rule that a table can hold, and the others. What stands behind a test that takes tokens must not be asked before it.
func (s *step) divided() (static, others []*test) {
	if !slices.ContainsFunc(s.tests, func(t *test) bool { return !t.static() }) {
		return s.tests[:len(s.tests):len(s.tests)], nil
	}
	for i, t := range s.tests {
		if t.stateful() {
			return static, append(others, s.tests[i:]...)
		}
		if t.static() {
			static = append(static, t)
		} else {
			others = append(others, t)
		}
	}
	return static, others
}

// plain reports whether a rule only ends the chain, and a table can hold all of its tests.
func (s *step) plain() bool {
	return s.rule != nil && len(s.does) == 0 && (s.verb == verbDecide || s.verb == verbLeave) && !slices.ContainsFunc(s.tests, func(t *test) bool { return !t.static() })
}

// stops reports whether a rule can be a stop. One that a table could not tell from others would stop every packet: it stands between two
// classifiers better.
func (s *step) stops() bool {
	if s.rule == nil || s.plain() {
		return false
	}
	static, _ := s.divided()
	return slices.ContainsFunc(static, func(t *test) bool { return t.Field != ruleset.FieldFamily })
}

// stops is how many of some rules are stops.
func stops(run []*step) (n int) {
	for _, s := range run {
		if s.stops() {
			n++
		}
	}
	return n
}

// stopWeight is about what the code of a stop weighs.
func (s *step) stopWeight() int {
	_, others := s.divided()
	w := 8
	for _, t := range others {
		w += t.compares()
	}
	if s.verb == verbJump {
		w += 8
	}
	return w
}

// classifiable is which of some rules classifiers are to take: in each run of those that they can, all, or only the plain ones where most
// would be stops, and more than one takes.
func classifiable(steps []*step) []bool {
	out := make([]bool, len(steps))
	for from := 0; from < len(steps); from++ {
		to, stops, weight := from, 0, 0
		for ; to < len(steps) && (steps[to].plain() || steps[to].stops()); to++ {
			if !steps[to].plain() {
				stops++
				weight += steps[to].stopWeight()
			}
		}
		for i := from; i < to; i++ {
			out[i] = weight <= maxStopWeight || 2*stops <= to-from || steps[i].plain()
		}
		from = to
	}
	return out
}

// marks reports whether any rule gives packets another mark. Then a packet may meet a rule behind a stop though it did not meet one in front
// of it that asks for the same.
func (p *plan) marks() bool {
	return slices.ContainsFunc(p.blocks, func(b *block) bool {
		return slices.ContainsFunc(b.steps, func(s *step) bool {
			return slices.ContainsFunc(s.does, func(a action) bool { return a.SetMark != nil })
		})
	})
}
