package iptables

import (
	"github.com/bpfwall/bpfwall/ruleset"
)

// action is what a target does.
type action struct {
	statement *ruleset.Statement
	verdict   ruleset.Verdict
	note      string   // what is done in another way, "" if nothing
	lost      string   // why it has no equivalent, "" if it has
	sides     []string // of the set that is changed
}

// targets are the target extensions whose rules are imported; knownTargets lists the others.
var targets = []extension{
	{name: "REJECT", act: reject, check: checkReject, tables: "filter", options: []option{
		{"reject-with", kind{1, readReject}, 0, 0, nil, ""},
	}},
	{name: "LOG", act: log, options: []option{
		{"log-level", kind{1, readLogLevel}, 0, 0, nil, ""},
		{"log-prefix", textOf(1), 0, 0, nil, ""},
		{"log-tcp-sequence", flagOnly, 0, 0, nil, ""}, {"log-tcp-options", flagOnly, 0, 0, nil, ""}, {"log-ip-options", flagOnly, 0, 0, nil, ""},
		{"log-uid", flagOnly, 0, 0, nil, ""}, {"log-macdecode", flagOnly, 0, 0, nil, ""},
	}},
	{name: "NFLOG", act: nflog, options: []option{
		{"nflog-group", u16, 0, 0, nil, ""},
		{"nflog-prefix", textOf(1), 0, 0, nil, ""},
		{"nflog-range", u32, 0, 1, nil, ""}, {"nflog-size", u32, 0, 1, nil, ""}, {"nflog-threshold", u16, 0, 0, nil, ""},
	}},
	{name: "MARK", act: mark, check: needsOption, options: []option{
		{"set-xmark", masked(0xffffffff), 0, 1, nil, ""},
		{"set-mark", masked(0xffffffff), 0, 1, nil, ""},
		{"and-mark", u32, 0, 1, nil, ""},
		{"or-mark", u32, 0, 1, nil, ""},
		{"xor-mark", u32, 0, 1, nil, ""},
	}},
	{name: "SET", act: setTarget, check: needsOption, options: []option{
		{"add-set", kind{2, readSet}, 0, 1, nil, ""},
		{"del-set", kind{2, readSet}, 0, 2, nil, ""},
		{"exist", flagOnly, 0, 0, nil, ""}, {"timeout", u32, 0, 0, nil, ""},
		{"map-set", two, 0, 0, nil, ""}, {"map-mark", flagOnly, 0, 0, nil, ""}, {"map-prio", flagOnly, 0, 0, nil, ""}, {"map-queue", flagOnly, 0, 0, nil, ""},
	}},
	known("SYNPROXY", 0, 0, "", "sack-perm timestamp wscale=u32 mss=u32 ecn"),
	{name: "NOTRACK", act: notrack, tables: "raw"},
	{name: "CT", act: ct, tables: "raw", options: []option{
		{"notrack", flagOnly, 0, 0, nil, ""}, {"helper", text, 0, 0, nil, ""}, {"timeout", text, 0, 0, nil, ""}, {"ctevents", text, 0, 0, nil, ""},
		{"expevents", text, 0, 0, nil, ""}, {"zone-orig", text, 0, 0, nil, ""}, {"zone-reply", text, 0, 0, nil, ""}, {"zone", text, 0, 0, nil, ""},
	}},
}

// rejectName is one answer of REJECT: its names, of which the first that an argument abbreviates counts.
type rejectName struct {
	name, alias string
	with        ruleset.RejectWith
}

var rejectNames = map[ruleset.Family][]rejectName{
	ruleset.FamilyIPv4: {
		{"icmp-net-unreachable", "net-unreach", ruleset.RejectNet},
		{"icmp-host-unreachable", "host-unreach", ruleset.RejectHost},
		{"icmp-proto-unreachable", "proto-unreach", ruleset.RejectProto},
		{"icmp-port-unreachable", "port-unreach", ruleset.RejectPort},
		{"icmp-net-prohibited", "net-prohib", ruleset.RejectNetProhib},
		{"icmp-host-prohibited", "host-prohib", ruleset.RejectHostProhib},
		{"tcp-reset", "tcp-rst", ruleset.RejectTCPReset},
		{"icmp-admin-prohibited", "admin-prohib", ruleset.RejectAdminProhib},
	},
	ruleset.FamilyIPv6: {
		{"icmp6-no-route", "no-route", ruleset.RejectNet},
		{"icmp6-adm-prohibited", "adm-prohibited", ruleset.RejectAdminProhib},
		{"icmp6-addr-unreachable", "addr-unreach", ruleset.RejectHost},
		{"icmp6-port-unreachable", "port-unreach", ruleset.RejectPort},
		{"tcp-reset", "tcp-reset", ruleset.RejectTCPReset},
		{"icmp6-policy-fail", "policy-fail", ruleset.RejectPolicyFail},
		{"icmp6-reject-route", "reject-route", ruleset.RejectRoute},
	},
}

func readReject(c *context, s string) (value, string) {
	var all []string
	for _, n := range rejectNames[c.family] {
		if lookupPrefix(s, []string{n.name, n.alias}) >= 0 {
			return value{num: uint64(n.with), text: n.name}, ""
		}
		all = append(all, n.name)
	}
	return value{}, "not one of " + join(all)
}

func reject(m *module) action {
	v := ruleset.Verdict{Kind: ruleset.Reject, With: ruleset.RejectPort}
	if u := m.get("reject-with"); u != nil {
		v.With = ruleset.RejectWith(u.val.num)
	}
	return action{verdict: v}
}

func checkReject(m *module, r *rule) (bad, help string) {
	u := m.get("reject-with")
	if n, positive := r.protocol(); u != nil && u.val.num == uint64(ruleset.RejectTCPReset) && (n != 6 || !positive) {
		return "only TCP can be answered with a reset", "add -p tcp, or choose another --reject-with"
	}
	return "", ""
}

// logPrefix is the room that LOG has for a prefix, nflogPrefix that of NFLOG; iptables cuts what is longer.
const logPrefix, nflogPrefix = 29, 63

var logLevels = map[string]uint64{"emerg": 0, "panic": 0, "alert": 1, "crit": 2, "error": 3, "warning": 4, "notice": 5, "info": 6, "debug": 7}

func readLogLevel(_ *context, s string) (value, string) {
	if n, ok := logLevels[s]; ok {
		return value{num: n}, ""
	}
	n, ok := parseNumber(s, 0, 7)
	return value{num: n}, unless(ok, "not a syslog level: emerg, alert, crit, error, warning, notice, info, debug or 0 to 7")
}

func log(m *module) action {
	l := ruleset.Log{Level: 4}
	var a action
	for _, u := range m.uses {
		switch u.opt.name() {
		case "log-level":
			l.Level = uint8(u.val.num)
		case "log-prefix":
			l.Prefix, a.note = cut(u.val.text, logPrefix)
		default:
			a.note = "--" + u.opt.name() + " has no effect: the log line has its own form"
		}
	}
	a.statement = &ruleset.Statement{Log: &l}
	return a
}

func nflog(m *module) action {
	l := ruleset.Log{Level: 4, Group: 1}
	var a action
	for _, u := range m.uses {
		switch u.opt.name() {
		case "nflog-group":
			l.Group = int(u.val.num) + 1
		case "nflog-prefix":
			l.Prefix, a.note = cut(u.val.text, nflogPrefix)
		default:
			a.note = "--" + u.opt.name() + " has no effect"
		}
	}
	a.statement = &ruleset.Statement{Log: &l}
	return a
}

// cut shortens a log prefix as iptables does, and says so.
func cut(s string, room int) (string, string) {
	if len(s) <= room {
		return s, ""
	}
	return s[:room], "log prefix cut to " + itoa(uint64(room)) + " bytes, as iptables does"
}

// mark is MARK: each spelling becomes mark = (mark &^ Mask) ^ Value.
func mark(m *module) action {
	u := m.uses[0]
	n, mask := uint32(u.val.num), uint32(u.val.mask)
	s := ruleset.SetMark{Value: n}
	switch u.opt.name() {
	case "set-xmark":
		s.Mask = mask
	case "set-mark":
		s.Mask = mask | n
	case "and-mark":
		s.Value, s.Mask = 0, ^n
	case "or-mark":
		s.Mask = n
	}
	return action{statement: &ruleset.Statement{SetMark: &s}}
}

func notrack(*module) action {
	return action{statement: &ruleset.Statement{NoTrack: &ruleset.NoTrack{}}}
}

func ct(m *module) action {
	for _, u := range m.uses {
		if u.opt.name() != "notrack" {
			return action{lost: "-j CT --" + u.opt.name() + ": conntrack helpers, zones, timeouts and events are not set by rules"}
		}
	}
	if len(m.uses) == 0 {
		return action{}
	}
	return notrack(m)
}
