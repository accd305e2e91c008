package policies

import (
	"slices"
	"strings"

	"github.com/bpfwall/bpfwall/ruleset"
)

// lint warns of what is allowed and probably not meant.
func (p *parser) lint(top table) {
	for _, what := range []struct{ one, all string }{{"set", "sets"}, {"zone", "zones"}, {"service", "services"}, {"group", "groups"}} {
		t := top.table(what.all)
		for _, name := range t.keys() {
			if !p.used[what.one+" "+name] {
				p.warn(t.keyPos(name), "%s %q is not used", what.one, name)
			}
		}
		p.sameButCase(t, what.one)
	}
	for _, c := range p.pol.Ruleset.Chains {
		p.unreachable(c)
		p.repeated(c)
		p.wideOpen(c)
	}
}

// sameButCase warns of names that differ in their case only.
func (p *parser) sameButCase(t table, what string) {
	seen := map[string]string{}
	for _, name := range t.keys() {
		lower := strings.ToLower(name)
		if first := seen[lower]; first != "" {
			p.warn(t.keyPos(name), "%s %q differs from %q in its case only", what, name, first)
		}
		seen[lower] = name
	}
}

// unreachable warns of the first rule of the author's that stands behind one that decides everything.
func (p *parser) unreachable(c *ruleset.Chain) {
	var wall *ruleset.Rule
	for _, r := range c.Rules {
		if wall != nil && r.Pos.Line != 0 && r.Pos != wall.Pos && !strings.HasPrefix(r.Name, "default") {
			p.warn(r.Pos, "this rule is never reached").Help = "the rule at " + wall.Pos.String() + " decides every packet"
			return
		}
		if wall == nil && len(r.Matches) == 0 && r.Verdict.Kind != ruleset.Continue && r.Verdict.Kind != ruleset.Jump {
			wall = r
		}
	}
}

// repeated warns of a rule with the conditions of an earlier one that has decided those packets.
func (p *parser) repeated(c *ruleset.Chain) {
	seen := map[string]*ruleset.Rule{}
	for _, r := range c.Rules {
		if r.Pos.Line == 0 || r.Verdict.Kind == ruleset.Continue || r.Verdict.Kind == ruleset.Jump || len(r.Matches) == 0 {
			continue
		}
		key := (&ruleset.Rule{Matches: r.Matches}).String()
		if first := seen[key]; first != nil && first.Pos != r.Pos {
			p.warn(r.Pos, "this rule is never reached").Help = "the rule at " + first.Pos.String() + " has the same conditions"
			continue
		}
		limited := slices.ContainsFunc(r.Matches, func(m ruleset.Match) bool { return m.Field.Remembers() })
		if !limited {
			seen[key] = r
		}
	}
}

// wideOpen warns of a rule that lets everything into the host or through it.
func (p *parser) wideOpen(c *ruleset.Chain) {
	if c.Hook != ruleset.HookInput && c.Hook != ruleset.HookForward {
		return
	}
	for _, r := range c.Rules {
		if len(r.Matches) == 0 && r.Verdict.Kind == ruleset.Accept && r.Pos.Line != 0 {
			p.warn(r.Pos, "this rule allows everything from everywhere").Help = "say in, from or a service; or write it as the default"
		}
	}
}
