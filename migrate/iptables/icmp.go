package iptables

import (
	"strings"

	"github.com/bpfwall/bpfwall/ruleset"
)

// anyICMPType is the type number by which iptables, but not ip6tables, means any.
const (
	anyICMP     = "any"
	anyICMPType = 255
)

// icmpName is one name of ICMP types: every code if code is negative.
type icmpName struct {
	name string
	kind uint64
	code int
}

var icmpNames = map[ruleset.Family][]icmpName{
	ruleset.FamilyIPv4: {
		{anyICMP, anyICMPType, -1}, {"echo-reply", 0, -1}, {"pong", 0, -1},
		{"destination-unreachable", 3, -1}, {"network-unreachable", 3, 0}, {"host-unreachable", 3, 1}, {"protocol-unreachable", 3, 2},
		{"port-unreachable", 3, 3}, {"fragmentation-needed", 3, 4}, {"source-route-failed", 3, 5}, {"network-unknown", 3, 6},
		{"host-unknown", 3, 7}, {"network-prohibited", 3, 9}, {"host-prohibited", 3, 10}, {"TOS-network-unreachable", 3, 11},
		{"TOS-host-unreachable", 3, 12}, {"communication-prohibited", 3, 13}, {"host-precedence-violation", 3, 14}, {"precedence-cutoff", 3, 15},
		{"source-quench", 4, -1},
		{"redirect", 5, -1}, {"network-redirect", 5, 0}, {"host-redirect", 5, 1}, {"TOS-network-redirect", 5, 2}, {"TOS-host-redirect", 5, 3},
		{"echo-request", 8, -1}, {"ping", 8, -1}, {"router-advertisement", 9, -1}, {"router-solicitation", 10, -1},
		{"time-exceeded", 11, -1}, {"ttl-exceeded", 11, -1}, {"ttl-zero-during-transit", 11, 0}, {"ttl-zero-during-reassembly", 11, 1},
		{"parameter-problem", 12, -1}, {"ip-header-bad", 12, 0}, {"required-option-missing", 12, 1},
		{"timestamp-request", 13, -1}, {"timestamp-reply", 14, -1}, {"address-mask-request", 17, -1}, {"address-mask-reply", 18, -1},
	},
	ruleset.FamilyIPv6: {
		{"destination-unreachable", 1, -1}, {"no-route", 1, 0}, {"communication-prohibited", 1, 1}, {"beyond-scope", 1, 2},
		{"address-unreachable", 1, 3}, {"port-unreachable", 1, 4}, {"failed-policy", 1, 5}, {"reject-route", 1, 6},
		{"packet-too-big", 2, -1},
		{"time-exceeded", 3, -1}, {"ttl-exceeded", 3, -1}, {"ttl-zero-during-transit", 3, 0}, {"ttl-zero-during-reassembly", 3, 1},
		{"parameter-problem", 4, -1}, {"bad-header", 4, 0}, {"unknown-header-type", 4, 1}, {"unknown-option", 4, 2},
		{"echo-request", 128, -1}, {"ping", 128, -1}, {"echo-reply", 129, -1}, {"pong", 129, -1},
		{"router-solicitation", 133, -1}, {"router-advertisement", 134, -1}, {"neighbour-solicitation", 135, -1},
		{"neighbor-solicitation", 135, -1}, {"neighbour-advertisement", 136, -1}, {"neighbor-advertisement", 136, -1}, {"redirect", 137, -1},
	},
}

// readICMPType reads a name, which may be abbreviated, or "type", "type/code" or "type/code:code". parts are type and codes.
func readICMPType(c *context, s string) (value, string) {
	if v, ok := icmpByNumber(c, s); ok {
		return v, ""
	}
	var found *icmpName
	for i, n := range icmpNames[c.family] {
		if strings.EqualFold(s, n.name) {
			return n.value(), ""
		}
		if s != "" && len(s) <= len(n.name) && strings.EqualFold(s, n.name[:len(s)]) {
			if found != nil {
				return value{}, "ambiguous: " + found.name + " or " + n.name
			}
			found = &icmpNames[c.family][i]
		}
	}
	if found == nil {
		return value{}, "neither a type name nor type or type/code"
	}
	return found.value(), ""
}

func (n icmpName) value() value {
	codes := ruleset.Range{From: 0, To: 255}
	if n.code >= 0 {
		codes = ruleset.Range{From: uint64(n.code), To: uint64(n.code)}
	}
	v := value{parts: []ruleset.Range{{From: n.kind, To: n.kind}, codes}}
	if n.name == anyICMP {
		v.text = anyICMP
	}
	return v
}

func icmpByNumber(c *context, s string) (value, bool) {
	first, second, hasCode := strings.Cut(s, "/")
	n, ok := parseNumber(first, 0, 255)
	codes := ruleset.Range{From: 0, To: 255}
	if ok && hasCode {
		codes, ok = parseRange(second, 255, func(s string) (uint64, bool) { return parseNumber(s, 0, 255) })
	}
	v := value{parts: []ruleset.Range{{From: n, To: n}, codes}}
	if n == anyICMPType && c.family == ruleset.FamilyIPv4 {
		v.text = anyICMP
	}
	return v, ok
}
