package policies

import (
	"fmt"
	"slices"
	"strings"

	"github.com/bpfwall/bpfwall/ruleset"
	"github.com/bpfwall/bpfwall/services"
)

// flow is one thing that a service is made of: a protocol, and the ports or the ICMP type that go with it.
type flow struct {
	any    bool
	proto  uint8
	ports  []ruleset.Range // nil: every packet of the protocol
	types  []uint8         // ICMP and ICMPv6; nil: every type
	family ruleset.Family
}

// Protocol numbers (IANA).
const (
	protoICMP   = 1
	protoIGMP   = 2
	protoTCP    = 6
	protoUDP    = 17
	protoICMPv6 = 58
)

// composites are the services that are more than the name of a port, or where the list of ports knows more than people mean.
var composites = map[string][]string{
	"ping":          {"icmp/echo-request", "icmpv6/echo-request"},
	"http":          {"tcp/80"},
	"https":         {"tcp/443"},
	"quic":          {"udp/443"},
	"ssh":           {"tcp/22"},
	"dns":           {"tcp/53", "udp/53"},
	"dns-over-tls":  {"tcp/853"},
	"ntp":           {"udp/123"},
	"mdns":          {"udp/5353"},
	"llmnr":         {"tcp/5355", "udp/5355"},
	"dhcp-client":   {"udp/68", "udp/546"},
	"dhcp-server":   {"udp/67", "udp/547"},
	"smtp":          {"tcp/25"},
	"submission":    {"tcp/587"},
	"ipp":           {"tcp/631"},
	"syncthing":     {"tcp/22000", "udp/22000", "udp/21027"},
	"samba":         {"tcp/139", "tcp/445", "udp/137-138"},
	"wireguard":     {"udp/51820"},
	"openvpn":       {"tcp/1194", "udp/1194"},
	"ipsec":         {"udp/500", "udp/4500", "proto/50"},
	"node-exporter": {"tcp/9100"},
	"prometheus":    {"tcp/9090"},
	"postgresql":    {"tcp/5432"},
	"mysql":         {"tcp/3306"},
	"redis":         {"tcp/6379"},
	"rdp":           {"tcp/3389", "udp/3389"},
	"vnc":           {"tcp/5900"},
	"kerberos":      {"tcp/88", "udp/88"},
	"ldap":          {"tcp/389"},
	"ldaps":         {"tcp/636"},
	"nfs":           {"tcp/2049"},
	"tftp":          {"udp/69"},
	"traceroute":    {"udp/33434-33534"},
}

// Service is a service that everybody has, and what it is made of.
type Service struct {
	Name  string   `json:"name"`
	Ports []string `json:"ports"` // literals, as policies have them
}

// Services are the services that everybody has, by name.
func Services() []Service {
	var out []Service
	for name, parts := range composites {
		out = append(out, Service{name, parts})
	}
	for _, name := range services.Names() {
		if composites[name] != nil {
			continue
		}
		s := Service{Name: name}
		for _, transport := range services.Transports(name) {
			port, _ := services.Port(name, transport)
			s.Ports = append(s.Ports, fmt.Sprintf("%s/%d", transport, port))
		}
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b Service) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// icmpTypes are the names of the types of ICMP (RFC 792, 1256, 950) and ICMPv6 (RFC 4443, 2710, 4861, 3810).
var icmpTypes = map[uint8][]word{
	protoICMP: {
		{"echo-reply", 0}, {"destination-unreachable", 3}, {"source-quench", 4}, {"redirect", 5}, {"echo-request", 8},
		{"router-advertisement", 9}, {"router-solicitation", 10}, {"time-exceeded", 11}, {"parameter-problem", 12},
		{"timestamp-request", 13}, {"timestamp-reply", 14}, {"address-mask-request", 17}, {"address-mask-reply", 18},
	},
	protoICMPv6: {
		{"destination-unreachable", 1}, {"packet-too-big", 2}, {"time-exceeded", 3}, {"parameter-problem", 4},
		{"echo-request", 128}, {"echo-reply", 129}, {"mld-query", 130}, {"mld-report", 131}, {"mld-done", 132},
		{"router-solicitation", 133}, {"router-advertisement", 134}, {"neighbour-solicitation", 135},
		{"neighbor-solicitation", 135}, {"neighbour-advertisement", 136}, {"neighbor-advertisement", 136}, {"redirect", 137},
		{"mld2-report", 143},
	},
}

// ownServices reads [services]. They may use one another; the order does not matter.
func (p *parser) ownServices(t table) {
	for _, name := range t.keys() {
		p.own[name] = t.texts(name)
		if strings.ContainsAny(name, "/!@") || name == "any" {
			p.fail(t.keyPos(name), "service %q: the name would read as something else", name)
		}
	}
	for _, name := range t.keys() {
		p.flows(p.own[name], []string{name})
	}
}

// flows resolves a list of services. within is the services being resolved, to see circles.
func (p *parser) flows(list []text, within []string) []flow {
	var out []flow
	for _, v := range list {
		out = append(out, p.service(v, within)...)
	}
	return out
}

func (p *parser) service(v text, within []string) []flow {
	if v.s == "any" || v.s == "true" {
		return []flow{{any: true}}
	}
	if slices.Contains(within, v.s) && p.own[v.s] != nil {
		p.fail(v.pos, "service %q is made of itself: %s", v.s, strings.Join(append(within, v.s), " → "))
		return nil
	}
	if own, ok := p.own[v.s]; ok {
		p.used["service "+v.s] = true
		return p.flows(own, append(slices.Clone(within), v.s))
	}
	if proto, arg, ok := strings.Cut(v.s, "/"); ok {
		return p.literal(v, proto, arg)
	}
	if flows := builtin(v.s); flows != nil {
		return flows
	}
	if n, ok := named(protoWords, v.s); ok {
		return []flow{{proto: uint8(n)}}
	}
	if v.s == "false" {
		p.fail(v.pos, "a verb is a service, a list of services, or true for every packet")
		return nil
	}
	p.unknownService(v)
	return nil
}

func (p *parser) unknownService(v text) {
	names := services.Names()
	for n := range composites {
		names = append(names, n)
	}
	for n := range p.own {
		names = append(names, n)
	}
	e := p.fail(v.pos, "unknown service %q", v.s)
	e.Hint = suggest(v.s, names)
	e.Help = "`bpfwall show services` lists them; define your own under [services], or write it out, as in tcp/8080"
	switch _, isNegated := v.negated(); {
	case isNegated:
		e.Help = "services cannot be negated; use protocol and dport"
	case startsWithDigit(v.s):
		e.Help, e.Hint = `write the protocol too, as in "tcp/80"`, ""
	}
}

// builtin is a service that everybody has.
func builtin(name string) []flow {
	if list, ok := composites[name]; ok {
		var out []flow
		var quiet parser
		for _, s := range list {
			out = append(out, quiet.service(text{s: s}, nil)...)
		}
		return out
	}
	var out []flow
	for _, transport := range services.Transports(name) {
		port, _ := services.Port(name, transport)
		proto, _ := services.Protocol(transport)
		out = append(out, flow{proto: proto, ports: []ruleset.Range{{From: uint64(port), To: uint64(port)}}})
	}
	return out
}

// literal parses tcp/80, udp/8000-8099, icmp/echo-request, icmpv6/2, proto/47.
func (p *parser) literal(v text, proto, arg string) []flow {
	v.s = arg
	switch proto {
	case "tcp", "udp", "sctp", "dccp", "udplite":
		n, _ := named(protoWords, proto)
		r, ok := p.portRange(v, proto)
		if !ok {
			return nil
		}
		return []flow{{proto: uint8(n), ports: []ruleset.Range{r}}}
	case "icmp":
		return p.icmp(v, protoICMP, ruleset.FamilyIPv4)
	case "icmpv6":
		return p.icmp(v, protoICMPv6, ruleset.FamilyIPv6)
	case "proto":
		if n, ok := p.number(v, arg, 255); ok {
			return []flow{{proto: uint8(n)}}
		}
		return nil
	}
	e := p.fail(v.pos, "unknown protocol %q", proto)
	e.Hint = suggest(proto, []string{"tcp", "udp", "sctp", "icmp", "icmpv6", "proto"})
	e.Help = `services are written "tcp/80", "udp/8000-8099", "icmp/echo-request", "icmpv6/packet-too-big" or "proto/47"`
	return nil
}

// portRange is a port, a range, or the name of a port.
func (p *parser) portRange(v text, proto string) (ruleset.Range, bool) {
	if port, ok := services.Port(v.s, proto); ok {
		return ruleset.Range{From: uint64(port), To: uint64(port)}, true
	}
	if !startsWithDigit(v.s) {
		p.fail(v.pos, "port %q: not a port number from 0 to 65535, a range, or a known name", v.s)
		return ruleset.Range{}, false
	}
	return p.numbers(v, 65535)
}

func (p *parser) icmp(v text, proto uint8, family ruleset.Family) []flow {
	n, ok := named(icmpTypes[proto], v.s)
	if !ok && !startsWithDigit(v.s) {
		p.unknown(v, "ICMP type", v.s, namesOf(icmpTypes[proto]))
		return nil
	}
	if !ok {
		if n, ok = p.number(v, v.s, 255); !ok {
			return nil
		}
	}
	return []flow{{proto: proto, types: []uint8{uint8(n)}, family: family}}
}

// alternatives merges flows into as few sets of matches as one rule each can hold: the protocols that share the same ports, the
// types of one ICMP, and the protocols taken whole. No flows, or any: one set without a match.
func alternatives(flows []flow, pos ruleset.Pos) [][]ruleset.Match {
	if len(flows) == 0 || slices.ContainsFunc(flows, func(f flow) bool { return f.any }) {
		return [][]ruleset.Match{nil}
	}
	var out []flow
	for _, f := range flows {
		i := slices.IndexFunc(out, func(o flow) bool {
			return o.proto == f.proto && o.family == f.family && (o.ports == nil) == (f.ports == nil) && (o.types == nil) == (f.types == nil)
		})
		if i < 0 {
			out = append(out, f)
			continue
		}
		out[i].ports = append(slices.Clone(out[i].ports), f.ports...)
		out[i].types = append(slices.Clone(out[i].types), f.types...)
	}
	for i := range out {
		out[i].ports = tidy(out[i].ports)
	}
	return flowMatches(out, pos)
}

// flowMatches writes merged flows as matches; protocols with the same ports share one set.
func flowMatches(flows []flow, pos ruleset.Pos) [][]ruleset.Match {
	var out [][]ruleset.Match
	for i, f := range flows {
		same := func(o flow) bool {
			return o.types == nil && f.types == nil && o.family == f.family && (o.ports == nil) == (f.ports == nil) && slices.Equal(o.ports, f.ports)
		}
		if slices.ContainsFunc(flows[:i], same) {
			continue
		}
		protos := []ruleset.Range{number(uint64(f.proto))}
		for _, o := range flows[i+1:] {
			if same(o) {
				protos = append(protos, number(uint64(o.proto)))
			}
		}
		out = append(out, f.matches(protos, pos))
	}
	return out
}

func (f flow) matches(protos []ruleset.Range, pos ruleset.Pos) []ruleset.Match {
	var out []ruleset.Match
	add := func(field ruleset.FieldID, ranges []ruleset.Range) {
		out = append(out, ruleset.Match{Field: field, Ranges: ranges, Pos: pos})
	}
	if f.family != ruleset.FamilyAny {
		add(ruleset.FieldFamily, []ruleset.Range{number(uint64(f.family))})
	}
	add(ruleset.FieldProto, protos)
	if f.ports != nil {
		add(ruleset.FieldDstPort, f.ports)
	}
	if f.types != nil {
		var types []ruleset.Range
		for _, t := range f.types {
			types = append(types, number(uint64(t)))
		}
		add(ruleset.FieldICMPType, tidy(types))
	}
	return out
}

func number(n uint64) ruleset.Range { return ruleset.Range{From: n, To: n} }

// tidy sorts ranges and joins those that overlap or touch.
func tidy(ranges []ruleset.Range) []ruleset.Range {
	var out []ruleset.Range
	sorted := slices.Clone(ranges)
	slices.SortFunc(sorted, func(a, b ruleset.Range) int { return int(int64(a.From) - int64(b.From)) })
	for _, r := range sorted {
		if n := len(out); n > 0 && r.From <= out[n-1].To+1 {
			out[n-1].To = max(out[n-1].To, r.To)
			continue
		}
		out = append(out, r)
	}
	return out
}
