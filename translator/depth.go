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
	lows  map[*block]int16
	memo  map[*block]path
}

// tooDeep is the functions on a path of calls that is too long, below the hook's; none if there is no such path. It has lookups stand apart
// before it reports one that takes too much stack.
func (d *division) tooDeep() []*block {
	for _, limit := range []paths{d.plan.limits.frames, d.plan.limits.stack} {
		of := &depth{d, limit, map[*block]int16{}, map[*block]path{}}
		for _, b := range d.plan.blocks {
			if b.chain.Hook == ruleset.HookNone {
				continue
			}
			p := of.below(b)
			switch {
			case of.entry(b)+of.pieces(b)*of.own(b)+p.sum <= limit.left:
			case limit.left == d.plan.limits.stack.left && !d.plan.lookups.apart:
				d.plan.lookups.apart = true
				return d.tooDeep()
			default:
				return p.calls
			}
		}
	}
	return nil
}

// own is what a chain's function takes.
func (d *depth) own(b *block) int { return d.limit.takes(d.low(b)) }

// entry is what a hook's function takes and, if it calls the base chain, that one's.
func (d *depth) entry(b *block) int {
	if d.division.own[b] {
		return d.limit.takes(0) + d.own(b)
	}
	return d.own(b)
}

// low is how far down the code of a chain uses the stack, chains that stand in it included.
func (d *depth) low(b *block) (low int16) {
	if low, ok := d.lows[b]; ok {
		return low
	}
	low = stackSlot
	each(b.steps, func(s *step) {
		low = min(low, d.touches(s), d.kept(s))
		if s.verb == verbJump && !d.division.own[s.target] {
			low = min(low, d.low(s.target))
		}
	})
	d.lows[b] = low
	return low
}

// kept is the same of a lookup, with what outlives it while the code of stops runs; lookups in these nest.
func (d *depth) kept(s *step) (low int16) {
	if s.classifier == nil {
		return 0
	}
	for _, st := range s.classifier.inline() {
		low = min(low, d.touches(st.step), d.kept(st.step))
		if st.step.verb == verbJump && !d.division.own[st.step.target] {
			low = min(low, d.low(st.step.target))
		}
	}
	return min(low, stackLoop) - 16 - 8*int16(s.classifier.groups())
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
				q = path{q.sum + d.own(s.target)*(1+d.pieces(s.target)), append(q.calls[:len(q.calls):len(q.calls)], s.target)}
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
