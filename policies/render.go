package policies

import (
	"fmt"
	"slices"
	"strings"

	"github.com/bpfwall/bpfwall/ruleset"
)

// renderer writes one rule as an inline table.
type renderer struct {
	w     *writer
	chain *ruleset.Chain
	rule  *ruleset.Rule
	slots []*slot // the rule's own conditions, then those of also
	own   slot    // the rule's own conditions that depend on packets before
	after []*slot // conditions that stand behind those
}

// slot is a table of conditions: for each key what the packet must be, and what it must not be.
type slot struct {
	keys   []string
	values map[string][]string
	signs  map[string]int // 1: has positive operands, 2: negative

	memory []string // conditions that depend on packets before, and stand behind the others
	order  int      // of the last of them
}

func newSlot() *slot { return &slot{values: map[string][]string{}, signs: map[string]int{}} }

// rule writes a rule of a chain.
func (w *writer) rule(c *ruleset.Chain, r *ruleset.Rule) line {
	x := &renderer{w: w, chain: c, rule: r}
	if c.Family != ruleset.FamilyAny {
		own := newSlot()
		own.signs["family"] = 1 | 2 // taken: it is the chain's
		x.slots = []*slot{own}
	}
	matches, services, family := x.services()
	for i := range matches {
		x.match(&matches[i])
	}
	parts := []string{}
	parts = append(parts, x.verb(services)...)
	if len(x.slots) > 0 {
		parts = append(parts, x.slots[0].parts()...)
		parts = append(parts, tablesText("also", x.slots[1:])...)
	}
	parts = append(parts, x.own.memory...)
	if x.bound() && r.Verdict.Kind != ruleset.Continue {
		parts = append(parts, `over = "next"`)
	}
	parts = append(parts, tablesText("after_limit", x.after)...)
	parts = append(parts, x.statements()...)
	if r.Note != "" {
		parts = append(parts, "note = "+quote(r.Note))
	}
	return line{place: placeOf(r), source: r.Text, name: r.Name, text: strings.Join(parts, ", "), family: c.Family, limited: slices.ContainsFunc(r.Matches, remembers),
		out:     len(x.slots) > 0 && x.slots[0].signs["out"] != 0,
		implied: family == c.Family && family != ruleset.FamilyAny || impliesFamily(r.Matches)}
}

// impliesFamily reports whether the rule can match packets of one family only, because of its addresses. Those behind a limit come
// too late: packets of the other family would have used it up.
func impliesFamily(matches []ruleset.Match) bool {
	for _, m := range matches {
		if remembers(m) {
			return false
		}
		if !m.Not && len(m.Addrs) > 0 && len(m.Live) == 0 {
			return true
		}
	}
	return false
}

// placeOf is the file and line of a rule.
func placeOf(r *ruleset.Rule) string {
	if r.Pos.Line == 0 {
		return ""
	}
	return fmt.Sprintf("%s:%d", r.Pos.File, r.Pos.Line)
}

// services takes the matches that the verb can name as services, and says which family those imply.
func (x *renderer) services() (rest []ruleset.Match, names []string, family ruleset.Family) {
	rest = x.rule.Matches
	proto, port, kind := x.only(ruleset.FieldProto), x.only(ruleset.FieldDstPort), x.only(ruleset.FieldICMPType)
	if proto == nil || x.has(ruleset.FieldICMPCode) {
		return rest, nil, 0
	}
	switch {
	case port != nil && allIn(proto.Ranges, protoTCP, protoUDP):
		names, kind = serviceNames(proto.Ranges, port.Ranges), nil
	case kind != nil && len(proto.Ranges) == 1 && icmpTypes[uint8(proto.Ranges[0].From)] != nil:
		names, family = icmpNames(proto.Ranges[0], kind.Ranges, x.chain.Family)
		port = nil
	}
	if names == nil {
		return rest, nil, 0
	}
	rest = slices.DeleteFunc(slices.Clone(rest), func(m ruleset.Match) bool {
		return m.Field == ruleset.FieldProto || m.Field == ruleset.FieldDstPort && port != nil || m.Field == ruleset.FieldICMPType && kind != nil
	})
	return rest, names, family
}

// only is the rule's one match of a field, if it is positive, made of ranges, and in front of any limit.
func (x *renderer) only(f ruleset.FieldID) *ruleset.Match {
	var found *ruleset.Match
	for i := range x.rule.Matches {
		m := &x.rule.Matches[i]
		if m.Field != f {
			continue
		}
		if found != nil || m.Not || len(m.Ranges) == 0 || x.limitBefore(i) {
			return nil
		}
		found = m
	}
	return found
}

func (x *renderer) has(f ruleset.FieldID) bool {
	return slices.ContainsFunc(x.rule.Matches, func(m ruleset.Match) bool { return m.Field == f })
}

func (x *renderer) limitBefore(i int) bool {
	return slices.ContainsFunc(x.rule.Matches[:i], remembers)
}

func remembers(m ruleset.Match) bool { return m.Field.Remembers() }

func allIn(ranges []ruleset.Range, values ...uint64) bool {
	return !slices.ContainsFunc(ranges, func(r ruleset.Range) bool { return r.From != r.To || !slices.Contains(values, r.From) })
}

// known are the services that have one literal, by it.
var known = func() map[string]string {
	out := map[string]string{}
	for name, list := range composites {
		if len(list) == 1 {
			out[list[0]] = name
		}
	}
	return out
}()

func serviceNames(protos, ports []ruleset.Range) []string {
	var out []string
	for _, p := range protos {
		name, _ := nameOf(protoWords, p.From)
		for _, r := range ports {
			literal := name + "/" + rangeText(r)
			if s := known[literal]; s != "" {
				literal = s
			}
			out = append(out, literal)
		}
	}
	return out
}

// icmpNames writes ICMP types as services. Those imply their family, so the chain must be of it.
func icmpNames(proto ruleset.Range, types []ruleset.Range, family ruleset.Family) ([]string, ruleset.Family) {
	want := map[uint64]ruleset.Family{protoICMP: ruleset.FamilyIPv4, protoICMPv6: ruleset.FamilyIPv6}[proto.From]
	if proto.From != proto.To || family != want {
		return nil, 0
	}
	var out []string
	for _, r := range types {
		if r.From != r.To {
			return nil, 0
		}
		name, ok := nameOf(icmpTypes[uint8(proto.From)], r.From)
		if !ok {
			name = decimal(r.From)
		}
		base, _ := nameOf(protoWords, proto.From)
		out = append(out, base+"/"+name)
	}
	return out, want
}

// verb writes what the rule does.
func (x *renderer) verb(services []string) []string {
	v := x.rule.Verdict
	what := `"any"`
	if services != nil {
		what = textList(services)
	}
	switch v.Kind {
	case ruleset.Jump, ruleset.Goto:
		target := x.w.groups[x.w.rs.Chain(v.Chain, x.chain.Family)]
		out := []string{verbOf(v.Kind) + " = " + quote(target)}
		if services != nil {
			out = append(out, "service = "+what)
		}
		return out
	case ruleset.Continue:
		key := "continue"
		if x.onlyLogs() {
			key = "log_only"
		}
		if x.proxies() {
			key = "synproxy"
		}
		return []string{key + " = " + what}
	case ruleset.Reject:
		if v.With != ruleset.RejectDefault {
			return []string{"reject = " + what, "with = " + quote(v.With.String())}
		}
	}
	return []string{verbOf(v.Kind) + " = " + what}
}

func (x *renderer) proxies() bool {
	return slices.ContainsFunc(x.rule.Statements, func(s ruleset.Statement) bool { return s.SynProxy != nil })
}

func (x *renderer) onlyLogs() bool {
	return len(x.rule.Statements) == 1 && x.rule.Statements[0].Log != nil
}

// match puts a match into the first table of conditions that has room for its key.
func (x *renderer) match(m *ruleset.Match) {
	if remembers(*m) {
		x.remember(m)
		return
	}
	k, operands := x.operands(m)
	slots, from := &x.slots, 0
	if x.own.memory != nil {
		slots = &x.after
		for i, s := range x.after {
			if s.memory != nil {
				from = i + 1 // what stands in front of it is tested before
			}
		}
	}
	sign := 1
	if m.Not {
		sign = 2
		for i := range operands {
			operands[i] = "!" + operands[i]
		}
	}
	for _, s := range (*slots)[from:] {
		if s.add(k, sign, operands) {
			return
		}
	}
	s := newSlot()
	s.add(k, sign, operands)
	*slots = append(*slots, s)
}

// remember puts a condition that depends on packets before behind all that stand in front of it.
func (x *renderer) remember(m *ruleset.Match) {
	last := &x.own
	if n := len(x.after); n > 0 {
		last = x.after[n-1]
	}
	if order := memoryOrder(m.Field); last.order >= order {
		last = newSlot()
		x.after = append(x.after, last)
	}
	last.order = memoryOrder(m.Field)
	last.memory = append(last.memory, memoryText(m))
}

// bound reports whether the rule's own conditions set a limit. What exceeds it goes on with the next rule, as in the ruleset.
func (x *renderer) bound() bool {
	if x.own.memory == nil {
		return false
	}
	first := slices.IndexFunc(x.rule.Matches, remembers)
	order := 0
	for _, m := range x.rule.Matches[first:] {
		if !remembers(m) || memoryOrder(m.Field) <= order {
			break
		}
		order = memoryOrder(m.Field)
		if !m.Not && (order == limitOrder || memories[order-1].bound) {
			return true
		}
	}
	return false
}

func (x *renderer) fail(m *ruleset.Match, format string, args ...any) {
	pos := m.Pos
	if pos.Line == 0 {
		pos = x.rule.Pos
	}
	x.w.errs.Add(pos, "%s: %s", m.Field, fmt.Sprintf(format, args...))
}

// add puts operands under a key unless it has some of the same sign: those would be alternatives.
func (s *slot) add(k string, sign int, operands []string) bool {
	single := isFlag(k)
	if s.signs[k]&sign != 0 || single && s.signs[k] != 0 {
		return false
	}
	if s.signs[k] == 0 {
		s.keys = append(s.keys, k)
	}
	s.signs[k] |= sign
	s.values[k] = append(s.values[k], operands...)
	return true
}

// isFlag reports whether a key is true or false.
func isFlag(k string) bool { return lookup(inAlso, k).form == isBool }

func (s *slot) parts() []string {
	var out []string
	for _, k := range s.keys {
		value := textList(s.values[k])
		if isFlag(k) {
			value = map[bool]string{true: "true", false: "false"}[s.signs[k] == 1]
		}
		out = append(out, k+" = "+value)
	}
	return append(out, s.memory...)
}

func tablesText(name string, slots []*slot) []string {
	var out []string
	for _, s := range slots {
		out = append(out, "{ "+strings.Join(s.parts(), ", ")+" }")
	}
	if out == nil {
		return nil
	}
	return []string{name + " = [" + strings.Join(out, ", ") + "]"}
}

func (x *renderer) statements() []string {
	var out []string
	var changes []string
	logs, marks := 0, 0
	for _, s := range x.rule.Statements {
		switch {
		case s.Log != nil:
			logs++
			out = append(out, x.log(s.Log)...)
		case s.SetMark != nil:
			marks++
			out = append(out, fmt.Sprintf(`set_mark = "%#x/%#x"`, s.SetMark.Value, s.SetMark.Mask))
		case s.NoTrack != nil:
			out = append(out, "notrack = true")
		case s.Change != nil:
			changes = append(changes, quote(changeText(s.Change)))
		}
	}
	if changes != nil {
		out = append(out, "change = ["+strings.Join(changes, ", ")+"]")
	}
	if logs > 1 || marks > 1 {
		x.w.errs.Add(x.rule.Pos, "rule: two statements of one kind cannot be written")
	}
	return out
}

func (x *renderer) log(l *ruleset.Log) []string {
	var parts []string
	if l.Prefix != "" {
		parts = append(parts, "prefix = "+quote(l.Prefix))
	}
	if l.Level != logWarning {
		parts = append(parts, fmt.Sprintf("level = %d", l.Level))
	}
	if l.Group > 0 {
		parts = append(parts, fmt.Sprintf("group = %d", l.Group-1))
	}
	switch {
	case len(parts) > 0:
		return []string{"log = { " + strings.Join(parts, ", ") + " }"}
	case x.rule.Verdict.Kind == ruleset.Continue && x.onlyLogs():
		return nil // log_only says it
	}
	return []string{"log = true"}
}
