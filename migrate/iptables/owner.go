package iptables

import (
	"path"
	"strings"

	"github.com/bpfwall/bpfwall/ruleset"
)

const maxID = 0xfffffffe // -1 is nobody's number

// account is a user or group: a name of this host, a number, or a range of numbers.
func account(find func(string) (uint32, bool)) kind {
	return kind{1, func(_ *context, s string) (value, string) {
		if id, ok := find(s); ok {
			return value{parts: []ruleset.Range{{From: uint64(id), To: uint64(id)}}}, ""
		}
		first, last, isRange := strings.Cut(s, "-")
		if !isRange {
			last = first
		}
		from, ok := parseNumber(first, 0, maxID)
		to, ok2 := parseNumber(last, 0, maxID)
		switch {
		case ok && ok2 && from > to:
			return value{}, "the range ends before it starts"
		case ok && ok2:
			return value{parts: []ruleset.Range{{From: from, To: to}}}, ""
		case isName(s):
			return value{text: s, todo: quote(s) + " is no user or group of this host: write its number"}, ""
		}
		return value{}, "neither a number nor a name"
	}}
}

func isName(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return !(r|0x20 >= 'a' && r|0x20 <= 'z' || r >= '0' && r <= '9' || strings.ContainsRune("._-", r))
	})
}

func readExists(*context, string) (value, string) {
	return value{parts: []ruleset.Range{{From: 1, To: 1}}}, ""
}

// cgroup is -m cgroup: the path below the mount of cgroup2, or the class of the net_cls controller of cgroup v1.
func cgroup(l *lowering, m *module) (all []alternative, why string) {
	u := m.get("path")
	switch {
	case u == nil:
		return nil, "-m cgroup --cgroup: net_cls classes belong to control groups of version 1, which are not looked at"
	case l.hooks&hookInput != 0 && l.hooks != hookInput:
		return nil, "-m cgroup in a chain that both INPUT and OUTPUT jump to: it does not mean the same in both"
	}
	name := path.Clean("/" + u.val.text)
	if problem := ruleset.CgroupProblem(name); problem != "" {
		return nil, problem
	}
	match := ruleset.Match{Field: ruleset.FieldCgroup, Not: u.not, Names: []string{name}, Pos: u.pos}
	if l.hooks&hookInput == 0 {
		return one(match), ""
	}
	// INPUT knows the sockets of connections alone (early demultiplexing): a packet for one that listens never matches.
	return []alternative{{match, {Field: ruleset.FieldConnected, Ranges: []ruleset.Range{{From: 1, To: 1}}, Pos: u.pos}}}, ""
}
