package iptables

import (
	"fmt"

	"github.com/bpfwall/bpfwall/accounts"
	"github.com/bpfwall/bpfwall/ruleset"
)

// matches are the match extensions whose rules are imported; known lists the others.
var matches = []extension{
	{name: "tcp", proto: 6, options: []option{
		{"source-port|sport", portRangeOrdered, inv, 0, in(ruleset.FieldSrcPort), ""},
		{"destination-port|dport", portRangeOrdered, inv, 0, in(ruleset.FieldDstPort), ""},
		{"tcp-flags", kind{2, readTCPFlags}, inv, 1, bits(ruleset.FieldTCPFlags), ""},
		{"syn", kind{0, readSyn}, inv, 1, bits(ruleset.FieldTCPFlags), ""},
		{"tcp-option", number(1, 255), inv, 0, in(ruleset.FieldTCPOption), ""},
	}},
	{name: "udp", proto: 17, options: ports},
	{name: "dccp", proto: 33, options: append(ports[:2:2],
		option{"dccp-types", text, inv, 0, nil, ""}, option{"dccp-option", number(1, 255), inv, 0, nil, ""}),
		why: "DCCP packet types and options are not looked at"},
	{name: "sctp", proto: 132, options: []option{
		{"source-port|sport", portRangeOrdered, inv, 0, in(ruleset.FieldSrcPort), ""},
		{"destination-port|dport", portRangeOrdered, inv, 0, in(ruleset.FieldDstPort), ""},
		{"chunk-types", kind{2, readChunks}, inv, 0, nil, ""},
	}, why: "SCTP chunks are not looked at"},
	{name: "multiport", check: checkMultiport, options: []option{
		{"source-ports|sports", kind{1, readPortList}, inv, 1, in(ruleset.FieldSrcPort), ""},
		{"destination-ports|dports", kind{1, readPortList}, inv, 1, in(ruleset.FieldDstPort), ""},
		{"ports", kind{1, readPortList}, inv, 1, eitherPort, ""},
	}},
	{name: "icmp", family: ruleset.FamilyIPv4, proto: 1, options: []option{
		{"icmp-type", kind{1, readICMPType}, inv | must, 0, icmpType, ""},
	}},
	{name: "icmp6|icmpv6|ipv6-icmp", family: ruleset.FamilyIPv6, proto: 58, options: []option{
		{"icmpv6-type", kind{1, readICMPType}, inv | must, 0, icmpType, ""},
	}},
	{name: "conntrack", check: needsOption, lower: conntrack, options: []option{
		{"ctstate", kind{1, readStates}, inv, 0, states, ""},
		{"ctproto", protocolName, inv, 0, nil, ""}, {"ctorigsrc", hostMask, inv, 0, nil, ""}, {"ctorigdst", hostMask, inv, 0, nil, ""},
		{"ctreplsrc", hostMask, inv, 0, nil, ""}, {"ctrepldst", hostMask, inv, 0, nil, ""}, {"ctorigsrcport", portRange, inv, 0, nil, ""},
		{"ctorigdstport", portRange, inv, 0, nil, ""}, {"ctreplsrcport", portRange, inv, 0, nil, ""}, {"ctrepldstport", portRange, inv, 0, nil, ""},
		{"ctstatus", kind{1, readStatus}, inv, 0, nil, ""}, {"ctexpire", u32range, inv, 0, nil, ""}, {"ctdir", oneOf([]string{"ORIGINAL", "REPLY"}), 0, 0, nil, ""},
	}, why: "of conntrack only the state can be matched"},
	{name: "state", options: []option{{"state", kind{1, readStates}, inv | must, 0, states, ""}}},
	{name: "limit", lower: limit, options: []option{
		{"limit", kind{1, readRate}, 0, 0, nil, ""},
		{"limit-burst", number(0, 10000), 0, 0, nil, ""},
	}},
	hashLimit(), sampling(), quotas(), recents(), connLimit(),
	{name: "comment", options: []option{{"comment", kind{1, readComment}, must, 0, always, ""}}},
	{name: "mark", options: []option{{"mark", masked(0xffffffff), inv | must, 0, bits(ruleset.FieldMark), ""}}},
	{name: "mac", hooks: hookPrerouting | hookInput | hookForward, options: []option{
		{"mac-source", macAddress, inv | must, 0, in(ruleset.FieldSrcMAC), ""}}},
	{name: "iprange", check: needsOption, options: []option{
		{"src-range", addressRange, inv, 0, addresses(ruleset.FieldSrcAddr), ""},
		{"dst-range", addressRange, inv, 0, addresses(ruleset.FieldDstAddr), ""},
	}},
	{name: "length", options: []option{{"length", u16range, inv | must, 0, in(ruleset.FieldLength), ""}}},
	{name: "ttl", family: ruleset.FamilyIPv4, check: needsOption, options: []option{
		{"ttl-eq|ttl", u8, inv, 1, in(ruleset.FieldTTL), ""},
		{"ttl-lt", u8, 0, 1, below(ruleset.FieldTTL), ""},
		{"ttl-gt", u8, 0, 1, above(ruleset.FieldTTL), ""},
	}},
	{name: "hl", family: ruleset.FamilyIPv6, check: needsOption, options: []option{
		{"hl-eq|hl", u8, inv, 1, in(ruleset.FieldTTL), ""},
		{"hl-lt", u8, 0, 1, below(ruleset.FieldTTL), ""},
		{"hl-gt", u8, 0, 1, above(ruleset.FieldTTL), ""},
	}},
	{name: "rt", family: ruleset.FamilyIPv6, lower: routing, options: []option{
		{"rt-type", u32, inv, 0, nil, ""}, {"rt-segsleft", u32range, inv, 0, nil, ""}, {"rt-len", u32, inv, 0, nil, ""},
		{"rt-0-res", flagOnly, 0, 0, nil, ""}, {"rt-0-addrs", text, 0, 0, nil, ""}, {"rt-0-not-strict", flagOnly, 0, 0, nil, ""},
	}, why: "of routing headers only the type is looked at"},
	{name: "tos", options: []option{{"tos", kind{1, readTOS}, inv | must, 0, bits(ruleset.FieldTOS), ""}}},
	{name: "dscp", check: needsOption, options: []option{
		{"dscp", kind{1, readDSCP}, inv, 1, bits(ruleset.FieldTOS), ""},
		{"dscp-class", kind{1, readDSCPClass}, inv, 1, bits(ruleset.FieldTOS), ""},
	}},
	{name: "pkttype", options: []option{{"pkt-type", kind{1, readPktType}, inv | must, 0, anyBit(ruleset.FieldPktType), ""}}},
	{name: "addrtype", check: checkAddrType, options: []option{
		{"src-type", kind{1, readAddrTypes}, inv, 0, anyBit(ruleset.FieldSrcType), ""},
		{"dst-type", kind{1, readAddrTypes}, inv, 0, anyBit(ruleset.FieldDstType), ""},
		{"limit-iface-in", flagOnly, 0, 1, nil, ""},
		{"limit-iface-out", flagOnly, 0, 1, nil, ""},
	}, why: "address types are not kept per interface"},
	{name: "tcpmss", proto: 6, options: []option{{"mss", orderedRange(0xffff), inv | must, 0, in(ruleset.FieldTCPMSS), ""}}},
	{name: "owner", hooks: hookOutput | hookPostrouting, options: []option{
		{"uid-owner", account(accounts.User), inv | some, 0, in(ruleset.FieldUID), ""},
		{"gid-owner", account(accounts.Group), inv | some, 0, in(ruleset.FieldGID), ""},
		{"socket-exists", kind{0, readExists}, inv | some, 0, in(ruleset.FieldSocket), ""},
		{"suppl-groups", flagOnly, 0, 0, nil, ""},
	}, why: "of a process only the group with which it opens sockets is known"},
	{name: "cgroup", hooks: hookInput | hookOutput | hookPostrouting, lower: cgroup, options: []option{
		{"path", text, inv | some, 1, nil, ""}, {"cgroup", u32, inv | some, 1, nil, ""},
	}},
	{name: "set", check: checkSet, lower: matchSet, options: []option{
		{"match-set|set", kind{2, readSet}, inv, 0, nil, ""},
		{"return-nomatch", flagOnly, inv, 0, nil, ""}, {"update-counters", flagOnly, inv, 0, nil, ""},
		{"packets-eq", u64, inv, 0, nil, ""}, {"packets-lt", u64, 0, 0, nil, ""}, {"packets-gt", u64, 0, 0, nil, ""},
		{"bytes-eq", u64, inv, 0, nil, ""}, {"bytes-lt", u64, 0, 0, nil, ""}, {"bytes-gt", u64, 0, 0, nil, ""},
		{"update-subcounters", flagOnly, inv, 0, nil, ""},
	}},
}

var ports = []option{
	{"source-port|sport", portRange, inv, 0, in(ruleset.FieldSrcPort), ""},
	{"destination-port|dport", portRange, inv, 0, in(ruleset.FieldDstPort), ""},
}

// Bits of extension.hooks: the built-in chains of all tables.
const (
	hookPrerouting = 1 << iota
	hookInput
	hookForward
	hookOutput
	hookPostrouting
)

// always is the lowering of an option that matches every packet.
func always(*use) []alternative { return []alternative{{}} }

func below(f ruleset.FieldID) func(*use) []alternative {
	return func(u *use) []alternative {
		if u.val.num == 0 {
			return one(rangeMatch(f, false, []ruleset.Range{{From: 1, To: 0}}, u.pos))
		}
		return one(rangeMatch(f, false, []ruleset.Range{{From: 0, To: u.val.num - 1}}, u.pos))
	}
}

func above(f ruleset.FieldID) func(*use) []alternative {
	return func(u *use) []alternative {
		return one(rangeMatch(f, false, []ruleset.Range{{From: u.val.num + 1, To: 255}}, u.pos))
	}
}

// eitherPort is --ports: the source or the destination port. The two alternatives exclude each other.
func eitherPort(u *use) []alternative {
	src := rangeMatch(ruleset.FieldSrcPort, u.not, u.val.parts, u.pos)
	dst := rangeMatch(ruleset.FieldDstPort, u.not, u.val.parts, u.pos)
	if u.not {
		return []alternative{{src, dst}}
	}
	notSrc := src
	notSrc.Not = true
	return []alternative{{src}, {notSrc, dst}}
}

// icmpType is a type, or a type and code; any type is no condition, as -p is there.
func icmpType(u *use) []alternative {
	kinds := rangeMatch(ruleset.FieldICMPType, u.not, u.val.parts[:1], u.pos)
	codes := rangeMatch(ruleset.FieldICMPCode, u.not, u.val.parts[1:], u.pos)
	allCodes := u.val.parts[1] == ruleset.Range{From: 0, To: 255}
	switch {
	case u.val.text == anyICMP:
		return one(rangeMatch(ruleset.FieldICMPType, u.not, []ruleset.Range{{From: 0, To: 255}}, u.pos))
	case allCodes:
		return one(kinds)
	case !u.not:
		return []alternative{{kinds, codes}}
	}
	same := kinds
	same.Not = false
	return []alternative{{kinds}, {same, codes}}
}

// limit is the token bucket of -m limit; its defaults are iptables'.
func limit(_ *lowering, m *module) ([]alternative, string) {
	l := ruleset.Limit{Rate: 3, Per: 3600 * second, Burst: 5}
	if u := m.get("limit"); u != nil {
		l.Rate, l.Per = u.val.num, u.val.mask
	}
	if u := m.get("limit-burst"); u != nil && u.val.num != 0 {
		l.Burst = u.val.num
	}
	return one(ruleset.Match{Field: ruleset.FieldLimit, Limit: &l, Pos: m.pos}), ""
}

// conntrack is -m conntrack. The protocol of the flow is the packet's own unless the packet is an error about the flow, so
// --ctproto can be told where the state is NEW or ESTABLISHED.
func conntrack(_ *lowering, m *module) (all []alternative, why string) {
	state := m.get("ctstate")
	ofFlow := state != nil && !state.not && state.val.num&^(ruleset.StateNew|ruleset.StateEstablished) == 0
	for _, u := range m.uses {
		switch {
		case u.val.todo != "":
			return nil, u.val.todo
		case u.opt.name() == "ctproto" && ofFlow:
			all = product(all, in(ruleset.FieldProto)(u))
		case u.opt.lower == nil:
			return nil, "-m conntrack --" + u.opt.name() + ": " + m.ext.why
		default:
			all = product(all, u.opt.lower(u))
		}
	}
	return all, ""
}

// states is a list of states, the state DNAT among them.
func states(u *use) []alternative {
	of := *u
	of.val.num &^= dnatBit
	all := anyBit(ruleset.FieldState)(&of)
	if u.val.num == of.val.num {
		return all
	}
	dnat := ruleset.Match{Field: ruleset.FieldDNAT, Not: u.not, Ranges: []ruleset.Range{{From: 1, To: 1}}, Pos: u.pos}
	switch {
	case of.val.num == 0:
		return one(dnat)
	case u.not:
		return product(all, one(dnat))
	}
	other := all[0][0]
	other.Not = true
	return []alternative{all[0], {other, dnat}}
}

// routing is -m rt: without an option every routing header will do.
func routing(_ *lowering, m *module) (all []alternative, why string) {
	match := ruleset.Match{Field: ruleset.FieldRouting, Ranges: []ruleset.Range{{To: 0xff}}}
	for _, u := range m.uses {
		switch {
		case u.opt.name() != "rt-type":
			return nil, "-m rt --" + u.opt.name() + ": " + m.ext.why
		case u.val.num > 0xff:
			return nil, fmt.Sprintf("-m rt --rt-type %d: there are 256 types", u.val.num)
		}
		match.Not, match.Ranges, match.Pos = u.not, []ruleset.Range{{From: u.val.num, To: u.val.num}}, u.pos
	}
	return one(match), ""
}

// needsOption is the check of extensions that are nothing without an option.
func needsOption(m *module, _ *rule) (bad, help string) {
	if len(m.uses) == 0 {
		return "no option of it is given", "say what to match, for example --" + m.ext.options[0].name()
	}
	return "", ""
}

func checkAddrType(m *module, _ *rule) (bad, help string) {
	if m.get("src-type") == nil && m.get("dst-type") == nil {
		return "no type is given", "add --src-type or --dst-type"
	}
	return "", ""
}

var hasPorts = map[uint64]bool{6: true, 17: true, 33: true, 132: true, 136: true}

func checkMultiport(m *module, r *rule) (bad, help string) {
	if len(m.uses) == 0 {
		return "no ports are given", "add --dports, --sports or --ports"
	}
	if n, positive := r.protocol(); !hasPorts[n] || !positive {
		return "it needs a protocol with ports", "put -p tcp, udp, udplite, sctp or dccp before -m multiport"
	}
	return "", ""
}
