package policies

import (
	"net/netip"

	"github.com/bpfwall/bpfwall/ruleset"
)

// essential is traffic without which a host loses its network, as rules for the hooks where it passes.
type essential struct {
	key, name string
	hooks     []ruleset.Hook
	family    ruleset.Family
	proto     uint64
	types     []ruleset.Range // ICMPv6
	sport     uint64
	dport     uint64
	from      string
	ttl       uint64 // 0: any
	note      string
}

var (
	hostIn   = []ruleset.Hook{ruleset.HookInput}
	hostOut  = []ruleset.Hook{ruleset.HookOutput}
	hostBoth = []ruleset.Hook{ruleset.HookInput, ruleset.HookOutput}
	allThree = []ruleset.Hook{ruleset.HookInput, ruleset.HookOutput, ruleset.HookForward}
)

var essentials = []essential{
	// RFC 4861: types 133 to 136; a hop limit below 255 shows that a router has passed them on, so they are forged.
	{key: "nd", hooks: hostBoth, family: ruleset.FamilyIPv6, proto: protoICMPv6, types: []ruleset.Range{{From: 133, To: 136}}, ttl: 255,
		note: "IPv6 neighbour and router discovery"},
	// RFC 2710, 3810.
	{key: "mld", hooks: hostBoth, family: ruleset.FamilyIPv6, proto: protoICMPv6, types: []ruleset.Range{{From: 130, To: 132}, {From: 143, To: 143}}, ttl: 1,
		note: "IPv6 multicast listener discovery"},
	{key: "pmtu", hooks: allThree, family: ruleset.FamilyIPv6, proto: protoICMPv6, types: []ruleset.Range{{From: 2, To: 2}},
		note: "packet too big, for flows that are not tracked"},
	{key: "dhcp", name: "dhcp4", hooks: hostIn, family: ruleset.FamilyIPv4, proto: protoUDP, sport: 67, dport: 68, note: "answers to the DHCP client"},
	{key: "dhcp", name: "dhcp6", hooks: hostIn, family: ruleset.FamilyIPv6, proto: protoUDP, sport: 547, dport: 546, from: "fe80::/10", note: "answers to the DHCPv6 client"},
	{key: "dhcp", name: "dhcp4", hooks: hostOut, family: ruleset.FamilyIPv4, proto: protoUDP, sport: 68, dport: 67, note: "the DHCP client"},
	{key: "dhcp", name: "dhcp6", hooks: hostOut, family: ruleset.FamilyIPv6, proto: protoUDP, sport: 546, dport: 547, note: "the DHCPv6 client"},
	{key: "igmp", hooks: hostBoth, family: ruleset.FamilyIPv4, proto: protoIGMP, note: "IPv4 multicast group membership"},
}

// essentials makes the rules of [essentials] for a hook.
func (p *parser) essentials(h ruleset.Hook) []*ruleset.Rule {
	var out []*ruleset.Rule
	if p.defaults.essentials["loopback"] && h != ruleset.HookForward {
		iface := map[ruleset.Hook]ruleset.FieldID{ruleset.HookInput: ruleset.FieldInIface, ruleset.HookOutput: ruleset.FieldOutIface}[h]
		out = append(out, &ruleset.Rule{Name: "essentials/loopback", Note: "the host with itself", Verdict: verdict(ruleset.Accept),
			Matches: []ruleset.Match{{Field: iface, Names: []string{"lo"}}}})
	}
	for _, e := range essentials {
		if p.defaults.essentials[e.key] && e.on(h) {
			out = append(out, e.rule())
		}
	}
	return out
}

func (e *essential) on(h ruleset.Hook) bool {
	for _, have := range e.hooks {
		if have == h {
			return true
		}
	}
	return false
}

func (e *essential) rule() *ruleset.Rule {
	r := &ruleset.Rule{Name: "essentials/" + e.key, Note: e.note, Verdict: verdict(ruleset.Accept), Matches: []ruleset.Match{familyIs(e.family)}}
	if e.name != "" {
		r.Name = "essentials/" + e.name
	}
	add := func(f ruleset.FieldID, ranges ...ruleset.Range) {
		r.Matches = append(r.Matches, ruleset.Match{Field: f, Ranges: ranges})
	}
	add(ruleset.FieldProto, number(e.proto))
	if e.types != nil {
		add(ruleset.FieldICMPType, e.types...)
	}
	if e.sport != 0 {
		add(ruleset.FieldSrcPort, number(e.sport))
		add(ruleset.FieldDstPort, number(e.dport))
	}
	if e.ttl != 0 {
		add(ruleset.FieldTTL, number(e.ttl))
	}
	if e.from != "" {
		r.Matches = append(r.Matches, ruleset.Match{Field: ruleset.FieldSrcAddr, Addrs: []ruleset.AddrRange{ruleset.Prefix(netip.MustParsePrefix(e.from))}})
	}
	return r
}
