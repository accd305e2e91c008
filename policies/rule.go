package policies

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/bpfwall/bpfwall/ruleset"
)

// verbs are the keys that say what a rule does; a rule has exactly one.
var verbs = []struct {
	key  string
	kind ruleset.VerdictKind
}{
	{"allow", ruleset.Accept}, {"drop", ruleset.Drop}, {"reject", ruleset.Reject}, {"log_only", ruleset.Continue},
	{"continue", ruleset.Continue}, {"synproxy", ruleset.Continue}, {"return", ruleset.Return}, {"use", ruleset.Jump}, {"goto", ruleset.Goto},
}

// builder turns one rule of a policy into the rules of a chain that it takes.
type builder struct {
	p          *parser
	t          table
	where      scope
	chain      string // the chain that the rules are for
	name       string
	verb       string
	verdict    ruleset.Verdict
	statements []ruleset.Statement
	remembers  []ruleset.Match    // limit and the like
	over       string             // what happens beyond them
	ban        *ruleset.SetChange // of what exceeds the limit
	log        logging
	alts       [][]ruleset.Match // any of these
	state      []ruleset.Match   // kept apart for the rule's stages
	after      []ruleset.Match   // behind the limit
	note, text string
	pos        ruleset.Pos
}

// rule lowers a rule: early is for packets of known connections, which stand before the state rules; then is the rest.
func (p *parser) rule(t table, where scope, chain string) (early, then []*ruleset.Rule) {
	b := &builder{p: p, t: t, where: where, chain: chain}
	services, ok := b.readVerb()
	b.identity()
	b.conditions(where, services)
	b.readLog()
	b.readLimit()
	b.readStatements()
	if !ok || b.expired() {
		return nil, nil
	}
	return b.stages()
}

// readVerb finds the verb and the services that it names.
func (b *builder) readVerb() (services []text, ok bool) {
	for _, v := range verbs {
		if !b.t.has(v.key) {
			continue
		}
		if b.verb != "" {
			b.twoVerbs(v.key)
			continue
		}
		b.verb, b.verdict.Kind = v.key, v.kind
	}
	if b.verb == "" {
		if !b.t.hasLater() {
			b.p.fail(b.t.self(), "rule has no action").Help = "add allow, drop, reject, log_only or use"
		}
		return nil, false
	}
	b.pos = b.t.keyPos(b.verb)
	if b.verdict.Kind == ruleset.Jump || b.verdict.Kind == ruleset.Goto {
		return b.t.texts("service"), b.readTarget()
	}
	if b.t.has("service") {
		b.p.fail(b.t.keyPos("service"), "service: belongs to use and goto; %s names its services itself", b.verb)
	}
	b.readWith()
	b.leavesDirection()
	return b.t.texts(b.verb), true
}

// hasLater reports whether the walk has already refused something of the table, so that more would be noise.
func (t table) hasLater() bool {
	for key := range t.m {
		if r := lookup(inRule, key); r == nil || r.later != "" {
			return true
		}
	}
	return false
}

func (b *builder) twoVerbs(second string) {
	first := b.verb
	if b.t.p.src.places[b.t.at(second)].key.start < b.t.p.src.places[b.t.at(first)].key.start {
		first, second = second, first
	}
	b.p.fail(b.t.keyPos(second), "rule has two actions: %s and %s", first, second).Help = "split it into two rules"
}

// readTarget reads the group of use and goto.
func (b *builder) readTarget() bool {
	v, ok := b.t.text(b.verb)
	if !ok {
		return false
	}
	if b.verdict.Kind == ruleset.Goto {
		b.leavesDirection()
	}
	b.verdict.Chain = v.s
	b.p.used["group "+v.s] = true
	if _, known := b.p.groups[v.s]; known {
		return true
	}
	names := []string{}
	for n := range b.p.groups {
		names = append(names, n)
	}
	if e := b.p.unknown(v, "group", v.s, names); e.Hint == "" {
		e.Help = fmt.Sprintf("groups are lists of rules under [groups.%s]", v.s)
	}
	return false
}

// leavesDirection refuses return and goto where the default is more than a policy: the rules that make it would be skipped.
func (b *builder) leavesDirection() {
	k := b.verdict.Kind
	if k != ruleset.Return && k != ruleset.Goto || b.where&(inInbound|inOutbound|inForward) == 0 || b.p.plainDefault(b.chain) {
		return
	}
	e := b.p.fail(b.t.keyPos(b.verb), "%s: cannot go to this direction's default, which is reject or differs between IPv4 and IPv6", b.verb)
	e.Help = "write the verdict itself, or put the rules into a group"
}

// rejectWords are the answers that with can name.
var rejectWords = func() (out []word) {
	for w := ruleset.RejectTCPReset; w <= ruleset.RejectRoute; w++ {
		out = append(out, word{w.String(), uint64(w)})
	}
	return out
}()

func (b *builder) readWith() {
	v, ok := b.t.text("with")
	if !ok {
		return
	}
	n, known := named(rejectWords, v.s)
	over, _ := b.t.text("over")
	switch {
	case !known:
		b.p.unknown(v, "answer", v.s, namesOf(rejectWords))
	case b.verdict.Kind != ruleset.Reject && over.s != "reject":
		b.p.fail(b.t.keyPos("with"), "with: only reject answers")
	}
	b.verdict.With = ruleset.RejectWith(n)
}

// identity reads the name and note, and the text of the rule as its author wrote it.
func (b *builder) identity() {
	if v, ok := b.t.text("name"); ok {
		b.name = v.s
		key := b.chain + "/" + v.s
		if first, twice := b.p.names[key]; twice {
			b.p.fail(v.pos, "name %q: used twice", v.s).Help = "the first is at " + first.String()
		}
		if strings.TrimSpace(v.s) == "" {
			b.p.fail(v.pos, "name: is empty")
		}
		b.p.names[key] = v.pos
	}
	note, _ := b.t.text("note")
	b.note = note.s
	var parts []string
	for _, key := range b.t.keys() {
		at := b.p.src.places[b.t.at(key)]
		parts = append(parts, key+" = "+strings.Join(strings.Fields(string(b.p.src.text[at.value.start:at.value.end])), " "))
	}
	b.text = strings.Join(parts, ", ")
}

// conditions reads everything that the rule compares, as alternatives of which any may hold.
func (b *builder) conditions(where scope, services []text) {
	common := b.compare(b.t)
	for _, t := range b.t.tables("also") {
		common = append(append(common, b.compare(t)...), b.ifaceOnly(t)...)
	}
	isState := func(m ruleset.Match) bool { return m.Field == ruleset.FieldState }
	for _, m := range common {
		if isState(m) {
			b.state = append(b.state, m)
		}
	}
	common = slices.DeleteFunc(common, isState)
	for _, t := range b.t.tables("after_limit") {
		memory, _ := b.remember(t)
		b.after = slices.Concat(b.after, b.compare(t), b.ifaceOnly(t), memory)
	}
	servicePos := ruleset.Pos{}
	if len(services) > 0 {
		servicePos = services[0].pos
	}
	ins, outs := b.t.texts("in"), b.t.texts("out")
	if where == inGuard && len(outs) == 1 && outs[0].s == "any" {
		outs = nil
	}
	b.alts = nil
	for _, in := range b.p.place(ins, ruleset.FieldInIface, ruleset.FieldSrcAddr) {
		for _, out := range b.p.place(outs, ruleset.FieldOutIface, ruleset.FieldDstAddr) {
			for _, service := range alternatives(b.p.flows(services, nil), servicePos) {
				b.alts = append(b.alts, slices.Concat(in, out, service, common))
			}
		}
	}
}

// compare reads the conditions of a rule or of a table in it.
func (b *builder) compare(t table) []ruleset.Match {
	var out []ruleset.Match
	for i := range conditions {
		c := &conditions[i]
		if !t.has(c.key) {
			continue
		}
		found := b.p.matches(c, t.texts(c.key))
		for j := range found {
			b.collect(c.key, &found[j])
		}
		out = append(out, found...)
	}
	return out
}

// ifaceOnly reads in and out of a table in a rule, which must come to one alternative.
func (b *builder) ifaceOnly(t table) []ruleset.Match {
	in := b.p.place(t.texts("in"), ruleset.FieldInIface, ruleset.FieldSrcAddr)
	out := b.p.place(t.texts("out"), ruleset.FieldOutIface, ruleset.FieldDstAddr)
	if len(in) > 1 || len(out) > 1 {
		b.p.fail(t.self(), "a list with a zone that has sources is not possible here").Help = "name one zone, or write it in the rule"
	}
	return append(in[0], out[0]...)
}

// longList is how many addresses a match may hold before they become a set, which is a map instead of code.
const longList = 32

// collect makes a set of a long list of addresses.
func (b *builder) collect(key string, m *ruleset.Match) {
	if len(m.Addrs) <= longList {
		return
	}
	name := fmt.Sprintf("%s/%s.%s", b.chain, b.handle(), key)
	if m.Not {
		name += " not"
	}
	if b.p.sets[name] == nil {
		s := &ruleset.Set{Name: name, Members: m.Addrs, Pos: m.Pos}
		b.p.sets[name] = s
		b.p.pol.Ruleset.Sets = append(b.p.pol.Ruleset.Sets, s)
	}
	m.Addrs, m.Set = nil, name
}

// mirror turns the conditions round, for the answers to what they match.
func (b *builder) mirror() {
	var out [][]ruleset.Match
	for _, alt := range b.alts {
		var turned []ruleset.Match
		for _, m := range alt {
			turned = append(turned, mirrored(m))
		}
		out = append(out, turned)
	}
	b.alts = out
}

var opposite = map[ruleset.FieldID]ruleset.FieldID{
	ruleset.FieldSrcAddr: ruleset.FieldDstAddr, ruleset.FieldDstAddr: ruleset.FieldSrcAddr,
	ruleset.FieldSrcPort: ruleset.FieldDstPort, ruleset.FieldDstPort: ruleset.FieldSrcPort,
	ruleset.FieldInIface: ruleset.FieldOutIface, ruleset.FieldOutIface: ruleset.FieldInIface,
}

// mirrored is a match on the answer. An echo request is answered by the type before (8 by 0) or after (128 by 129).
func mirrored(m ruleset.Match) ruleset.Match {
	if f, ok := opposite[m.Field]; ok {
		m.Field = f
	}
	if m.Field == ruleset.FieldICMPType {
		answers := map[uint64]uint64{8: 0, 13: 14, 17: 18, 128: 129}
		m.Ranges = slices.Clone(m.Ranges)
		for i, r := range m.Ranges {
			if a, ok := answers[r.From]; ok && r.From == r.To {
				m.Ranges[i] = number(a)
			}
		}
	}
	return m
}

// expired reports whether the rule's last day is over, with a warning.
func (b *builder) expired() bool {
	day, ok := b.t.m["expires"].(time.Time)
	if s, isText := b.t.text("expires"); isText {
		var err error
		if day, err = time.Parse(time.DateOnly, s.s); err != nil {
			b.p.fail(s.pos, "expires %q: not a date such as 2027-01-31", s.s)
			return false
		}
		ok = true
	}
	if !ok {
		return false
	}
	now := b.p.opts.Now
	start := time.Date(day.Year(), day.Month(), day.Day(), 0, 0, 0, 0, now.Location())
	if now.Before(start) {
		return false
	}
	b.p.warn(b.t.pos("expires"), "this rule expired on %s and is left out", start.Format(time.DateOnly))
	return true
}
