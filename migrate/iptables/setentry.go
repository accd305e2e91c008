package iptables

import (
	"fmt"
	"slices"
	"strings"

	"github.com/bpfwall/bpfwall/ruleset"
)

// setEntry is an element of a set that is made of several parts, in their order.
type setEntry []entryPart

// entryPart is what one part of an element asks for; the side (src or dst) comes from the rule.
type entryPart struct {
	kind  string
	addr  ruleset.AddrRange
	proto uint64 // port: 0 for any protocol that the type knows
	ports ruleset.Range
	code  ruleset.Range // ICMP: ports is the type
	num   uint64        // MAC or mark
	name  string        // interface
}

// addEntry reads an element of several parts.
func (s *ipset) addEntry(member token, except bool) *ruleset.Error {
	texts := strings.Split(member.text, ",")
	if except || len(texts) != len(s.parts) {
		s.todo = "element " + quote(member.text) + " has no equivalent"
		return nil
	}
	var e setEntry
	for i, kind := range s.parts {
		part, bad := s.part(kind, texts[i])
		if bad != "" {
			return fail(member.pos, "correct it", "member %q of %q: %s", member.text, s.set.Name, bad)
		}
		e = append(e, part)
	}
	s.entries = append(s.entries, e)
	return nil
}

// part reads one part of an element.
func (s *ipset) part(kind, text string) (p entryPart, bad string) {
	p.kind = kind
	ok := true
	switch kind {
	case "ip":
		p.addr, ok = s.address(text)
	case "mac":
		v, why := macAddress.parse(&context{}, text)
		if len(v.parts) > 0 {
			p.num = v.parts[0].From
		}
		return p, why
	case "mark":
		p.num, ok = parseNumber(text, 0, 1<<32-1)
	case "iface":
		p.name = text
		ok = text != "" && !strings.ContainsAny(text, ": ")
	case "port":
		return s.port(p, text)
	}
	return p, unless(ok, quote(text)+" is not right for "+s.kind)
}

// portProtocols are those whose ports sets know, and ICMP, whose type and code stand for one.
var portProtocols = map[string]uint64{
	"tcp": 6, "udp": 17, "sctp": 132, "udplite": 136, "icmp": 1, "icmpv6": 58, "ipv6-icmp": 58,
}

// port reads [PROTO:]PORT[-PORT]; TCP if no protocol is named, and for bitmap:port TCP and UDP.
func (s *ipset) port(p entryPart, text string) (entryPart, string) {
	proto, rest, named := strings.Cut(text, ":")
	if !named {
		proto, rest = "tcp", text
	}
	n, known := portProtocols[proto]
	p.proto = n
	switch {
	case s.kind == "bitmap:port":
		p.proto = 0
	case !known:
		v, bad := protocolName.parse(&context{}, proto)
		p.proto = v.num
		return p, unless(bad == "" && rest == "0" && v.num != 0, quote(text)+" is no port")
	case n == 1 || n == 58:
		family := ruleset.FamilyIPv4
		if n == 58 {
			family = ruleset.FamilyIPv6
		}
		v, bad := readICMPType(&context{family: family}, rest)
		if bad == "" {
			p.ports, p.code = v.parts[0], v.parts[1]
		}
		return p, bad
	}
	from, to, isRange := strings.Cut(rest, "-")
	if !isRange {
		to = from
	}
	a, ok1 := parseNumber(from, 0, 65535)
	b, ok2 := parseNumber(to, 0, 65535)
	p.ports = ruleset.Range{From: a, To: b}
	return p, unless(ok1 && ok2 && a <= b, quote(text)+" is no port")
}

// matches is what a packet needs to have the part on its side.
func (p entryPart) matches(side string, mask uint64, pos ruleset.Pos) (alternative, string) {
	src := side == "src"
	pick := func(a, b ruleset.FieldID) ruleset.FieldID {
		if src {
			return a
		}
		return b
	}
	switch p.kind {
	case "ip":
		return alternative{{Field: pick(ruleset.FieldSrcAddr, ruleset.FieldDstAddr), Addrs: []ruleset.AddrRange{p.addr}, Pos: pos}}, ""
	case "mac":
		if !src {
			return nil, "destination MAC addresses are not looked at"
		}
		return alternative{rangeMatch(ruleset.FieldSrcMAC, false, []ruleset.Range{{From: p.num, To: p.num}}, pos)}, ""
	case "mark":
		return alternative{{Field: ruleset.FieldMark, Masked: []ruleset.Masked{{Value: p.num & mask, Mask: mask}}, Pos: pos}}, ""
	case "iface":
		return alternative{{Field: pick(ruleset.FieldInIface, ruleset.FieldOutIface), Names: []string{p.name}, Pos: pos}}, ""
	}
	protos := []ruleset.Range{{From: p.proto, To: p.proto}}
	if p.proto == 0 {
		protos = []ruleset.Range{{From: 6, To: 6}, {From: 17, To: 17}}
	}
	out := alternative{rangeMatch(ruleset.FieldProto, false, protos, pos)}
	switch p.proto {
	case 0, 6, 17, 132, 136:
		out = append(out, rangeMatch(pick(ruleset.FieldSrcPort, ruleset.FieldDstPort), false, []ruleset.Range{p.ports}, pos))
	case 1, 58:
		out = append(out, rangeMatch(ruleset.FieldICMPType, false, []ruleset.Range{p.ports}, pos), rangeMatch(ruleset.FieldICMPCode, false, []ruleset.Range{p.code}, pos))
	}
	return out, ""
}

// setChain is a set that a rule asks for and that becomes a chain of rules.
type setChain struct {
	set  *ipset
	not  bool
	each []alternative
}

// matchEntries notes that the rule at hand asks for a set of several parts.
func (l *lowering) matchEntries(u *use, s *ipset) ([]alternative, string) {
	if l.wants != nil {
		return nil, "set " + quote(s.set.Name) + ": the rule asks for two sets of several parts"
	}
	if s.timed {
		return nil, "set " + quote(s.set.Name) + ": its elements have timeouts, and sets of type " + s.kind + " do not change at run time"
	}
	want := &setChain{set: s, not: u.not}
	for _, e := range s.entries {
		var all alternative
		for i, p := range e {
			m, why := p.matches(u.val.sides[i], s.mask, u.pos)
			if why != "" {
				return nil, "set " + quote(s.set.Name) + ": " + why
			}
			all = append(all, m...)
		}
		want.each = append(want.each, all)
	}
	l.wants = want
	return []alternative{{}}, ""
}

// chainOf moves what a rule does into a chain that asks for the elements of a set, and makes the rule jump there.
func (l *lowering) chainOf(want *setChain, rules []*ruleset.Rule) string {
	r := rules[0]
	switch {
	case r.Verdict.Kind == ruleset.Return:
		return "set " + quote(want.set.set.Name) + ": RETURN cannot leave the chain that its elements become"
	case slices.ContainsFunc(r.Matches, remembers):
		return "set " + quote(want.set.set.Name) + ": a limit beside a set of several parts would count other packets"
	}
	name := fmt.Sprintf("@%s %d", want.set.set.Name, len(l.ruleset.Chains)+len(l.setChains)+1)
	c := &ruleset.Chain{Name: name, Family: l.family, Pos: r.Pos}
	do := ruleset.Rule{Statements: r.Statements, Verdict: r.Verdict, Pos: r.Pos, Text: r.Text, Note: r.Note}
	switch do.Verdict.Kind {
	case ruleset.Continue: // once, however many elements hold
		do.Verdict.Kind = ruleset.Return
	case ruleset.Jump:
		do.Verdict.Kind = ruleset.Goto
	}
	for _, m := range want.each {
		element := do
		if want.not {
			element.Statements, element.Verdict = nil, ruleset.Verdict{Kind: ruleset.Return}
		}
		element.Matches = m
		c.Rules = append(c.Rules, &element)
	}
	if want.not {
		c.Rules = append(c.Rules, &do)
	}
	l.setChains = append(l.setChains, c)
	for _, r := range rules {
		r.Statements, r.Verdict = nil, ruleset.Verdict{Kind: ruleset.Jump, Chain: name}
	}
	return ""
}
