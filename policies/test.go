package policies

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/bpfwall/bpfwall/packet"
	"github.com/bpfwall/bpfwall/ruleset"
)

// Test is one [[test]] of a policy: packets and what must become of them.
type Test struct {
	Name  string
	Cases []Case
	Rule  string // the rule that must decide; "" if any may
	Pos   ruleset.Pos
}

// Case is one service of a test, as the packets that stand for it.
type Case struct {
	Want    ruleset.VerdictKind // Accept, Drop or Reject
	Service string
	Pos     ruleset.Pos
	Packets []*packet.Literal
	about   string // "from 203.0.113.9 in wan"
}

// verbsOfTests are the verdicts that a test can ask for.
var verbsOfTests = []struct {
	key  string
	kind ruleset.VerdictKind
}{{"allow", ruleset.Accept}, {"drop", ruleset.Drop}, {"reject", ruleset.Reject}}

func (p *parser) readTests(top table) {
	for _, t := range top.tables("test") {
		name, _ := t.text("name")
		rule, _ := t.text("rule")
		test := Test{Name: name.s, Rule: rule.s, Pos: t.self()}
		s := p.scene(t)
		for _, v := range verbsOfTests {
			for _, service := range t.texts(v.key) {
				test.Cases = append(test.Cases, Case{Want: v.kind, Service: service.s, Pos: service.pos, Packets: s.packets(service), about: s.about})
			}
		}
		if len(test.Cases) == 0 {
			p.fail(t.self(), "test %q: expects nothing", name.s).Help = "add allow, drop or reject, with services"
		}
		p.pol.Tests = append(p.pol.Tests, test)
	}
}

// scene is what the packets of one test have in common.
type scene struct {
	p        *parser
	in, out  []string // interfaces, each of which is tried; one empty name if there is none
	from, to netip.Addr
	state    string
	socket   string // what a packet's literal says of it
	about    string
}

func (p *parser) scene(t table) *scene {
	s := &scene{p: p, state: "new"}
	s.in, s.from = p.testPlace(t, "in", "from")
	s.out, s.to = p.testPlace(t, "out", "to")
	if v, ok := t.text("state"); ok {
		if _, known := named(stateWords[:5], v.s); !known {
			p.unknown(v, "state", v.s, namesOf(stateWords[:5]))
		}
		s.state = v.s
	}
	s.socket = p.testSocket(t)
	if s.from.IsValid() && s.to.IsValid() && s.from.Is4() != s.to.Is4() {
		p.fail(t.pos("to"), "test: from and to are of different families")
	}
	for _, key := range []string{"from", "to", "in", "out", "user", "group", "unit", "cgroup"} {
		if v, ok := t.text(key); ok {
			s.about += " " + key + " " + v.s
		}
	}
	return s
}

// testPlace reads one side of a test: the interfaces of a zone, and the address, which is the zone's first if none is given.
func (p *parser) testPlace(t table, iface, addr string) ([]string, netip.Addr) {
	var at netip.Addr
	names := []string{""}
	if v, ok := t.text(iface); ok {
		if z := p.zone(v); z != nil {
			names = z.examples()
			at = z.address()
		}
	}
	if v, ok := t.text(addr); ok {
		a, err := netip.ParseAddr(v.s)
		if err != nil || a.Zone() != "" {
			p.fail(v.pos, "test: %s %q: not an address", addr, v.s)
		}
		at = a
	}
	return names, at
}

// examples are interfaces of a zone; one of each pattern.
func (z *zone) examples() []string {
	out := []string{}
	for _, pattern := range z.ifaces {
		name, glob := strings.CutSuffix(pattern, "+")
		if glob {
			name = (name + "0")[:min(len(name)+1, ifNameLen)]
		}
		out = append(out, name)
	}
	if len(out) == 0 {
		return []string{"eth0"}
	}
	return out
}

// address is an address of a zone.
func (z *zone) address() netip.Addr {
	if z.sources == nil || len(z.sources.Addrs) == 0 {
		return netip.Addr{}
	}
	a := z.sources.Addrs[0].From
	if next := a.Next(); z.sources.Addrs[0].Contains(next) {
		return next // the first address of a network is not a host's
	}
	return a
}

// packets are what stands for a service: each of its flows, the ends of its ports, in each family and by each interface.
func (s *scene) packets(service text) []*packet.Literal {
	var out []*packet.Literal
	flows := s.p.flows([]text{service}, nil)
	for _, f := range flows {
		for _, g := range f.samples() {
			for _, in := range s.in {
				for _, o := range s.out {
					out = append(out, s.literals(g, in, o)...)
				}
			}
		}
	}
	if len(flows) > 0 && len(out) == 0 {
		s.p.fail(service.pos, "test: %q has no packet of this address family", service.s)
	}
	return out
}

// samples are the flows with one port each; any is TCP, UDP and ping.
func (f flow) samples() []flow {
	if f.any {
		port := []ruleset.Range{number(31337)}
		return append([]flow{{proto: protoTCP, ports: port}, {proto: protoUDP, ports: port}}, builtin("ping")...)
	}
	var out []flow
	for _, r := range f.ports {
		out = append(out, flow{proto: f.proto, ports: []ruleset.Range{number(r.From)}})
		if r.To != r.From {
			out = append(out, flow{proto: f.proto, ports: []ruleset.Range{number(r.To)}})
		}
	}
	if f.ports == nil {
		out = []flow{f}
	}
	return out
}

// literals are the packets of a sample, in each family that the addresses allow.
func (s *scene) literals(f flow, in, out string) []*packet.Literal {
	var list []*packet.Literal
	for _, family := range []ruleset.Family{ruleset.FamilyIPv4, ruleset.FamilyIPv6} {
		if !family.Covers(familyOr(f.family, family)) || !fits(s.from, family) || !fits(s.to, family) {
			continue
		}
		l, err := packet.Parse(s.write(f, family, in, out))
		if err == nil {
			list = append(list, l)
		}
	}
	return list
}

func familyOr(f, otherwise ruleset.Family) ruleset.Family {
	if f == ruleset.FamilyAny {
		return otherwise
	}
	return f
}

func fits(a netip.Addr, f ruleset.Family) bool {
	return !a.IsValid() || a.Is4() == (f == ruleset.FamilyIPv4)
}

// sampleHosts are addresses for what a test leaves out (RFC 5737, RFC 3849).
var sampleHosts = map[ruleset.Family][2]netip.Addr{
	ruleset.FamilyIPv4: {netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("198.51.100.2")},
	ruleset.FamilyIPv6: {netip.MustParseAddr("2001:db8:1::1"), netip.MustParseAddr("2001:db8:2::2")},
}

// write is a packet as a literal.
func (s *scene) write(f flow, family ruleset.Family, in, out string) string {
	from, to := s.from, s.to
	if !from.IsValid() {
		from = sampleHosts[family][0]
	}
	if !to.IsValid() {
		to = sampleHosts[family][1]
	}
	proto, ok := nameOf(protoWords, uint64(f.proto))
	if !ok {
		proto = fmt.Sprintf("proto %d", f.proto)
	}
	var b strings.Builder
	b.WriteString(proto + " ")
	if f.ports != nil {
		fmt.Fprintf(&b, "%s -> %s", netip.AddrPortFrom(from, 40000), netip.AddrPortFrom(to, uint16(f.ports[0].From)))
	} else {
		fmt.Fprintf(&b, "%s -> %s", from, to)
	}
	for _, t := range f.types {
		fmt.Fprintf(&b, " type %d", t)
	}
	if f.proto == protoTCP {
		b.WriteString(map[bool]string{true: " syn", false: " ack"}[s.state == "new"])
	}
	if in != "" || out == "" {
		b.WriteString(" in " + orEth(in))
	}
	if out != "" {
		b.WriteString(" out " + out)
	}
	return b.String() + " state " + s.state + s.socket
}

// orEth is the interface of a test that names none: one that is in no zone as far as anyone knows.
func orEth(name string) string {
	if name == "" {
		return "test0"
	}
	return name
}
