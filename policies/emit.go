package policies

import (
	"fmt"
	"hash/fnv"
	"slices"
	"strings"

	"github.com/bpfwall/bpfwall/ruleset"
)

// logging is what the key log asks for.
type logging struct {
	log   *ruleset.Log // nil: nothing
	fresh bool         // once a connection
	limit *ruleset.Limit
	pos   ruleset.Pos
}

const logWarning = 4 // syslog severity

var levelWords = []word{{"emerg", 0}, {"alert", 1}, {"crit", 2}, {"err", 3}, {"warning", 4}, {"notice", 5}, {"info", 6}, {"debug", 7}}

func (b *builder) readLog() {
	l := &b.log
	l.pos = b.t.pos("log")
	if b.verb == "log_only" || b.t.truth("log") {
		l.log = &ruleset.Log{Level: logWarning}
	}
	if v, ok := b.t.text("log"); ok {
		l.log = &ruleset.Log{Level: logWarning}
		if l.fresh = v.s == "new"; !l.fresh {
			l.limit = b.p.limit(v)
		}
	}
	if t := b.t.table("log"); t.m != nil {
		b.logTable(t)
	}
	if l.fresh && b.where == inGuard {
		b.p.fail(l.pos, "log: guard runs before connections are known").Help = `use a rate, as in log = "10/second"`
	}
}

func (b *builder) logTable(t table) {
	l := &b.log
	prefix, _ := t.text("prefix")
	l.log = &ruleset.Log{Level: logWarning, Prefix: prefix.s}
	l.fresh = t.truth("new")
	if v, ok := t.text("limit"); ok {
		l.limit = b.p.limit(v)
	}
	for _, v := range t.texts("level") {
		n, ok := named(levelWords, v.s)
		if !ok {
			b.p.unknown(v, "level", v.s, namesOf(levelWords))
		}
		l.log.Level = uint8(n)
	}
	if n, ok := t.m["level"].(int64); ok {
		l.log.Level = uint8(b.p.within(t, "level", n, 7))
	}
	if n, ok := t.m["group"].(int64); ok {
		l.log.Group = int(b.p.within(t, "group", n, 65535)) + 1
	}
}

// within reports a number that is not in 0..limit.
func (p *parser) within(t table, key string, n, limit int64) int64 {
	if n < 0 || n > limit {
		p.fail(t.pos(key), "%s: %d is not in 0 to %d", key, n, limit)
		return 0
	}
	return n
}

// readLimit reads limit and over. What exceeds the limit of an allow rule is dropped; for other verbs the policy must say what
// happens, because nothing can be taken for granted there.
func (b *builder) readLimit() {
	var bound string
	over, hasOver := b.t.text("over")
	b.remembers, bound = b.remember(b.t)
	if b.t.has("above") {
		b.checkAbove()
	}
	if bound == "" {
		b.over = "next"
		b.checkUnbound()
		return
	}
	if b.t.has("after_limit") && over.s != "next" && !b.goesOn() {
		b.p.fail(b.t.keyPos("after_limit"), `after_limit: needs limit, and over = "next"`)
	}
	b.over = over.s
	switch {
	case hasOver:
		b.checkOver(over)
	case b.verb == "allow":
		b.over = "drop"
	case b.goesOn():
		b.over = "next"
	case b.verb != "":
		b.p.fail(b.t.keyPos(bound), "%s: %s needs over, to say what happens to the packets beyond it", bound, b.verb).Help =
			`over = "next" goes on with the next rule`
	}
}

// checkUnbound refuses what only a limit has.
func (b *builder) checkUnbound() {
	if b.t.has("limit") {
		return // which is wrong
	}
	if b.t.has("over") && !b.t.has("above") {
		b.p.fail(b.t.keyPos("over"), "over: there is no limit")
	}
	if b.t.has("after_limit") && len(b.remembers) == 0 && !b.t.has("above") {
		b.p.fail(b.t.keyPos("after_limit"), "after_limit: there is no limit")
	}
}

// goesOn reports whether the rule leaves the packet to the rules after it.
func (b *builder) goesOn() bool { return b.verb != "" && b.verdict.Kind == ruleset.Continue }

// checkAbove checks above, which makes the rule hold for what exceeds a rate.
func (b *builder) checkAbove() {
	for _, key := range []string{"limit", "over"} {
		if b.t.has(key) {
			b.p.fail(b.t.keyPos(key), "%s: the rule has above", key).Help = "write one rule for the rate, and one for what exceeds it"
		}
	}
}

func (b *builder) checkOver(v text) {
	words := []string{"drop", "reject", "next", "ban 1h in @set"}
	switch {
	case v.s == "reject" && b.where == inGuard:
		b.p.fail(v.pos, "over: guard cannot reject")
	case v.s == "drop" || v.s == "reject" || v.s == "next":
	case strings.HasPrefix(v.s, "ban "):
		b.ban = b.p.ban(v, strings.TrimPrefix(v.s, "ban "))
	default:
		b.p.unknown(v, "word", v.s, words)
	}
}

func (b *builder) readStatements() {
	if v, ok := b.t.text("set_mark"); ok {
		if m, ok := b.p.masked(v, 1<<32-1); ok {
			b.statements = append(b.statements, ruleset.Statement{SetMark: &ruleset.SetMark{Value: uint32(m.Value), Mask: uint32(m.Mask)}})
		}
	}
	b.readBan()
	if b.verb == "synproxy" {
		b.statements = append(b.statements, ruleset.Statement{SynProxy: &ruleset.SynProxy{}})
	}
	if b.t.truth("notrack") {
		b.statements = append(b.statements, ruleset.Statement{NoTrack: &ruleset.NoTrack{}})
	}
}

// stages puts the rule where the packets are that its state asks for. In a direction whose state is automatic, packets of known
// connections are decided before the other rules: a rule that is about them too stands there once more, for them only.
func (b *builder) stages() (early, then []*ruleset.Rule) {
	states := uint64(laterStates | firstStates)
	for _, m := range b.state {
		if m.Not {
			states &^= m.Masked[0].Value
		} else {
			states &= m.Masked[0].Value
		}
	}
	automatic := b.where&(inInbound|inOutbound|inForward) != 0 && !b.p.defaults.explicit
	switch {
	case !automatic && states == laterStates|firstStates:
		return nil, b.rules()
	case !automatic:
		return nil, b.rules(b.state...)
	case len(b.state) == 0:
		return nil, b.rules()
	}
	if known := states & laterStates; known != 0 {
		early = b.suffixed("/early").rules(stateIs(known))
	}
	switch first := states & firstStates; first {
	case 0:
	case firstStates:
		then = b.rules()
	default:
		then = b.rules(stateIs(first))
	}
	return early, then
}

// suffixed is the rule under another name, if it has one.
func (b *builder) suffixed(s string) *builder {
	c := *b
	if c.name != "" {
		c.name += s
	}
	return &c
}

// rules makes a rule of each alternative. A limit that covers several goes into a chain of its own, because it has one bucket.
func (b *builder) rules(state ...ruleset.Match) []*ruleset.Rule {
	if len(b.remembers) > 0 && len(b.alts) > 1 {
		return b.shared(state)
	}
	var out []*ruleset.Rule
	for i, alt := range b.alts {
		c := b
		if i > 0 {
			c = b.suffixed(fmt.Sprintf(".%d", i+1))
		}
		out = append(out, c.sequence(append(alt[:len(alt):len(alt)], state...))...)
	}
	return out
}

// shared puts the limit and the verdict into a chain that every alternative jumps to.
func (b *builder) shared(state []ruleset.Match) []*ruleset.Rule {
	if b.verb == "return" || b.verb == "goto" {
		b.p.fail(b.remembers[0].Pos, "%s: %s with several services or zones is not possible", b.remembers[0].Field, b.verb).Help = "write one rule each"
		return nil
	}
	name := b.chain + "/" + b.handle()
	inner := &ruleset.Chain{Name: b.p.freeChain(name), Rules: b.sequence(nil), Pos: b.pos}
	b.p.pol.Ruleset.Chains = append(b.p.pol.Ruleset.Chains, inner)
	outer := *b
	outer.remembers, outer.log, outer.statements = nil, logging{}, nil
	outer.verdict = ruleset.Verdict{Kind: ruleset.Jump, Chain: inner.Name}
	return outer.rules(state...)
}

// handle is the rule's name, or something that stays the same as long as the rule does, so that counters and buckets keep their identity.
func (b *builder) handle() string {
	if b.name != "" {
		return b.name
	}
	h := fnv.New32a()
	h.Write([]byte(b.text))
	return fmt.Sprintf("%08x", h.Sum32())
}

// freeChain is name, or name with a number if a chain or group has it already.
func (p *parser) freeChain(name string) string {
	free := name
	for n := 2; p.pol.Ruleset.Chain(free, ruleset.FamilyAny) != nil || p.groups[free].m != nil; n++ {
		free = fmt.Sprintf("%s %d", name, n)
	}
	return free
}

// sequence is the rules for one alternative: a log of its own if it is sampled, the rule, and what happens over the limit.
func (b *builder) sequence(matches []ruleset.Match) []*ruleset.Rule {
	var out []*ruleset.Rule
	add := func(suffix string, v ruleset.Verdict, statements []ruleset.Statement, extra ...ruleset.Match) {
		c := b.suffixed(suffix)
		out = append(out, &ruleset.Rule{Name: c.name, Note: b.note, Pos: b.pos, Text: b.text, Verdict: v, Statements: statements,
			Matches: append(matches[:len(matches):len(matches)], extra...)})
	}
	statements, extra := b.statements, []ruleset.Match(nil)
	if b.log.log != nil {
		log := []ruleset.Statement{{Log: b.log.log}}
		switch sampled := b.sampling(); {
		case len(sampled) == 0:
			statements = append(log, statements...)
		case b.verb == "log_only" && len(b.remembers) == 0:
			statements, extra = append(log, statements...), sampled
		default:
			add("/log", verdict(ruleset.Continue), log, sampled...)
		}
	}
	if len(b.remembers) > 0 {
		extra = slices.Concat(extra, b.remembers, b.after)
	}
	v := b.verdict
	if v.Kind != ruleset.Reject {
		v.With = ruleset.RejectDefault
	}
	add("", v, statements, extra...)
	if len(b.remembers) > 0 && b.over == "reject" {
		add("/over", ruleset.Verdict{Kind: ruleset.Reject, With: b.verdict.With}, nil)
	}
	if len(b.remembers) > 0 && b.over == "drop" {
		add("/over", verdict(ruleset.Drop), nil)
	}
	if len(b.remembers) > 0 && b.ban != nil {
		add("/over", verdict(ruleset.Drop), []ruleset.Statement{{Change: b.ban}})
	}
	return out
}

// sampling is the conditions under which a matching packet is logged.
func (b *builder) sampling() []ruleset.Match {
	var out []ruleset.Match
	if b.log.fresh {
		out = append(out, stateIs(ruleset.StateNew))
	}
	if b.log.limit != nil {
		out = append(out, ruleset.Match{Field: ruleset.FieldLimit, Limit: b.log.limit, Pos: b.log.pos})
	}
	return out
}
