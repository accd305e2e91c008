package policies

import (
	"strings"

	"github.com/bpfwall/bpfwall/ruleset"
)

// accountOperand is a user or a group: a name of this host, a number, or a range of numbers.
func accountOperand(what string, find func(string) (uint32, bool)) func(*parser, *ruleset.Match, text) {
	return func(p *parser, m *ruleset.Match, v text) {
		if id, ok := find(v.s); ok {
			m.Ranges = append(m.Ranges, ruleset.Range{From: uint64(id), To: uint64(id)})
			return
		}
		if from, to, isRange := strings.Cut(v.s, "-"); isRange && isDigits(from) && isDigits(to) {
			numberOperand(p, m, v)
			return
		}
		p.fail(v.pos, "%s %q: there is none of that name on this host", what, v.s).Help = "write its number, if it belongs to another host"
	}
}

func isDigits(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

// cgroupOperand is a path under cgroup, or a unit under unit.
func cgroupOperand(p *parser, m *ruleset.Match, v text) {
	if problem := ruleset.CgroupProblem(v.s); problem != "" {
		p.fail(v.pos, "%s", problem)
		return
	}
	m.Names = append(m.Names, v.s)
}

// cgroupNames writes the operands of unit or cgroup.
func (x *renderer) cgroupNames(k string, m *ruleset.Match) []string {
	for _, n := range m.Names {
		if strings.HasPrefix(n, "/") != (k == "cgroup") {
			x.fail(m, "paths and units together cannot be written")
		}
	}
	return m.Names
}
