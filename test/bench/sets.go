package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// errNoSets says that a ruleset has no form that somebody would write with sets.
var errNoSets = errors.New("rules that follow each other have too little in common for sets")

// group is rules that ask for the same fields and follow each other, but for rules with the same verdict: a set in a ruleset that is
// written by hand.
type group struct {
	shape shape
	rules []rule
}

// shape is which fields a rule asks for.
type shape struct {
	src, dst, sport, dport bool
	proto                  uint8
	state                  string
	accept                 bool
}

func (r rule) shape() shape {
	return shape{r.Src.Bits() > 0, r.Dst.Bits() > 0, r.SrcPort != anyPort, r.DstPort != anyPort, r.Proto & r.ProtoMask, r.state, r.accept}
}

// mostGroups is how many sets somebody writes by hand.
const mostGroups = 8

// groups puts rules of one shape together. Only rules with the same verdict change places.
func (s *scenario) groups() (out []*group, err error) {
	from := 0 // the first group of the run of rules with the same verdict
	for _, r := range s.rules {
		if len(out) > 0 && out[len(out)-1].shape.accept != r.accept {
			from = len(out)
		}
		i := slices.IndexFunc(out[from:], func(g *group) bool { return g.shape == r.shape() })
		if i < 0 {
			i = len(out) - from
			out = append(out, &group{shape: r.shape()})
		}
		g := out[from+i]
		g.rules = append(g.rules, r)
		if len(out) > mostGroups || r.FlagsMask != 0 {
			return nil, errNoSets
		}
	}
	return out, nil
}

// nftSets is the ruleset as sets of nft.
func (s *scenario) nftSets() (string, error) {
	groups, err := s.groups()
	if err != nil {
		return "", err
	}
	var sets, rules []string
	for i, g := range groups {
		if len(g.rules) < 2 {
			rules = append(rules, g.rules[0].nft())
			continue
		}
		set, rule := g.nft(fmt.Sprintf("s%d", i))
		sets, rules = append(sets, set), append(rules, rule)
	}
	return s.table(sets, rules), nil
}

// nft is a set's definition and the rule that looks into it.
func (g *group) nft(name string) (set, match string) {
	var keys, types []string
	key := func(when bool, k, t string) {
		if when {
			keys, types = append(keys, k), append(types, t)
		}
	}
	proto := protocols[g.shape.proto]
	key(g.shape.src, "ip saddr", "ipv4_addr")
	key(g.shape.dst, "ip daddr", "ipv4_addr")
	key(g.shape.sport, proto+" sport", "inet_service")
	key(g.shape.dport, proto+" dport", "inet_service")
	key(g.shape.proto != 0 && !g.shape.sport && !g.shape.dport, "ip protocol", "inet_proto")
	flags := ""
	elements := make([]string, len(g.rules))
	for i, r := range g.rules {
		elements[i] = strings.Join(r.parts(g.shape), " . ")
		if r.hasIntervals() {
			flags = "flags interval; "
		}
	}
	slices.Sort(elements)
	elements = slices.Compact(elements)
	state := ""
	if g.shape.state != "" {
		state = "ct state " + strings.ToLower(g.shape.state) + " "
	}
	set = fmt.Sprintf("set %s { type %s; %selements = { %s } }", name, strings.Join(types, " . "), flags, strings.Join(elements, ", "))
	return set, fmt.Sprintf("%s%s @%s counter %s", state, strings.Join(keys, " . "), name, strings.ToLower(target(g.shape.accept)))
}

func (r rule) hasIntervals() bool {
	exact := func(bits int) bool { return bits == 0 || bits == 32 }
	return !exact(r.Src.Bits()) || !exact(r.Dst.Bits()) ||
		r.SrcPort != anyPort && r.SrcPort.From != r.SrcPort.To || r.DstPort != anyPort && r.DstPort.From != r.DstPort.To
}

// parts is what a rule asks of the fields of a shape.
func (r rule) parts(s shape) (out []string) {
	part := func(when bool, v string) {
		if when {
			out = append(out, v)
		}
	}
	part(s.src, address(r.Src))
	part(s.dst, address(r.Dst))
	part(s.sport, span(r.SrcPort, "-"))
	part(s.dport, span(r.DstPort, "-"))
	part(s.proto != 0 && !s.sport && !s.dport, fmt.Sprint(r.Proto))
	return out
}

// ipset is the ruleset as input for `ipset restore` and `iptables-restore`.
func (s *scenario) ipset() (sets, rules string, err error) {
	groups, err := s.groups()
	if err != nil {
		return "", "", err
	}
	short := *s
	short.rules = nil
	lines := strings.Split(short.iptables(), "\n")
	commit := len(lines) - 2
	var matches []string
	var create strings.Builder
	for i, g := range groups {
		if len(g.rules) < 2 {
			matches = append(matches, g.rules[0].iptables(s.hook))
			continue
		}
		name := fmt.Sprintf("s%d", i)
		match, err := g.ipset(&create, name)
		if err != nil {
			return "", "", err
		}
		matches = append(matches, "-A "+s.hook+match+" -j "+target(g.shape.accept))
	}
	return create.String(), strings.Join(slices.Concat(lines[:commit], matches, lines[commit:]), "\n"), nil
}

// kindsOfIPSet are the types of ipset that have the fields of a shape: whether src, dst, sport, dport are asked for.
var kindsOfIPSet = map[[4]bool]struct{ kind, directions string }{
	{true, false, false, false}: {"hash:ip", "src"},
	{false, true, false, false}: {"hash:ip", "dst"},
	{true, false, true, false}:  {"hash:ip,port", "src,src"},
	{true, false, false, true}:  {"hash:ip,port", "src,dst"},
	{false, true, false, true}:  {"hash:ip,port", "dst,dst"},
	{true, true, false, false}:  {"hash:net,net", "src,dst"},
	{true, true, false, true}:   {"hash:ip,port,ip", "src,dst,dst"},
	{true, true, true, false}:   {"hash:ip,port,ip", "src,src,dst"},
}

// ipset writes the group's set and returns what iptables matches it with.
func (g *group) ipset(w *strings.Builder, name string) (string, error) {
	k, ok := kindsOfIPSet[[4]bool{g.shape.src, g.shape.dst, g.shape.sport, g.shape.dport}]
	if !ok {
		return "", errors.New("ipset has no type with these fields")
	}
	fmt.Fprintf(w, "create %s %s hashsize 4096 maxelem 1000000\n", name, k.kind)
	for _, r := range g.rules {
		if r.hasIntervals() {
			return "", errors.New("prefixes or ranges together with ports, which ipset would expand")
		}
		var parts []string
		if g.shape.src {
			parts = append(parts, address(r.Src))
		}
		port := r.DstPort
		if g.shape.sport {
			port = r.SrcPort
		}
		if g.shape.sport || g.shape.dport {
			parts = append(parts, fmt.Sprintf("%s:%d", protocols[r.Proto], port.From))
		}
		if g.shape.dst {
			parts = append(parts, address(r.Dst))
		}
		fmt.Fprintf(w, "add -exist %s %s\n", name, order(g.shape, parts))
	}
	match := ""
	if g.shape.proto != 0 {
		match = " -p " + protocols[g.shape.proto]
	}
	if g.shape.state != "" {
		match += " -m conntrack --ctstate " + g.shape.state
	}
	return match + fmt.Sprintf(" -m set --match-set %s %s", name, k.directions), nil
}

// order is an element as ipset wants it: the address before its port, whichever end it is of.
func order(s shape, parts []string) string {
	if !s.src && s.dst && len(parts) == 2 {
		parts[0], parts[1] = parts[1], parts[0]
	}
	return strings.Join(parts, ",")
}
