package iptables

import "github.com/bpfwall/bpfwall/ruleset"

// setTarget is SET: it puts an address of the packet into a set, or takes it out.
func setTarget(m *module) action {
	add, del := m.get("add-set"), m.get("del-set")
	c := &ruleset.SetChange{}
	var sides []string
	for _, u := range m.uses {
		switch u.opt.name() {
		case "exist":
			c.Renew = true
		case "timeout":
			c.Timeout = int64(u.val.num)
			if u.val.num == 0 {
				c.Timeout = -1
			}
		case "add-set", "del-set":
			c.Set, c.Field, c.Delete = u.val.text, addressField(u.val.sides[0]), u == del
			sides = u.val.sides
		default:
			return action{lost: "-j SET --" + u.opt.name() + ": sets map nothing"}
		}
	}
	if (add == nil) == (del == nil) {
		return action{lost: "-j SET: one set is added to or deleted from"}
	}
	if c.Delete {
		c.Renew, c.Timeout = false, 0
	}
	return action{statement: &ruleset.Statement{Change: c}, sides: sides}
}

// changedSet takes the set that a rule changes into the ruleset; it says why that cannot be.
func (l *lowering) changedSet(a action) string {
	if a.statement == nil || a.statement.Change == nil {
		return ""
	}
	c := a.statement.Change
	s, why := l.findSet(value{text: c.Set, sides: []string{"src", "src", "src"}})
	switch {
	case why != "":
		return why
	case s.several():
		if why := l.changeTuples(c, a.sides, s); why != "" {
			return why
		}
	case s.kind != "hash:ip" && s.kind != "bitmap:ip":
		return "set " + quote(c.Set) + ": rules change only sets of single addresses, not " + s.kind
	}
	if c.Timeout != 0 && !s.timed {
		c.Timeout = 0 // the set knows no times
	}
	s.live()
	l.useSet(s)
	s.set.Live.Max, s.set.Live.Counters = min(s.max, ruleset.MaxElements), s.counted
	return ""
}
