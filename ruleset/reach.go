package ruleset

import (
	"slices"
	"strings"
)

// reach is the hooks from which each chain can be reached by jumps.
func (rs *Ruleset) reach() map[*Chain]hookSet {
	hooks, index := map[*Chain]hookSet{}, rs.index()
	var visit func(c *Chain, bit hookSet)
	visit = func(c *Chain, bit hookSet) {
		if c == nil || hooks[c]&bit != 0 {
			return
		}
		hooks[c] |= bit
		for _, r := range c.Rules {
			visit(index.target(c, r), bit)
		}
	}
	for _, c := range rs.Chains {
		if c.Hook != HookNone && c.Hook < hookCount {
			visit(c, 1<<c.Hook)
		}
	}
	return hooks
}

// chainKey is what a jump finds a chain by.
type chainKey struct {
	name   string
	family Family
}

// chainIndex does what Ruleset.Chain does, for rulesets of thousands of chains.
type chainIndex map[chainKey]*Chain

func (rs *Ruleset) index() chainIndex {
	index := chainIndex{}
	for _, c := range slices.Backward(rs.Chains) { // of twins the first counts
		index[chainKey{c.Name, c.Family}] = c
	}
	return index
}

// target is the chain that a rule of c leads to; nil if none.
func (index chainIndex) target(c *Chain, r *Rule) *Chain {
	if r.Verdict.Kind != Jump && r.Verdict.Kind != Goto {
		return nil
	}
	return index[chainKey{r.Verdict.Chain, c.Family}]
}

// ReachedFrom lists the chains that packets of a hook may get into: its base chains and those that they lead to.
func (rs *Ruleset) ReachedFrom(h Hook) []*Chain {
	var out []*Chain
	reach := rs.reach()
	for _, c := range rs.Chains {
		if reach[c]&(1<<h) != 0 {
			out = append(out, c)
		}
	}
	return out
}

// cycles finds jumps that lead back to where they came from, in chains that packets can reach. As iptables does, cycles that no
// packet can enter are let be.
func (c *checker) cycles() {
	done := map[*Chain]bool{}
	var path []*Chain
	var visit func(chain *Chain)
	visit = func(chain *Chain) {
		path = append(path, chain)
		for _, r := range chain.Rules {
			to := c.index.target(chain, r)
			if to == nil || done[to] {
				continue
			}
			if at := slices.Index(path, to); at >= 0 {
				c.errs.Add(r.Pos, "%s: goes round in circles: %s", r.Verdict.Kind, circle(path[at:])).Help = "take one of these jumps away"
				continue
			}
			visit(to)
		}
		path = path[:len(path)-1]
		done[chain] = true
	}
	for _, chain := range c.rs.Chains {
		if chain.Hook != HookNone && !done[chain] {
			visit(chain)
		}
	}
}

func circle(chains []*Chain) string {
	var names []string
	for _, c := range append(chains[:len(chains):len(chains)], chains[0]) {
		names = append(names, word(c.Name))
	}
	return strings.Join(names, " -> ")
}
