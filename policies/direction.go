package policies

import (
	"fmt"
	"slices"

	"github.com/bpfwall/bpfwall/ruleset"
)

// direction is a list of rules of a policy and the base chain that it becomes.
type direction struct {
	key     string
	scope   scope
	hook    ruleset.Hook
	builtin string // the default where [defaults] is silent
}

var directions = []direction{
	{"inbound", inInbound, ruleset.HookInput, "drop"},
	{"outbound", inOutbound, ruleset.HookOutput, "allow"},
	{"forward", inForward, ruleset.HookForward, "drop"},
}

const (
	guardChain    = "guard"     // on what the host receives
	guardOutChain = "guard-out" // on what it sends
)

// baseNames are the chains that a group cannot be called.
var baseNames = []string{"inbound", "outbound", "forward", guardChain, guardOutChain, listenChain}

// defaults is [defaults], [essentials] and [log].
type defaults struct {
	verdicts   map[string]map[ruleset.Family]text // by direction
	explicit   bool                               // state is for the rules to see to
	essentials map[string]bool
	drops      *ruleset.Limit
	logDrops   bool
	dropsPos   ruleset.Pos
}

func (p *parser) readDefaults(top table) {
	t := top.table("defaults")
	d := &p.defaults
	d.verdicts, d.essentials = map[string]map[ruleset.Family]text{}, map[string]bool{}
	for _, dir := range directions {
		d.verdicts[dir.key] = p.defaultOf(t, dir)
	}
	p.pol.Ruleset.PublishedAsInput = p.choice(t, "published_ports", "inbound", "forward") == "inbound"
	d.explicit = p.choice(t, "state", "automatic", "explicit") == "explicit"
	none := p.choice(t, "essentials", "all", "none") == "none"
	e := top.table("essentials")
	for _, name := range keysOf(inEssentials) {
		d.essentials[name] = !none
		if e.has(name) {
			d.essentials[name] = e.truth(name)
		}
	}
	log := top.table("log")
	d.logDrops = log.truth("drops")
	if v, ok := log.text("drops"); ok {
		d.drops, d.logDrops = p.limit(v), true
	}
	d.dropsPos = log.pos("drops")
}

// choice reads a key that is one of two words; the first is the default.
func (p *parser) choice(t table, key string, words ...string) string {
	v, ok := t.text(key)
	if !ok {
		return words[0]
	}
	if !slices.Contains(words, v.s) {
		p.unknown(v, key, v.s, words)
	}
	return v.s
}

// defaultOf is a direction's default for each family.
func (p *parser) defaultOf(t table, dir direction) map[ruleset.Family]text {
	v, ok := t.text(dir.key)
	if !ok {
		v = text{dir.builtin, ruleset.Pos{}}
	}
	out := map[ruleset.Family]text{ruleset.FamilyIPv4: v, ruleset.FamilyIPv6: v}
	if inner := t.table(dir.key); inner.m != nil {
		for _, f := range []ruleset.Family{ruleset.FamilyIPv4, ruleset.FamilyIPv6} {
			if v, ok := inner.text(f.String()); ok {
				out[f] = v
			}
		}
	}
	for f, v := range out {
		if !slices.Contains([]string{"drop", "allow", "reject"}, v.s) {
			p.unknown(v, "default", v.s, []string{"drop", "allow", "reject"})
			out[f] = text{"drop", v.pos}
			break
		}
	}
	return out
}

// directions makes the base chains: failsafe, state, essentials, the rules, the default; and the guard before them all.
func (p *parser) directions(top table) {
	safety := top.table("safety").tables("failsafe")
	p.guard(p.rulesOf(top, "guard"), safety)
	for _, dir := range directions {
		c := &ruleset.Chain{Name: dir.key, Hook: dir.hook}
		var early, rules []*ruleset.Rule
		for _, t := range p.rulesOf(top, dir.key) {
			first, then := p.rule(t, dir.scope, c.Name)
			early, rules = append(early, first...), append(rules, then...)
		}
		c.Rules = slices.Concat(p.failsafe(safety, dir), early, p.stateRules(), p.essentials(dir.hook), rules)
		p.close(c, dir)
		if len(c.Rules) > 0 || c.Policy != ruleset.Accept {
			p.pol.Ruleset.Chains = append(p.pol.Ruleset.Chains, c)
		}
	}
	p.listen(top)
}

// listenChain judges who may listen.
const listenChain = "listen"

// listen makes the chain of who may listen.
func (p *parser) listen(top table) {
	c := &ruleset.Chain{Name: listenChain, Hook: ruleset.HookListen, Policy: ruleset.Accept, Pos: top.keyPos("listen")}
	d := top.table("defaults")
	if p.choice(d, "listen", "allow", "drop") == "drop" {
		c.Policy, c.Pos = ruleset.Drop, d.pos("listen")
	}
	for _, t := range p.rulesOf(top, "listen") {
		_, then := p.rule(t, inListen, c.Name)
		c.Rules = append(c.Rules, then...)
	}
	if len(c.Rules) > 0 || c.Policy == ruleset.Drop {
		p.pol.Ruleset.Chains = append(p.pol.Ruleset.Chains, c)
	}
}

// rulesOf is the rules of a direction, in whichever spelling.
func (p *parser) rulesOf(top table, key string) []table {
	blocks, lines := top.tables(key), top.table("rules").tables(key)
	if len(blocks) > 0 && len(lines) > 0 {
		e := p.fail(top.table("rules").keyPos(key), "%s is written twice, as [[%s]] and under [rules]", key, key)
		e.Help = "the order between the two would be lost; keep one spelling"
	}
	return append(blocks, lines...)
}

// stateRules let through what belongs to an allowed connection.
func (p *parser) stateRules() []*ruleset.Rule {
	if p.defaults.explicit {
		return nil
	}
	return []*ruleset.Rule{
		{Name: "established", Matches: []ruleset.Match{stateIs(ruleset.StateEstablished | ruleset.StateRelated)}, Verdict: verdict(ruleset.Accept),
			Note: "packets of connections that were allowed"},
		{Name: "invalid", Matches: []ruleset.Match{stateIs(ruleset.StateInvalid)}, Verdict: verdict(ruleset.Drop),
			Note: "packets that belong to no connection and cannot begin one"},
	}
}

func stateIs(bits uint64) ruleset.Match {
	return ruleset.Match{Field: ruleset.FieldState, Masked: []ruleset.Masked{{Value: bits, Mask: bits}}}
}

func verdict(k ruleset.VerdictKind) ruleset.Verdict { return ruleset.Verdict{Kind: k} }

var defaultVerdicts = map[string]ruleset.VerdictKind{"drop": ruleset.Drop, "allow": ruleset.Accept, "reject": ruleset.Reject}

// close gives a chain its policy. A default that is not one plain verdict for both families takes rules at the end.
func (p *parser) close(c *ruleset.Chain, dir direction) {
	v4, v6 := p.defaults.verdicts[dir.key][ruleset.FamilyIPv4], p.defaults.verdicts[dir.key][ruleset.FamilyIPv6]
	p.logDefault(c, v4.s, v6.s)
	c.Policy, c.Pos = ruleset.Drop, v4.pos
	if v4.s == "allow" {
		c.Policy = ruleset.Accept
	}
	last := func(v text, name string, matches ...ruleset.Match) {
		c.Rules = append(c.Rules, &ruleset.Rule{Name: name, Matches: matches, Verdict: verdict(defaultVerdicts[v.s]), Pos: v.pos, Text: dir.key + " = " + fmt.Sprintf("%q", v.s)})
	}
	switch {
	case v4.s == v6.s && v4.s == "reject":
		last(v4, "default")
	case v4.s != v6.s:
		last(v6, "default-ipv6", familyIs(ruleset.FamilyIPv6))
		if v4.s == "reject" {
			last(v4, "default-ipv4", familyIs(ruleset.FamilyIPv4))
		}
	}
}

// logDefault logs what the default keeps out.
func (p *parser) logDefault(c *ruleset.Chain, v4, v6 string) {
	if !p.defaults.logDrops || v4 == "allow" && v6 == "allow" {
		return
	}
	r := &ruleset.Rule{Name: "default/log", Pos: p.defaults.dropsPos, Statements: []ruleset.Statement{{Log: &ruleset.Log{Level: logWarning}}}}
	if v4 == "allow" {
		r.Matches = append(r.Matches, familyIs(ruleset.FamilyIPv6))
	}
	if v6 == "allow" {
		r.Matches = append(r.Matches, familyIs(ruleset.FamilyIPv4))
	}
	if p.defaults.drops != nil {
		r.Matches = append(r.Matches, ruleset.Match{Field: ruleset.FieldLimit, Limit: p.defaults.drops, Pos: r.Pos})
	}
	c.Rules = append(c.Rules, r)
}

// plainDefault reports whether the default of a chain is its policy, so that leaving the chain comes to the same.
func (p *parser) plainDefault(chain string) bool {
	v := p.defaults.verdicts[chain]
	return v[ruleset.FamilyIPv4].s == v[ruleset.FamilyIPv6].s && v[ruleset.FamilyIPv4].s != "reject"
}

func familyIs(f ruleset.Family) ruleset.Match {
	return ruleset.Match{Field: ruleset.FieldFamily, Ranges: []ruleset.Range{number(uint64(f))}}
}

// guard makes the stateless chains. The failsafe is first here too: a guard that drops it would lock the operator out.
func (p *parser) guard(rules, safety []table) {
	chains := []*ruleset.Chain{
		{Name: guardChain, Hook: ruleset.HookPrerouting, Policy: ruleset.Accept},
		{Name: guardOutChain, Hook: ruleset.HookRawOutput, Policy: ruleset.Accept},
	}
	for _, t := range rules {
		c := chains[0]
		if t.has("out") {
			c = chains[1]
		}
		if t.has("in") && t.has("out") {
			p.fail(t.keyPos("out"), "a guard rule has in or out, not both").Help = "guard runs before the packet is routed"
		}
		_, then := p.rule(t, inGuard, c.Name)
		c.Rules = append(c.Rules, then...)
	}
	for i, c := range chains {
		if len(c.Rules) == 0 {
			continue
		}
		side := []direction{directions[0], directions[1]}[i]
		c.Rules = append(p.failsafe(safety, side), c.Rules...)
		p.pol.Ruleset.Chains = append(p.pol.Ruleset.Chains, c)
	}
}

// failsafe makes the rules that stand before everything: the packets of the service to this host, and in outbound its answers.
func (p *parser) failsafe(list []table, dir direction) []*ruleset.Rule {
	if dir.hook == ruleset.HookForward {
		return nil
	}
	var out []*ruleset.Rule
	for i, t := range list {
		if !t.has("allow") {
			p.fail(t.self(), "failsafe: says no service").Help = `add allow = "ssh"`
			continue
		}
		b := &builder{p: p, t: t, chain: dir.key, name: fmt.Sprintf("safety.failsafe[%d]", i), verdict: verdict(ruleset.Accept)}
		b.conditions(inFailsafe, t.texts("allow"))
		if dir.hook == ruleset.HookOutput {
			b.mirror()
		}
		out = append(out, b.rules()...)
	}
	return out
}
