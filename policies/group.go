package policies

import (
	"slices"

	"github.com/bpfwall/bpfwall/ruleset"
)

// readGroups notes the names of [groups], so that rules can use groups that stand further down.
func (p *parser) readGroups(t table) {
	for _, name := range t.keys() {
		p.groups[name] = t.table(name)
		if slices.Contains(baseNames, name) {
			p.fail(t.keyPos(name), "group %q: the name belongs to a list of rules that always runs", name)
		}
	}
}

// lowerGroups makes a chain of every group. Groups that nothing uses are chains too, so that their mistakes are found.
func (p *parser) lowerGroups(t table) {
	for _, name := range t.keys() {
		inner := t.table(name)
		c := &ruleset.Chain{Name: name, Pos: t.keyPos(name)}
		for _, r := range inner.tables("rules") {
			_, then := p.rule(r, inGroupRule, name)
			c.Rules = append(c.Rules, then...)
		}
		p.pol.Ruleset.Chains = append(p.pol.Ruleset.Chains, c)
	}
}
