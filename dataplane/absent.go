package dataplane

import (
	"strings"

	"github.com/bpfwall/bpfwall/ruleset"
)

// manyAbsent is so many interfaces that nobody wants to read of each.
const manyAbsent = 5

// warnOfAbsent tells of interfaces that rules are for and this host does not have: names that are wrong, or of interfaces to come.
func (t *transaction) warnOfAbsent() error {
	all, err := interfaces()
	if err != nil {
		return err
	}
	absent := absentInterfaces(t.rs, namesOf(all))
	for _, m := range absent[:min(len(absent), manyAbsent)] {
		where := ""
		if m.Pos.Line > 0 {
			where = m.Pos.String() + ": "
		}
		t.warn("%sinterface %q: not there; rules for it match nothing until it is", where, m.Names[0])
	}
	if more := len(absent) - manyAbsent; more > 0 {
		t.warn("… and %d more interfaces that are not there", more)
	}
	return nil
}

// absentInterfaces are the names that rules want a packet's interface to have and none has: of each the first match, with that name.
func absentInterfaces(rs *ruleset.Ruleset, there []string) (absent []ruleset.Match) {
	known := map[string]bool{}
	for _, name := range there {
		known[name] = true
	}
	for _, c := range rs.Chains {
		for _, r := range c.Rules {
			for _, m := range r.Matches {
				if ruleset.Fields[m.Field].Kind == ruleset.KindIface && !m.Not {
					absent = append(absent, unknownNames(m, known)...)
				}
			}
		}
	}
	return absent
}

// unknownNames are the exact names of a match that are not known, which they are from then on.
func unknownNames(m ruleset.Match, known map[string]bool) (unknown []ruleset.Match) {
	for _, name := range m.Names {
		if !strings.HasSuffix(name, "+") && !known[name] {
			known[name] = true
			unknown = append(unknown, ruleset.Match{Names: []string{name}, Pos: m.Pos})
		}
	}
	return unknown
}
