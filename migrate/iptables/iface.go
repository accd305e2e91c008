package iptables

import (
	"strings"

	"github.com/bpfwall/bpfwall/ruleset"
)

// never is a condition that holds for no packet.
var never = ruleset.Match{Field: ruleset.FieldProto, Not: true, Ranges: []ruleset.Range{{From: 0, To: 255}}}

// ifaceHooks are the built-in chains whose packets have an interface of each kind.
var ifaceHooks = map[ruleset.FieldID]uint32{
	ruleset.FieldInIface:  hookPrerouting | hookInput | hookForward,
	ruleset.FieldOutIface: hookForward | hookOutput | hookPostrouting,
}

// iface is -i or -o. Where packets have no such interface, and for a name that no interface can have, a name never matches.
func (l *lowering) iface(u *use, f ruleset.FieldID) alternative {
	switch {
	case u == nil:
		return nil
	case l.blind(u, f) && u.not, u.val.text == "+" && !u.not:
		return nil
	case l.blind(u, f):
		m := never
		m.Pos = u.pos
		return alternative{m}
	}
	return alternative{{Field: f, Not: u.not, Names: []string{u.val.text}, Pos: u.pos}}
}

// blind reports whether no packet of the chain at hand can have an interface of the name. The name + stands for any, even none.
func (l *lowering) blind(u *use, f ruleset.FieldID) bool {
	impossible := strings.ContainsAny(u.val.text, "/ \t\n\r\v\f\x00")
	return u.val.text != "+" && (impossible || l.hooks != 0 && l.hooks&ifaceHooks[f] == 0)
}

// blindInterface says that an interface of the rule decides nothing, "" if all decide.
func (l *lowering) blindInterface(r *rule) string {
	for _, i := range []struct {
		u *use
		f ruleset.FieldID
	}{{r.in, ruleset.FieldInIface}, {r.out, ruleset.FieldOutIface}} {
		if i.u != nil && l.blind(i.u, i.f) {
			return "no packet here has an interface " + quote(i.u.val.text)
		}
	}
	return ""
}
