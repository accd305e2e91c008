package translator

import (
	"fmt"
	"slices"

	"github.com/bpfwall/bpfwall/ruleset"
)

// depth finds the paths of calls that take more than a limit allows.
type depth struct {
	*division
	limit paths
	lows  map[*block]low
	memo  map[*block]path
}

// shallow has every path of calls stay within the kernel's limits. How much stack paths take is an estimate: what cannot be helped may fit
// nevertheless, which object.replace finds out.
func (d *division) shallow() (changed bool, err error) {
	if deep := d.tooDeep(d.plan.limits.frames); len(deep) > 0 {
		return true, d.force(deep)
	}
	deep := d.tooDeep(d.plan.limits.stack)
	switch {
	case len(deep) > 0 && d.force(deep) == nil:
		return true, nil
	case deep != nil && !d.plan.lookups.apart:
		d.plan.lookups.apart = true
		return true, nil
	}
	return false, nil
}

// tooDeep is the functions on a path of calls that takes more than a limit, below the hook's; nil if there is no such path.
func (d *division) tooDeep(limit paths) []*block {
	of := &depth{d, limit, map[*block]low{}, map[*block]path{}}
	for _, b := range d.plan.blocks {
		if b.chain.Hook == ruleset.HookNone {
			continue
		}
		if p := of.below(b); of.entry(b)+p.sum > limit.left {
			return append([]*block{}, p.calls...)
		}
	}
	return nil
}

// own is what a chain's function takes, and its pieces: only one of these has a lookup in it.
func (d *depth) own(b *block) int {
	low := d.low(b)
	return d.limit.takes(low.all) + d.pieces(b)*d.limit.takes(low.rules)
}

// entry is what a hook's function takes and, if it calls the base chain, that one's.
func (d *depth) entry(b *block) int {
	if d.division.own[b] {
		return d.limit.takes(0) + d.own(b)
	}
	return d.own(b)
}

// low is how far down the code of a chain uses the stack, chains that stand in it included.
type low struct {
	rules int16
	all   int16 // with lookups for many rules
}

func (l low) with(other low) low { return low{min(l.rules, other.rules), min(l.all, other.all)} }

func (d *depth) low(b *block) low {
	if l, ok := d.lows[b]; ok {
		return l
	}
	l := low{stackSlot, stackSlot}
	each(b.steps, func(s *step) {
		t := d.touches(s)
		l = l.with(low{t, min(t, d.kept(s))})
		if s.verb == verbJump && !d.division.own[s.target] {
			l = l.with(d.low(s.target))
		}
	})
	d.lows[b] = l
	return l
}

// kept is the same of a lookup, with what outlives it while the code of stops runs; lookups in these nest. It is up to 24 bytes more than
// lookup.keep takes, which has firstKept for the outermost one.
func (d *depth) kept(s *step) (low int16) {
	if s.classifier == nil {
		return 0
	}
	for _, st := range s.classifier.inline() {
		low = min(low, d.touches(st.step), d.kept(st.step))
		if st.step.verb == verbJump && !d.division.own[st.step.target] {
			low = min(low, d.low(st.step.target).all)
		}
	}
	return keptBelow(min(low, stackLoop), s.classifier.groups()).ahead
}

// touches is how far down a rule's own code does.
func (d *depth) touches(s *step) int16 {
	if d.plan.lookups.apart {
		own := *s
		own.tests = slices.DeleteFunc(slices.Clone(s.tests), func(t *test) bool { return !t.stateful() && len(t.sets)+len(t.live) > 0 })
		s = &own
	}
	return s.touches()
}

// path is the longest way down from a chain: what it takes, and the chains on it that are functions.
type path struct {
	sum   int
	calls []*block
}

// pieces is the functions that the pieces of a chain make if it is cut: those of forks can be cut once more.
func (d *division) pieces(b *block) int {
	switch {
	case d.weights[b] <= d.piece:
		return 0
	case slices.ContainsFunc(b.steps, func(s *step) bool { return s.fork != nil || s.classifier != nil && len(s.classifier.stops) > 0 }):
		return 2
	}
	return 1
}

// below finds the longest path of calls below the function that a block stands in.
func (d *depth) below(b *block) path {
	if p, ok := d.memo[b]; ok {
		return p
	}
	var longest path
	each(b.steps, func(s *step) {
		p := path{sum: d.leaf(s)}
		if s.verb == verbJump {
			q := d.below(s.target)
			if d.division.own[s.target] {
				q = path{q.sum + d.own(s.target), append(q.calls[:len(q.calls):len(q.calls)], s.target)}
			}
			p = longer(p, q)
		}
		longest = longer(longest, p)
	})
	d.memo[b] = longest
	return longest
}

func longer(a, b path) path {
	if b.sum > a.sum {
		return b
	}
	return a
}

// leaf is what the functions take that a step itself calls. Counting may be one, and so may be looking up in a set, and bit vectors.
func (d *depth) leaf(s *step) int {
	n := d.limit.takes(stackSlot)
	if s.verb == verbDecide {
		n = 0
	}
	if s.classifier != nil && s.classifier.vectors != nil {
		n = d.limit.takes(vectorsLow)
	}
	for _, t := range s.tests {
		switch {
		case t.Flows != nil:
			return d.limit.flows
		case t.stateful():
			n = max(n, d.limit.helper)
		case len(t.sets)+len(t.live) > 0:
			n = max(n, d.limit.takes(min(stackKey, s.touches())))
		}
	}
	for _, a := range s.does {
		if a.Log != nil {
			return d.limit.helper
		}
	}
	return n
}

// force takes the function whose code costs least to repeat out of a path that is too deep.
func (d *division) force(deep []*block) error {
	var best *block
	growth := func(b *block) int { return d.weights[b] * (d.uses[b] - 1) }
	for _, b := range deep {
		if d.weights[b] <= d.piece && (best == nil || growth(b) < growth(best)) {
			best = b
		}
	}
	if best == nil {
		return &LimitError{
			Pos:  deep[0].chain.Pos,
			What: fmt.Sprintf("chain %q: jumps nest deeper than the kernel's %d call frames and %d bytes of stack allow", deep[0].chain.Key(), maxFrames, maxStack),
			Help: "make the chains on the way to it shorter, or the jumps fewer",
		}
	}
	d.forced[best] = true
	return nil
}
