package iptables

import (
	"strings"

	"github.com/bpfwall/bpfwall/ruleset"
)

// conditions is everything else that the rule matches, in the order in which netfilter looks: interfaces, protocol, fragment,
// then the extensions as written.
func (l *lowering) conditions(r *rule) (all []alternative, note string, lost *Entry) {
	all = []alternative{l.header(r)}
	var notes []string
	for _, m := range r.matches {
		alts, why := l.extension(m)
		if why != "" {
			return nil, "", &Entry{Status: NotDone, Why: why, Mark: m.mark()}
		}
		if len(all)*max(len(alts), 1) > maxAlternatives {
			return nil, "", &Entry{Status: NotDone, Why: "the conditions take more than " + itoa(maxAlternatives) + " rules", Mark: m.mark()}
		}
		all = product(all, alts)
		if u := m.get("comment"); u != nil {
			notes = append(notes, u.val.text)
		}
	}
	return all, strings.Join(notes, "; "), nil
}

// header is the interfaces, protocol and fragment of the rule.
func (l *lowering) header(r *rule) alternative {
	a := l.condition[:0]
	a = append(a, l.iface(r.in, ruleset.FieldInIface)...)
	a = append(a, l.iface(r.out, ruleset.FieldOutIface)...)
	if n, _ := r.protocol(); n != 0 {
		a = append(a, rangeMatch(ruleset.FieldProto, r.proto.not, r.proto.val.parts, r.proto.pos))
	}
	if r.frag != nil {
		a = append(a, rangeMatch(ruleset.FieldFragment, r.frag.not, []ruleset.Range{{From: 1, To: 1}}, r.frag.pos))
	}
	return a
}

// extension lowers a match extension; why says why it cannot be.
func (l *lowering) extension(m *module) (all []alternative, why string) {
	if m.ext.lower != nil {
		if all, why = m.ext.lower(l, m); why == "" {
			why = l.tooEarly(all)
		}
		return all, why
	}
	if m.ext.why != "" && !m.ext.partly() {
		return nil, m.ext.use() + ": " + m.ext.why
	}
	for _, u := range m.uses {
		switch {
		case u.val.todo != "":
			return nil, u.val.todo
		case u.opt.lower == nil:
			return nil, m.ext.use() + " --" + u.opt.name() + ": " + m.ext.why
		}
		alts := u.opt.lower(u)
		if why := l.tooEarly(alts); why != "" {
			return nil, why
		}
		if len(all)*len(alts) > maxAlternatives {
			return nil, "it takes more than " + itoa(maxAlternatives) + " rules"
		}
		all = product(all, alts)
	}
	return all, ""
}

// tooEarly says why a condition asks for what is not known yet where the rules run, "" if it does not.
func (l *lowering) tooEarly(alts []alternative) string {
	for _, a := range alts {
		for _, match := range a {
			switch {
			case (match.Field == ruleset.FieldState || match.Field == ruleset.FieldFlows) && l.table.name == "raw":
				return "conntrack has not seen the packet yet in the table raw"
			case match.Field == ruleset.FieldMark && l.marked && l.hooks&hookInput != 0 && l.table.name == "filter":
				return "the kernel's table mangle sets marks after these rules have run on received packets"
			}
		}
	}
	return ""
}

// setsMarks reports whether a table sets marks on received packets before the filter table would see them.
func setsMarks(t *table) bool {
	if t == nil {
		return false
	}
	for _, c := range t.chains {
		for _, r := range c.rules {
			if r.target != nil && marks[r.target.ext.name] && t.hooks[c]&(hookPrerouting|hookInput) != 0 {
				return true
			}
		}
	}
	return false
}

var marks = map[string]bool{"MARK": true, "CONNMARK": true, "HMARK": true, "TPROXY": true}

// partly reports whether some options of an extension are imported.
func (e *extension) partly() bool {
	for _, o := range e.options {
		if o.lower != nil {
			return true
		}
	}
	return false
}

// mark is where a module and its options stand in the line.
func (m *module) mark() ruleset.Pos {
	pos := m.pos
	for _, u := range m.uses {
		pos = span(pos, u.arg)
	}
	return pos
}

// action is what the rule does once it matches.
func (l *lowering) action(r *rule) action {
	switch {
	case r.does != nil:
		return *r.does
	case r.jump == nil:
		return action{}
	case r.target != nil && r.target.ext.act != nil:
		return r.target.ext.act(r.target)
	case r.target != nil:
		return action{lost: "-j " + r.target.ext.name + ": " + r.target.ext.why}
	case r.chainName() == "":
		kind, _ := standard(r.jump.val.text)
		return action{verdict: ruleset.Verdict{Kind: kind}}
	case r.isGoto:
		return action{verdict: ruleset.Verdict{Kind: ruleset.Goto, Chain: l.names[r.chainName()]}}
	}
	return action{verdict: ruleset.Verdict{Kind: ruleset.Jump, Chain: l.names[r.chainName()]}}
}

// span is the place from the start of a to the end of b, on one line.
func span(a, b ruleset.Pos) ruleset.Pos {
	if end := b.Col + b.Len; end > a.Col+a.Len {
		a.Len = end - a.Col
	}
	return a
}
