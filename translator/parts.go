package translator

import (
	"math"

	"github.com/bpfwall/bpfwall/translator/classify"
)

// Parts remembers into which subsets the rules of a classifier's table were divided, by the slots of their counters: what a rule's identity is
// across generations.
type Parts struct {
	From uint32  `json:"from"`
	Of   []uint8 `json:"of,omitempty"` // of the rules in the slots From, From+1, …: classify.Table.Parts
}

// parts is those of a classifier.
func (c *classifier) parts() (p Parts) {
	if c.table == nil || len(c.rules) == 0 {
		return p
	}
	from, to := uint32(math.MaxUint32), uint32(0)
	for _, s := range c.rules {
		from, to = min(from, s.slot), max(to, s.slot)
	}
	p = Parts{From: from, Of: make([]uint8, to-from+1)}
	for i, s := range c.rules {
		p.Of[s.slot-from] = c.table.Parts[i]
	}
	return p
}

// of is the parts of rules, in their order; 0: they were in none.
func (p Parts) of(rules []*step) []uint8 {
	out := make([]uint8, len(rules))
	for i, s := range rules {
		if at := s.slot - p.From; s.slot >= p.From && int64(at) < int64(len(p.Of)) {
			out[i] = p.Of[at]
		}
	}
	return out
}

// like has a classifier's table be like the one that the classifier of the same number had before, if its rules take the place of others.
func (e *engines) like(opt *classify.Options, rules []*step, before []*classifier) {
	n := len(e.plan.classifiers) + len(before)
	if n < len(e.plan.shapes) {
		opt.Like = &e.plan.shapes[n]
	}
	if n < len(e.plan.parts) {
		opt.Was = e.plan.parts[n].of(rules)
	}
}
