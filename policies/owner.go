package policies

import (
	"strings"

	"github.com/bpfwall/bpfwall/packet"
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

// unitOperand is the name of a systemd unit.
func unitOperand(p *parser, m *ruleset.Match, v text) {
	if strings.HasPrefix(v.s, "/") {
		p.fail(v.pos, "%q: a path, not a unit", v.s).Help = "write cgroup = " + quote(v.s)
		return
	}
	cgroupName(p, m, v)
}

// cgroupOperand is the path of a control group.
func cgroupOperand(p *parser, m *ruleset.Match, v text) {
	if !strings.HasPrefix(v.s, "/") {
		p.fail(v.pos, "%q: not a path that starts with /", v.s).Help = "a unit's name belongs under unit"
		return
	}
	cgroupName(p, m, v)
}

func cgroupName(p *parser, m *ruleset.Match, v text) {
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

// testSocket reads whose the packets of a test are.
func (p *parser) testSocket(t table) string {
	var out strings.Builder
	for _, key := range []string{"user", "group", "unit", "cgroup"} {
		v, ok := t.text(key)
		if !ok {
			continue
		}
		if _, err := packet.Parse("tcp out lo " + key + " " + v.s); err != nil || strings.ContainsAny(v.s, " \t") {
			p.fail(v.pos, "test: %s %q: not one that is known here", key, v.s)
			continue
		}
		if t.has("in") && t.has("out") {
			p.fail(t.keyPos(key), "test: %s: a packet that passes through has no socket here", key).Help = "write in or out, not both"
		}
		out.WriteString(" " + key + " " + v.s)
	}
	return out.String()
}
