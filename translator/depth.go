package translator

import (
	"fmt"
	"slices"

	"github.com/bpfwall/bpfwall/ruleset"
)

// tooDeep is the functions on a path of calls that is too long, below the hook's; none if there is no such path.
func (d *division) tooDeep() []*block {
	memo := map[*block]path{}
	for _, b := range d.plan.blocks {
		if b.chain.Hook == ruleset.HookNone {
			continue
		}
		if p := d.below(b, memo); d.entry(b)+d.pieces(b)+p.frames > d.plan.limits.frames {
			return p.calls
		}
	}
	return nil
}

// entry is the frames of a hook's function and, if it calls the base chain, that one's.
func (d *division) entry(b *block) int {
	if d.own[b] {
		return 2
	}
	return 1
}

// path is the longest way down from a chain: its frames, and the chains on it that are functions.
type path struct {
	frames int
	calls  []*block
}

// pieces is the frames that the pieces of a chain take if it is cut: those of forks can be cut once more.
func (d *division) pieces(b *block) int {
	switch {
	case slices.ContainsFunc(b.steps, func(s *step) bool { return s.classifier != nil && s.classifier.groups() > 1 }):
		return 2
	case d.weights[b] <= d.piece:
		return 0
	case slices.ContainsFunc(b.steps, func(s *step) bool { return s.fork != nil || s.classifier != nil && len(s.classifier.stops) > 0 }):
		return 2
	}
	return 1
}

// below finds the longest path of calls below the function that a block stands in.
func (d *division) below(b *block, memo map[*block]path) path {
	if p, ok := memo[b]; ok {
		return p
	}
	var longest path
	each(b.steps, func(s *step) {
		p := path{frames: d.leaf(s)}
		if s.verb == verbJump {
			q := d.below(s.target, memo)
			if d.own[s.target] {
				q = path{q.frames + 1 + d.pieces(s.target), append(q.calls[:len(q.calls):len(q.calls)], s.target)}
			}
			p = longer(p, q)
		}
		longest = longer(longest, p)
	})
	memo[b] = longest
	return longest
}

func longer(a, b path) path {
	if b.frames > a.frames {
		return b
	}
	return a
}

// leaf is the frames of the helpers that a step itself calls. Counting may be one, and so may be looking up in a set.
func (d *division) leaf(s *step) int {
	n := 1
	if s.verb == verbDecide {
		n = 0
	}
	for _, t := range s.tests {
		switch {
		case t.Flows != nil:
			return d.plan.limits.flows
		case t.stateful():
			n = max(n, d.plan.limits.leaf)
		case len(t.sets)+len(t.live) > 0:
			n = max(n, 1)
		}
	}
	for _, a := range s.does {
		if a.Log != nil {
			return d.plan.limits.leaf
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
			What: fmt.Sprintf("chain %q: jumps nest deeper than the %d call frames of the kernel", deep[0].chain.Key(), maxFrames),
			Help: "make the chains on the way to it shorter, or the jumps fewer",
		}
	}
	d.forced[best] = true
	return nil
}
