package iptables

import (
	"strings"

	"github.com/bpfwall/bpfwall/ruleset"
)

// maxDepth is how many chains nf_tables allows inside each other, the built-in one included.
const maxDepth = 16

var chainHooks = map[string]uint32{
	"PREROUTING": hookPrerouting, "INPUT": hookInput, "FORWARD": hookForward, "OUTPUT": hookOutput, "POSTROUTING": hookPostrouting,
}

// checker finds what the kernel refuses when a table is committed: chains in a circle, chains too deep inside each other, and
// extensions in a chain that they are not for. Chains that no built-in chain reaches are not looked at, as in the kernel.
type checker struct {
	table *table
	depth map[*chain]int  // how many chains deep each goes, itself included
	on    map[*chain]bool // being visited
	hooks map[*chain]uint32
	errs  ruleset.ErrorList
}

func checkTable(t *table) ruleset.ErrorList {
	k := &checker{table: t, depth: map[*chain]int{}, on: map[*chain]bool{}, hooks: map[*chain]uint32{}}
	t.hooks = k.hooks
	for _, c := range t.chains {
		if c.builtin() {
			k.visit(c, nil)
			k.reach(c, chainHooks[c.name])
		}
	}
	for _, c := range t.chains {
		for _, r := range c.rules {
			k.checkHooks(c, r)
		}
	}
	return k.errs
}

// visit finds circles and depth below c; by is the jump that led to it.
func (k *checker) visit(c *chain, by *rule) int {
	if k.on[c] {
		k.errs.Add(by.jump.arg, "chain %q: jumps lead back to it", c.name).Help = "take one of the jumps of the circle out"
		return 0
	}
	if d, ok := k.depth[c]; ok {
		return d
	}
	k.on[c] = true
	deepest := 0
	for _, r := range c.rules {
		if next := k.table.chain(r.chainName()); next != nil {
			d := k.visit(next, r)
			if d >= maxDepth-1 && c.builtin() {
				k.errs.Add(r.jump.arg, "chain %q: %d or more chains inside each other", next.name, maxDepth).Help = "nf_tables allows fewer; merge some chains"
			}
			deepest = max(deepest, d)
		}
	}
	k.on[c] = false
	k.depth[c] = deepest + 1
	return deepest + 1
}

// reach notes that packets of the hooks get to c.
func (k *checker) reach(c *chain, hooks uint32) {
	if k.hooks[c]&hooks == hooks {
		return
	}
	k.hooks[c] |= hooks
	for _, r := range c.rules {
		if next := k.table.chain(r.chainName()); next != nil {
			k.reach(next, hooks)
		}
	}
}

func (k *checker) checkHooks(c *chain, r *rule) {
	for _, m := range r.matches {
		k.checkModule(c, m)
	}
	if r.target != nil {
		k.checkModule(c, r.target)
	}
}

func (k *checker) checkModule(c *chain, m *module) {
	if m.ext.hooks == 0 || k.hooks[c]&^m.ext.hooks == 0 {
		return
	}
	var bad []string
	for _, name := range []string{"PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"} {
		if k.hooks[c]&^m.ext.hooks&chainHooks[name] != 0 {
			bad = append(bad, name)
		}
	}
	k.errs.Add(m.pos, "%s: not for packets of %s", m.ext.use(), strings.Join(bad, ", ")).Help = "move the rule to a chain where it can hold"
}
