package translator

import (
	"slices"

	"github.com/bpfwall/bpfwall/ruleset"
)

// stop is a rule of a classifier that more has to be done for than to answer: it has tests that no table can hold (limits, sockets, sets that
// change), statements, or a jump. A lookup collects those that the packet meets; their code follows, one after the other, unless one ends the chain.
type stop struct {
	rule int
	step *step // the rule, with the tests that are left
}

// What the classifiers' rules may do beside deciding, and how long lists of addresses in them may be.
const (
	maxStops      = 8 * group // of one
	maxStopWeight = 6000      // of the code of all of them, as division.weigh counts
	maxStepWeight = 2000      // the same where all of them stand together
	maxSetSpans   = 4096
)

// static reports whether a table can hold a test: it has no effects, and asks for what does not change while the rules run, or for the
// mark.
func (t *test) static() bool {
	if t.held == unknown {
		t.held = no
		if t.holdable() {
			t.held = yes
		}
	}
	return t.held == yes
}

// holdable is static, when it is asked for the first time.
func (t *test) holdable() bool {
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

// withoutMarks is what is left of divided tests if those for the mark do not count as static.
func withoutMarks(static, others []*test) (_, _ []*test) {
	var left []*test
	for _, t := range static {
		if t.Field == ruleset.FieldMark {
			others = append([]*test{t}, others...)
		} else {
			left = append(left, t)
		}
	}
	return left, others
}

// withoutComparisons is what is left of divided tests if only those count as static that patterns need no comparison for.
func withoutComparisons(static, others []*test) (_, _ []*test) {
	var left []*test
	for _, t := range static {
		if t.spannable() || t.portable() || tabled(t.Field) || t.Field == ruleset.FieldFamily {
			left = append(left, t)
		} else {
			others = append([]*test{t}, others...)
		}
	}
	return left, others
}

// plain reports whether a rule only ends the chain, and a table can hold all of its tests.
func (s *step) plain() bool { return s.classed() && (s.verb == verbDecide || s.verb == verbLeave) }

// only reports whether a rule only counts, and a table can hold all of its tests.
func (s *step) only() bool { return s.classed() && s.verb == verbNext }

// classed reports whether a table can say all of a rule but what it does at its end.
func (s *step) classed() bool {
	return s.rule != nil && len(s.does) == 0 && !slices.ContainsFunc(s.tests, func(t *test) bool { return !t.static() })
}

// stops reports whether a rule can be a stop. One that a table could not tell from others would stop every packet: it stands between two
// classifiers better.
func (s *step) stops() bool {
	if s.rule == nil || s.plain() || s.only() {
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
		for ; to < len(steps) && (steps[to].plain() || steps[to].only() || steps[to].stops()); to++ {
			if steps[to].stops() {
				stops++
				weight += steps[to].stopWeight()
			}
		}
		for i := from; i < to; i++ {
			out[i] = weight <= maxStopWeight && stops <= maxStops || 2*stops <= to-from || !steps[i].stops()
		}
		from = to
	}
	return out
}

// asksMark reports whether a rule asks for the mark.
func (s *step) asksMark() bool {
	return slices.ContainsFunc(s.tests, func(t *test) bool { return t.Field == ruleset.FieldMark })
}

// marks reports whether packets may have another mark behind a rule.
func (s *step) marks() bool {
	if s.target != nil && slices.ContainsFunc(s.target.steps, (*step).marks) {
		return true
	}
	found := false
	each([]*step{s}, func(s *step) {
		found = found || slices.ContainsFunc(s.does, func(a action) bool { return a.SetMark != nil })
	})
	return found
}

// touches is the lowest byte of the stack that a rule's own code uses.
func (s *step) touches() (low int16) {
	for _, a := range s.does {
		switch {
		case a.Change != nil && len(a.Change.Parts) > 0:
			low = min(low, stackTuple)
		case a.Change != nil:
			low = min(low, stackValue)
		}
	}
	for _, t := range s.tests {
		switch {
		case len(t.parts) > 0:
			low = min(low, stackTuple)
		case t.stateful():
			low = min(low, stackAsk)
		case len(t.live) > 0:
			low = min(low, stackKey)
		}
	}
	return low
}

// bottom is the same, with the code of the chain that it jumps to.
func (s *step) bottom() int16 {
	low := s.touches()
	if s.target != nil && s.target.fn == nil {
		each(s.target.steps, func(s *step) { low = min(low, s.bottom()) })
	}
	return low
}

// bottom is that of the code of its stops.
func (c *classifier) bottom() (low int16) {
	for _, st := range c.inline() {
		low = min(low, st.step.bottom())
	}
	return low
}
