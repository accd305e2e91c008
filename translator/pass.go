package translator

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/bpfwall/bpfwall/ruleset"
)

// passes improve the plan one after the other; the order matters. None changes what any packet's verdict, counters or marks are.
var passes = []struct {
	name string
	run  func(*plan) error
}{
	{"own family", eachStep(ownFamily)},         // what a chain's family decides is decided
	{"merge operands", eachStep(mergeOperands)}, // ranges are sorted and apart; addresses are there once
	{"set maps", setMaps},                       // long lists of addresses become maps
	{"cheap first", eachStep(cheapFirst)},       // needs the final operands
	{"unreachable", unreachable},                // needs the tests that are left
	{"engines", chooseEngines},                  // needs what is left: runs of rules
	{"functions", functions},                    // needs final steps: decides by their cost
}

// eachStep makes a pass of a function that changes one step, or finds that the rule can never match.
func eachStep(change func(*block, *step) (keep bool)) func(*plan) error {
	return func(p *plan) error {
		for _, b := range p.blocks {
			b.steps = slices.DeleteFunc(b.steps, func(s *step) bool { return !change(b, s) })
		}
		return nil
	}
}

// ownFamily takes out tests of the family, and addresses of the other one, in chains of one family.
func ownFamily(b *block, s *step) bool {
	f := b.chain.Family
	if f == ruleset.FamilyAny {
		return true
	}
	never := false
	s.tests = slices.DeleteFunc(s.tests, func(t *test) bool {
		if t.Field != ruleset.FieldFamily {
			return false
		}
		holds := t.number(uint64(f)) != t.Not
		never = never || !holds
		return holds
	})
	return !never
}

// mergeOperands sorts ranges and joins those that overlap or touch, and takes out addresses that another operand covers.
func mergeOperands(_ *block, s *step) bool {
	for _, t := range s.tests {
		if len(t.Ranges) > 1 || len(t.Addrs) > 1 {
			m := t.own()
			m.Ranges, m.Addrs = mergeRanges(m.Ranges), mergeAddrs(m.Addrs)
		}
	}
	return true
}

func mergeRanges(in []ruleset.Range) []ruleset.Range {
	in = slices.Clone(in)
	slices.SortFunc(in, func(a, b ruleset.Range) int { return cmp.Compare(a.From, b.From) })
	out := in[:0]
	for _, r := range in {
		if n := len(out); n > 0 && (r.From <= out[n-1].To || r.From-1 == out[n-1].To) {
			out[n-1].To = max(out[n-1].To, r.To)
			continue
		}
		out = append(out, r)
	}
	return out
}

// mergeAddrs takes out prefixes that lie in others, keeping the order of the rest.
func mergeAddrs(in []ruleset.AddrRange) []ruleset.AddrRange {
	if len(in) < 2 {
		return in
	}
	gone := covered(in)
	seen := map[ruleset.AddrRange]bool{} // of those that are no prefixes
	out := make([]ruleset.AddrRange, 0, len(in))
	for i, a := range in {
		if _, ok := prefixOf(a); !ok {
			gone[i] = seen[a]
			seen[a] = true
		}
		if !gone[i] {
			out = append(out, a)
		}
	}
	return out
}

// covered says which of the operands are prefixes inside others, or the same as one before.
func covered(in []ruleset.AddrRange) []bool {
	type at struct {
		netip.Prefix
		index int
	}
	var all []at
	for i, a := range in {
		if p, ok := prefixOf(a); ok {
			all = append(all, at{p, i})
		}
	}
	slices.SortFunc(all, func(a, b at) int { return cmp.Or(a.Prefix.Compare(b.Prefix), a.index-b.index) })
	gone := make([]bool, len(in))
	last := netip.Prefix{}
	for _, a := range all { // a prefix comes before what is inside it
		if last.IsValid() && last.Overlaps(a.Prefix) {
			gone[a.index] = true
			continue
		}
		last = a.Prefix
	}
	return gone
}

// price orders tests by what they cost: a load and a comparison, a tree, a map.
func (t *test) price() int {
	switch {
	case len(t.live) > 0:
		return 200
	case len(t.sets) > 0:
		return 100
	case t.Field == ruleset.FieldInIface || t.Field == ruleset.FieldOutIface:
		return 2 * len(t.Names)
	}
	return len(t.Ranges) + len(t.Masked) + len(t.Addrs)
}

// cheapFirst puts the cheaper tests of a rule first. Tests have no effects, except that a limit takes a token: what stands before
// one stays before it, and what stands behind behind.
func cheapFirst(_ *block, s *step) bool {
	rest := s.tests
	for len(rest) > 0 {
		n := slices.IndexFunc(rest, func(t *test) bool { return t.stateful() })
		if n < 0 {
			n = len(rest) - 1
		}
		run := rest[:n+1]
		if run[n].stateful() {
			run = run[:n]
		}
		slices.SortStableFunc(run, func(a, b *test) int { return cmp.Compare(a.price(), b.price()) })
		rest = rest[n+1:]
	}
	return true
}

// unreachable drops the steps behind one that always ends the chain.
func unreachable(p *plan) error {
	for _, b := range p.blocks {
		if i := slices.IndexFunc(b.steps, (*step).ends); i >= 0 {
			b.steps = b.steps[:i+1]
		}
	}
	return nil
}
