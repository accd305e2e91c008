package policies

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/bpfwall/bpfwall/accounts"
	"github.com/bpfwall/bpfwall/ruleset"
)

// condition is a key of a rule that compares one field of the packet with a list of operands.
type condition struct {
	row
	field   ruleset.FieldID
	operand func(p *parser, m *ruleset.Match, v text)
}

// conditions is what a rule can look at, besides zones and services. Write reads it too.
var conditions = []condition{
	{row{inMatch, "from", texts, 0, "", "sender: addresses, prefixes, ranges, @sets", `from = ["10.0.0.0/8", "!10.1.0.0/16", "@admins"]`}, ruleset.FieldSrcAddr, addrOperand},
	{row{inMatch, "to", texts, 0, "", "receiver: addresses, prefixes, ranges, @sets", `to = "192.168.1.10-192.168.1.20"`}, ruleset.FieldDstAddr, addrOperand},
	{row{inMatch, "match", texts, 0, "", "several fields together, in a set whose elements have these parts", `match = "source, destination port in @pairs"`}, ruleset.FieldElement, elementOperand},
	{row{inMatch, "family", texts, 0, "", `"ipv4" or "ipv6"`, `family = "ipv6"`}, ruleset.FieldFamily, wordOperand(familyWords)},
	{row{inMatch, "protocol", texts, 0, "", "IP protocol by name or number, where the services say none", `protocol = ["tcp", "47"]`}, ruleset.FieldProto, protoOperand},
	{row{inMatch, "sport", texts, 0, "", "source port or range", `sport = "1024-65535"`}, ruleset.FieldSrcPort, numberOperand},
	{row{inMatch, "dport", texts, 0, "", "destination port or range", `dport = "!22"`}, ruleset.FieldDstPort, numberOperand},
	{row{tracked, "state", texts, 0, "", `connection state: "new", "established", "related", "invalid", "untracked", "any"; if absent, "new" and "untracked" where [defaults] state is "automatic", else "any"`, `state = ["established", "related"]`}, ruleset.FieldState, bitsOperand(stateWords)},
	{row{tracked, "dnat", isBool, 0, "", "the kernel's NAT changes the destination of the packet's flow, as it does for published ports", `dnat = true`}, ruleset.FieldDNAT, flagOperand},
	{row{inMatch, "tcp_flags", texts, 0, "", `TCP flags that are set, of those after the slash; "syn" alone is the first packet of a connection`, `tcp_flags = "syn/fin,syn,rst,ack"`}, ruleset.FieldTCPFlags, flagsOperand},
	{row{inMatch, "tcp_option", texts, 0, "", "number of a TCP option that is present", `tcp_option = "2"`}, ruleset.FieldTCPOption, numberOperand},
	{row{inMatch, "mss", texts, 0, "", "TCP maximum segment size", `mss = "1-535"`}, ruleset.FieldTCPMSS, numberOperand},
	{row{inMatch, "icmp_type", texts, 0, "", "ICMP or ICMPv6 type, a number; services have the names, as in icmp/echo-request", `icmp_type = "8"`}, ruleset.FieldICMPType, numberOperand},
	{row{inMatch, "icmp_code", texts, 0, "", "ICMP or ICMPv6 code", `icmp_code = "0-3"`}, ruleset.FieldICMPCode, numberOperand},
	{row{inMatch, "mark", texts, 0, "", "packet mark, value or value/mask", `mark = "0x1/0xff"`}, ruleset.FieldMark, maskedOperand},
	{row{inMatch, "length", texts, 0, "", "bytes from the IP header on", `length = "0-1500"`}, ruleset.FieldLength, numberOperand},
	{row{inMatch, "ttl", texts, 0, "", "TTL or hop limit", `ttl = "255"`}, ruleset.FieldTTL, numberOperand},
	{row{inMatch, "tos", texts, 0, "", "type of service or traffic class, value or value/mask", `tos = "0x10/0x3f"`}, ruleset.FieldTOS, maskedOperand},
	{row{inMatch, "dscp", texts, 0, "", "the upper six bits of tos: a number, or a class such as cs1, af41, ef", `dscp = "ef"`}, ruleset.FieldTOS, dscpOperand},
	{row{inMatch, "fragment", isBool, 0, "", "a fragment other than the first", `fragment = true`}, ruleset.FieldFragment, flagOperand},
	{row{inMatch, "routing_header", texts, 0, "", "type of the first IPv6 routing header; packets without one have none of the values", `routing_header = "0"`}, ruleset.FieldRouting, numberOperand},
	{row{inMatch &^ inOutbound, "mac", texts, 0, "", "the sender's MAC address", `mac = "52:54:00:12:34:56"`}, ruleset.FieldSrcMAC, macOperand},
	{row{inMatch, "packet_type", texts, 0, "", `"unicast", "broadcast" or "multicast" at the link layer`, `packet_type = "broadcast"`}, ruleset.FieldPktType, bitsOperand(packetWords)},
	{row{inMatch, "from_type", texts, 0, "", `what the routing table says of the sender: "unicast", "local", "broadcast", "multicast" …`, `from_type = "!unicast"`}, ruleset.FieldSrcType, bitsOperand(typeWords)},
	{row{inMatch, "to_type", texts, 0, "", "what the routing table says of the receiver", `to_type = "local"`}, ruleset.FieldDstType, bitsOperand(typeWords)},
	{row{owned, "user", texts, 0, "", "who opened the socket that sends, or in inbound gets the packet: users by name or number, ranges of numbers", `user = ["anna", "1000-1999"]`}, ruleset.FieldUID, accountOperand("user", accounts.User)},
	{row{owned, "group", texts, 0, "", "the group with which it was opened", `group = "staff"`}, ruleset.FieldGID, accountOperand("group", accounts.Group)},
	{row{owned, "unit", texts, 0, "", "the systemd unit of the socket, or a slice that its unit is in", `unit = "nginx.service"`}, ruleset.FieldCgroup, unitOperand},
	{row{owned, "cgroup", texts, 0, "", "the control group (v2) of the socket, or one above it, by its path", `cgroup = "/machine.slice/web"`}, ruleset.FieldCgroup, cgroupOperand},
	{row{owned, "socket", isBool, 0, "", "a socket that is open sends it, or in inbound gets it", `socket = true`}, ruleset.FieldSocket, flagOperand},
	{row{inMatch &^ (inOutbound | inForward | inGuard | inListen), "connected", isBool, 0, "", "the socket that gets it is connected to its sender: not one that listens", `connected = true`}, ruleset.FieldConnected, flagOperand},
}

// conditionRows is the conditions as rows of the schema, with the three keys that become several matches.
func conditionRows() []row {
	rows := []row{
		{inMatch &^ inOutbound, "in", texts, 0, "", "came in by: zones or interfaces", `in = ["lan", "wg*"]`},
		{inMatch &^ inInbound, "out", texts, 0, "", `leaves by: zones or interfaces; in guard, "any" is every packet that the host sends`, `out = "!lan"`},
		{inRule, "service", texts, 0, "", "services, for use and goto; the other verbs name them themselves", `service = "ssh"`},
	}
	for _, c := range conditions {
		rows = append(rows, c.row)
	}
	return rows
}

// word is a name for a number.
type word struct {
	name  string
	value uint64
}

var familyWords = []word{{"ipv4", uint64(ruleset.FamilyIPv4)}, {"ipv6", uint64(ruleset.FamilyIPv6)}}

const (
	laterStates = ruleset.StateInvalid | ruleset.StateEstablished | ruleset.StateRelated
	firstStates = ruleset.StateNew | ruleset.StateUntracked
)

var stateWords = []word{
	{"new", ruleset.StateNew}, {"established", ruleset.StateEstablished}, {"related", ruleset.StateRelated},
	{"invalid", ruleset.StateInvalid}, {"untracked", ruleset.StateUntracked}, {"any", laterStates | firstStates},
}

var packetWords = []word{{"unicast", ruleset.PktUnicast}, {"broadcast", ruleset.PktBroadcast}, {"multicast", ruleset.PktMulticast}}

var typeWords = []word{
	{"unspec", ruleset.AddrUnspec}, {"unicast", ruleset.AddrUnicast}, {"local", ruleset.AddrLocal},
	{"broadcast", ruleset.AddrBroadcast}, {"anycast", ruleset.AddrAnycast}, {"multicast", ruleset.AddrMulticast},
	{"blackhole", ruleset.AddrBlackhole}, {"unreachable", ruleset.AddrUnreachable}, {"prohibit", ruleset.AddrProhibit},
}

var flagWords = []word{{"fin", 1}, {"syn", 2}, {"rst", 4}, {"psh", 8}, {"ack", 16}, {"urg", 32}, {"ece", 64}, {"cwr", 128}, {"all", 63}, {"none", 0}}

// dscpWords are the class selectors and per-hop behaviours of RFC 2474, 2597, 3246 and 5865.
var dscpWords = []word{
	{"cs0", 0}, {"cs1", 8}, {"cs2", 16}, {"cs3", 24}, {"cs4", 32}, {"cs5", 40}, {"cs6", 48}, {"cs7", 56},
	{"af11", 10}, {"af12", 12}, {"af13", 14}, {"af21", 18}, {"af22", 20}, {"af23", 22},
	{"af31", 26}, {"af32", 28}, {"af33", 30}, {"af41", 34}, {"af42", 36}, {"af43", 38}, {"ef", 46}, {"va", 44},
}

// protoWords are the protocols that have a name in the language.
var protoWords = []word{
	{"icmp", 1}, {"igmp", 2}, {"ipip", 4}, {"tcp", 6}, {"udp", 17}, {"dccp", 33}, {"gre", 47}, {"esp", 50}, {"ah", 51},
	{"icmpv6", 58}, {"ospf", 89}, {"pim", 103}, {"vrrp", 112}, {"sctp", 132}, {"udplite", 136},
}

// named finds a word by its name.
func named(words []word, name string) (uint64, bool) {
	for _, w := range words {
		if w.name == name {
			return w.value, true
		}
	}
	return 0, false
}

// nameOf finds a word by its value.
func nameOf(words []word, value uint64) (string, bool) {
	for _, w := range words {
		if w.value == value {
			return w.name, true
		}
	}
	return "", false
}

func namesOf(words []word) []string {
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = w.name
	}
	return out
}

// matches parses the operands of a condition. Those with a leading ! make a second match: the packet must be none of them.
func (p *parser) matches(c *condition, vals []text) []ruleset.Match {
	is, not := ruleset.Match{Field: c.field}, ruleset.Match{Field: c.field, Not: true}
	for _, v := range vals {
		m := &is
		if rest, negated := v.negated(); negated {
			m, v = &not, rest
		}
		if m.Pos.Line == 0 {
			m.Pos = v.pos
		}
		c.operand(p, m, v)
	}
	var out []ruleset.Match
	for _, m := range []ruleset.Match{is, not} {
		if m.Pos.Line != 0 {
			out = append(out, m)
		}
	}
	return out
}

func wordOperand(words []word) func(*parser, *ruleset.Match, text) {
	return func(p *parser, m *ruleset.Match, v text) {
		n, ok := named(words, v.s)
		if !ok {
			p.unknown(v, "name", v.s, namesOf(words))
		}
		m.Ranges = append(m.Ranges, ruleset.Range{From: n, To: n})
	}
}

// bitsOperand is a word of a KindBits field; several are one mask of bits.
func bitsOperand(words []word) func(*parser, *ruleset.Match, text) {
	return func(p *parser, m *ruleset.Match, v text) {
		n, ok := named(words, v.s)
		if !ok {
			p.unknown(v, "name", v.s, namesOf(words))
		}
		if len(m.Masked) == 0 {
			m.Masked = []ruleset.Masked{{}}
		}
		m.Masked[0].Value |= n
		m.Masked[0].Mask |= n
	}
}

func protoOperand(p *parser, m *ruleset.Match, v text) {
	n, ok := named(protoWords, v.s)
	if !ok && !startsWithDigit(v.s) {
		p.unknown(v, "protocol", v.s, namesOf(protoWords))
		return
	}
	if ok {
		m.Ranges = append(m.Ranges, ruleset.Range{From: n, To: n})
		return
	}
	numberOperand(p, m, v)
}

func numberOperand(p *parser, m *ruleset.Match, v text) {
	r, ok := p.numbers(v, uint64(1)<<ruleset.Fields[m.Field].Bits-1)
	if ok {
		m.Ranges = append(m.Ranges, r)
	}
}

func maskedOperand(p *parser, m *ruleset.Match, v text) {
	n, ok := p.masked(v, uint64(1)<<ruleset.Fields[m.Field].Bits-1)
	if !ok {
		return
	}
	if n.Value&^n.Mask != 0 {
		p.warn(v.pos, "%q: the value has bits outside the mask, so it never matches", v.s)
	}
	m.Masked = append(m.Masked, n)
}

func dscpOperand(p *parser, m *ruleset.Match, v text) {
	n, ok := named(dscpWords, strings.ToLower(v.s))
	if !ok {
		n, ok = p.number(v, v.s, 63)
	}
	if ok {
		m.Masked = append(m.Masked, ruleset.Masked{Value: n << 2, Mask: 0xfc})
	}
}

func flagOperand(_ *parser, m *ruleset.Match, v text) {
	m.Not = v.s == "false"
	m.Ranges = []ruleset.Range{{From: 1, To: 1}}
}

// flagsOperand is "set/looked-at", or "syn" for the first packet of a connection (iptables --syn).
func flagsOperand(p *parser, m *ruleset.Match, v text) {
	if v.s == "syn" {
		v.s = "syn/fin,syn,rst,ack"
	}
	set, mask, both := strings.Cut(v.s, "/")
	if !both {
		mask = set
	}
	s, ok1 := p.flags(v, set)
	k, ok2 := p.flags(v, mask)
	if !ok1 || !ok2 {
		return
	}
	if s&^k != 0 {
		p.warn(v.pos, "%q: flags before the slash that are not looked at, so it never matches", v.s)
	}
	m.Masked = append(m.Masked, ruleset.Masked{Value: s, Mask: k})
}

func (p *parser) flags(v text, list string) (uint64, bool) {
	var out uint64
	for name := range strings.SplitSeq(list, ",") {
		n, ok := named(flagWords, strings.TrimSpace(name))
		if !ok {
			p.unknown(v, "TCP flag", name, namesOf(flagWords))
			return 0, false
		}
		out |= n
	}
	return out, true
}

func macOperand(p *parser, m *ruleset.Match, v text) {
	n, ok := parseMAC(v.s)
	if !ok {
		p.fail(v.pos, "%q: not a MAC address; six bytes such as 52:54:00:12:34:56", v.s)
		return
	}
	m.Ranges = append(m.Ranges, ruleset.Range{From: n, To: n})
}

// addrOperand is an address, prefix or range, or a set. A set that is not alone is written out; collect makes a set of its own of it.
func addrOperand(p *parser, m *ruleset.Match, v text) {
	if m.Set != "" {
		if first := p.sets[m.Set]; first.Live != nil {
			m.Live = append(m.Live, m.Set)
		} else {
			m.Addrs = slices.Clone(first.Members)
		}
		m.Set = ""
	}
	name, isSet := strings.CutPrefix(v.s, "@")
	if !isSet {
		if a, ok := p.addr(v); ok {
			m.Addrs = append(m.Addrs, a)
		}
		return
	}
	switch set := p.useSet(v, name); {
	case set == nil:
	case len(set.Parts) > 0:
		p.severalParts(v, set)
	case len(m.Addrs)+len(m.Live) == 0:
		m.Set = name
	case set.Live != nil:
		m.Live = append(m.Live, name)
	default:
		m.Addrs = append(m.Addrs, set.Members...)
	}
}

// addr parses an address, a prefix, a range a-b, or address/mask.
func (p *parser) addr(v text) (ruleset.AddrRange, bool) {
	a, problem, hint := parseAddr(v.s)
	if problem == "" {
		return a, true
	}
	e := p.fail(v.pos, "address %q: %s", v.s, problem)
	e.Hint = hint
	if p.declared[v.s] != nil {
		e.Hint = fmt.Sprintf("did you mean %q?", "@"+v.s)
	}
	if p.zones[v.s] != nil {
		e.Help = fmt.Sprintf("%q is a zone; zones stand under in and out", v.s)
	}
	return a, false
}

func parseAddr(s string) (r ruleset.AddrRange, problem, hint string) {
	if from, to, ok := strings.Cut(s, "-"); ok {
		return parseAddrRange(from, to)
	}
	base, mask, ok := strings.Cut(s, "/")
	a, err := netip.ParseAddr(base)
	if err != nil || a.Zone() != "" {
		return r, "not an address, a prefix, a range a-b or an @set", hintAddr(s)
	}
	if a.Is4In6() {
		return r, "an IPv4 address written as IPv6", `did you mean "` + a.Unmap().String() + `"?`
	}
	if !ok {
		return ruleset.Prefix(netip.PrefixFrom(a, a.BitLen())), "", ""
	}
	if m, err := netip.ParseAddr(mask); err == nil && m.Is4() == a.Is4() {
		return ruleset.MaskedAddr(a, m), "", ""
	}
	pfx, err := netip.ParsePrefix(s)
	switch {
	case err != nil:
		return r, "prefix length is not a number from 0 to " + decimal(uint64(a.BitLen())), ""
	case pfx.Masked() != pfx:
		return r, "the prefix has bits set after its length", `did you mean "` + pfx.Masked().String() + `"?`
	}
	return ruleset.Prefix(pfx), "", ""
}

func parseAddrRange(from, to string) (r ruleset.AddrRange, problem, hint string) {
	a, err1 := netip.ParseAddr(strings.TrimSpace(from))
	b, err2 := netip.ParseAddr(strings.TrimSpace(to))
	switch {
	case err1 != nil || err2 != nil || a.Zone()+b.Zone() != "":
		return r, "a range is two addresses, as in 10.0.0.1-10.0.0.9", ""
	case a.Is4() != b.Is4():
		return r, "the ends of the range are of different families", ""
	case b.Less(a):
		return r, "the range ends before it starts", ""
	}
	return ruleset.AddrRange{From: a, To: b}, "", ""
}

// hintAddr guesses what was meant: most often a set or zone without its mark.
func hintAddr(s string) string {
	if s == "any" {
		return "leave the key out"
	}
	return ""
}
