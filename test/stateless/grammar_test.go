package stateless

import (
	"fmt"
	"net/netip"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/bpfwall/bpfwall/internal/lab"
)

// condition is what a rule asks for: the text, and how to make a packet meet it (of negated ones, mostly miss it: either is a test).
type condition struct {
	text string
	fit  func(g *generator, p *probe)
}

// extension is a match extension of iptables with the ways to use it.
type extension struct {
	name   string
	protos []uint8 // of which the rule has to ask for one
	in     bool    // only for received packets
	out    bool    // only for packets of this host
	four   bool    // IPv4 only
	six    bool    // IPv6 only
	forms  []func(g *generator) condition
}

// extensions are all that migrate/iptables imports and that looks at the packet alone (TestGrammar).
var extensions = []extension{
	{name: "tcp", protos: []uint8{6}, forms: []func(*generator) condition{sourcePort, destinationPort, bothPorts, tcpFlags, syn, tcpOption}},
	{name: "udp", protos: []uint8{17}, forms: []func(*generator) condition{sourcePort, destinationPort, bothPorts}},
	{name: "dccp", protos: []uint8{33}, forms: []func(*generator) condition{sourcePort, destinationPort, bothPorts}},
	{name: "sctp", protos: []uint8{132}, forms: []func(*generator) condition{sourcePort, destinationPort, bothPorts}},
	{name: "multiport", protos: []uint8{6, 17, 33, 132, 136}, forms: []func(*generator) condition{multiport}},
	{name: "icmp", protos: []uint8{1}, four: true, forms: []func(*generator) condition{icmpType}},
	{name: "icmp6", protos: []uint8{58}, six: true, forms: []func(*generator) condition{icmpType}},
	{name: "tcpmss", protos: []uint8{6}, forms: []func(*generator) condition{mss}},
	{name: "mark", forms: []func(*generator) condition{mark}},
	{name: "mac", in: true, forms: []func(*generator) condition{mac}},
	{name: "iprange", forms: []func(*generator) condition{addressRange}},
	{name: "length", forms: []func(*generator) condition{length}},
	{name: "ttl", four: true, forms: []func(*generator) condition{ttl}},
	{name: "hl", six: true, forms: []func(*generator) condition{ttl}},
	{name: "rt", six: true, forms: []func(*generator) condition{routingType}},
	{name: "tos", forms: []func(*generator) condition{tos}},
	{name: "dscp", forms: []func(*generator) condition{dscp, dscpClass}},
	{name: "pkttype", forms: []func(*generator) condition{packetType}},
	{name: "addrtype", forms: []func(*generator) condition{addressType}},
	{name: "set", forms: []func(*generator) condition{inSet}},
	{name: "owner", out: true, forms: []func(*generator) condition{owner}},
	{name: "comment", forms: []func(*generator) condition{comment}},
}

// notHere are the importable matches that need more than the packet.
var notHere = map[string]string{
	"conntrack": "reads the state: TestRandomRules, TestStateful",
	"state":     "reads the state: TestRandomRules, TestStateful",
	"cgroup":    "needs control groups: TestOwnersAsIptables",
	"hashlimit": "depends on time, and takes a token for each packet: TestLimitsAsIptables",
	"limit":     "depends on time, and takes a token for each packet: TestSameAsIptables",
	"statistic": "depends on the packets before: TestLimitsAsIptables",
	"quota":     "depends on the packets before: TestLimitsAsIptables",
	"connlimit": "counts connections: TestLimitsAsIptables",
	"recent":    "depends on the packets before: TestLimitsAsIptables",
}

func sourcePort(g *generator) condition {
	s := g.ports()
	return condition{g.not() + g.pick(" --sport ", " --source-port ") + s.String(), func(g *generator, p *probe) { p.pkt.SrcPort = s.pick(g) }}
}

func destinationPort(g *generator) condition {
	s := g.ports()
	return condition{g.not() + g.pick(" --dport ", " --destination-port ") + s.String(), func(g *generator, p *probe) { p.pkt.DstPort = s.pick(g) }}
}

// bothPorts are never both negated: of two single ports iptables-nft 1.8.9 makes one comparison, "not both", where legacy has "neither".
func bothPorts(g *generator) condition {
	s, d := g.ports(), g.ports()
	not := [2]string{"", g.not()}
	if g.rng.IntN(2) == 0 {
		not[0], not[1] = not[1], not[0]
	}
	return condition{not[0] + " --sport " + s.String() + not[1] + " --dport " + d.String(), func(g *generator, p *probe) { p.pkt.SrcPort, p.pkt.DstPort = s.pick(g), d.pick(g) }}
}

func multiport(g *generator) condition {
	var spans []span
	var texts []string
	for range 1 + g.rng.IntN(6) {
		s := g.ports()
		if s.from == s.to || s.to > s.from {
			spans = append(spans, s)
			texts = append(texts, s.String())
		}
	}
	options := g.rng.IntN(3)
	name := []string{g.pick(" --sports ", " --source-ports "), g.pick(" --dports ", " --destination-ports "), " --ports "}[options]
	return condition{g.not() + name + strings.Join(texts, ","), func(g *generator, p *probe) {
		v := spans[g.rng.IntN(len(spans))].pick(g)
		if options == 0 || options == 2 && g.rng.IntN(2) == 0 {
			p.pkt.SrcPort = v
		} else {
			p.pkt.DstPort = v
		}
	}}
}

var flagNames = []string{"FIN", "SYN", "RST", "PSH", "ACK", "URG"}

func flagList(f uint8) string {
	var out []string
	for i, n := range flagNames {
		if f&(1<<i) != 0 {
			out = append(out, n)
		}
	}
	if len(out) == 0 {
		return "NONE"
	}
	return strings.Join(out, ",")
}

func tcpFlags(g *generator) condition {
	mask := uint8(1 + g.rng.IntN(63))
	want := mask & uint8(g.rng.IntN(64))
	return condition{g.not() + " --tcp-flags " + flagList(mask) + " " + flagList(want), func(g *generator, p *probe) {
		p.pkt.Flags = p.pkt.Flags&^mask | want
	}}
}

func syn(g *generator) condition {
	return condition{g.not() + " --syn", func(_ *generator, p *probe) { p.pkt.Flags = p.pkt.Flags&^(lab.FIN|lab.RST|lab.ACK) | lab.SYN }}
}

var optionKinds = []int{2, 3, 4, 5, 8, 19, 28, 34, 253, 255}

func tcpOption(g *generator) condition {
	kind := optionKinds[g.rng.IntN(len(optionKinds))]
	return condition{fmt.Sprintf("%s --tcp-option %d", g.not(), kind), func(_ *generator, p *probe) { p.options = append(p.options, kind) }}
}

func mss(g *generator) condition {
	s := span{g.number(1500), 0}
	s.to = min(65535, s.from+g.number(500))
	text := s.String()
	return condition{g.not() + " --mss " + text, func(g *generator, p *probe) { p.mss = int(s.pick(g)) }}
}

func icmpType(g *generator) condition {
	option, types := " --icmp-type ", []int{0, 3, 4, 5, 8, 8, 11, 12, 13, 14, 17, 30, 255}
	names := []string{"any", "echo-request", "ping", "destination-unreachable", "port-unreachable", "time-exceeded", "fragmentation-needed"}
	numbers := [][2]int{{255, -1}, {8, -1}, {8, -1}, {3, -1}, {3, 3}, {11, -1}, {3, 4}}
	if g.six {
		option, types = " --icmpv6-type ", []int{1, 2, 3, 4, 128, 128, 129, 139, 140, 200, 255}
		names = []string{"echo-request", "echo-reply", "packet-too-big", "no-route", "destination-unreachable"}
		numbers = [][2]int{{128, -1}, {129, -1}, {2, -1}, {1, 0}, {1, -1}}
	}
	if g.rng.IntN(3) == 0 {
		i := g.rng.IntN(len(names))
		not := g.not()
		if names[i] == "any" {
			not = "" // "! any" is nothing, and nft 1.8.9 writes it as all
		}
		return condition{not + option + names[i], fitICMP(numbers[i][0], numbers[i][1])}
	}
	kind, code := types[g.rng.IntN(len(types))], -1
	text := fmt.Sprint(kind)
	if kind != 255 && g.rng.IntN(3) == 0 {
		code = g.rng.IntN(5)
		text += fmt.Sprintf("/%d", code)
	}
	not := g.not()
	if kind == 255 {
		not = ""
	}
	return condition{not + option + text, fitICMP(kind, code)}
}

func fitICMP(kind, code int) func(*generator, *probe) {
	return func(g *generator, p *probe) {
		p.pkt.Type = uint8(kind)
		if code >= 0 {
			p.pkt.Code = uint8(code)
		}
	}
}

// marks are what rules set; MARK is the only thing that gives packets marks here.
func mark(g *generator) condition {
	return condition{g.not() + " --mark " + g.markText(), func(*generator, *probe) {}}
}

func mac(g *generator) condition {
	m := g.mac()
	return condition{g.not() + " --mac-source " + m.String(), func(_ *generator, p *probe) { p.pkt.SrcMAC = m }}
}

func addressRange(g *generator) condition {
	a, b := g.anyAddress(), g.anyAddress()
	if b.Less(a) {
		a, b = b, a
	}
	r := addresses{a, b}
	if g.rng.IntN(2) == 0 {
		return condition{fmt.Sprintf("%s --src-range %s-%s", g.not(), a, b), r.source}
	}
	return condition{fmt.Sprintf("%s --dst-range %s-%s", g.not(), a, b), r.destination}
}

func length(g *generator) condition {
	s := span{g.number(1500), 0}
	s.to = min(65535, s.from+g.number(300))
	return condition{g.not() + " --length " + s.String(), func(g *generator, p *probe) { p.length = int(s.pick(g)) }}
}

func ttl(g *generator) condition {
	name, v := map[bool]string{false: "ttl", true: "hl"}[g.six], g.ttl()
	switch g.rng.IntN(3) {
	case 0:
		return condition{fmt.Sprintf("%s --%s-eq %d", g.not(), name, v), func(_ *generator, p *probe) { p.pkt.TTL = v }}
	case 1:
		return condition{fmt.Sprintf(" --%s-lt %d", name, v), func(_ *generator, p *probe) { p.pkt.TTL = v - 1 }}
	}
	return condition{fmt.Sprintf(" --%s-gt %d", name, v), func(_ *generator, p *probe) { p.pkt.TTL = v + 1 }}
}

// routingType asks for a routing header, with which nothing is left to do: the stack would refuse most others.
func routingType(g *generator) condition {
	kind := []uint8{0, 1, 5, 200}[g.rng.IntN(4)]
	return condition{fmt.Sprintf("%s --rt-type %d", g.not(), kind), func(g *generator, p *probe) {
		if len(p.pkt.Extensions) < 6 {
			p.pkt.Extensions = append(p.pkt.Extensions, lab.Header{Proto: unix.IPPROTO_ROUTING, Body: []byte{kind, 0, 0, 0, 0, 0}})
		}
	}}
}

func tos(g *generator) condition {
	if g.rng.IntN(4) == 0 {
		return condition{g.not() + " --tos " + g.pick("Minimize-Delay", "Maximize-Throughput", "Normal-Service"), func(_ *generator, p *probe) { p.pkt.TOS = 0x10 }}
	}
	mask := uint8(g.rng.UintN(256))
	v := mask & uint8(g.rng.UintN(256))
	return condition{fmt.Sprintf("%s --tos 0x%02x/0x%02x", g.not(), v, mask), func(_ *generator, p *probe) { p.pkt.TOS = p.pkt.TOS&^mask | v }}
}

func dscp(g *generator) condition {
	v := uint8(g.rng.IntN(64))
	return condition{fmt.Sprintf("%s --dscp 0x%02x", g.not(), v), func(_ *generator, p *probe) { p.pkt.TOS = p.pkt.TOS&3 | v<<2 }}
}

func dscpClass(g *generator) condition {
	i := g.rng.IntN(4)
	v := []uint8{46, 10, 34, 8}[i]
	return condition{g.not() + " --dscp-class " + []string{"EF", "AF11", "AF41", "CS1"}[i], func(_ *generator, p *probe) { p.pkt.TOS = p.pkt.TOS&3 | v<<2 }}
}

func packetType(g *generator) condition {
	kind := g.pick("unicast", "broadcast", "multicast")
	return condition{g.not() + " --pkt-type " + kind, func(g *generator, p *probe) { g.cast(p, kind) }}
}

func addressType(g *generator) condition {
	list := []string{"UNICAST", "LOCAL", "MULTICAST", "LOCAL,MULTICAST", "UNREACHABLE", "ANYCAST"}
	if !g.six {
		list = append(list, "BROADCAST", "BROADCAST,UNICAST", "BLACKHOLE")
	}
	kind := list[g.rng.IntN(len(list))]
	if g.rng.IntN(2) == 0 {
		return condition{g.not() + " --src-type " + kind, func(*generator, *probe) {}}
	}
	return condition{g.not() + " --dst-type " + kind, func(g *generator, p *probe) { g.cast(p, strings.ToLower(strings.Split(kind, ",")[0])) }}
}

func inSet(g *generator) condition {
	i := g.rng.IntN(sets)
	return condition{fmt.Sprintf("%s --match-set %s %s", g.not(), setName(g.six, i), g.pick("src", "dst")), func(g *generator, p *probe) {
		m := g.members[g.six][i]
		r := prefixRange(m[g.rng.IntN(len(m))])
		r.source(g, p)
		r.destination(g, p)
	}}
}

// owner is about the socket that packets of this host are sent by, which is root's.
func owner(g *generator) condition {
	text := g.pick(" --uid-owner 0", " --uid-owner 1000", " --uid-owner 0-99", " --gid-owner 0", " --gid-owner 5-70000", " --socket-exists")
	return condition{g.not() + text, func(*generator, *probe) {}}
}

func comment(g *generator) condition {
	return condition{g.pick(" --comment x", ` --comment "two words"`), func(*generator, *probe) {}}
}

// protocol is -p: the number if the rule asks for exactly one, else -1.
func (g *generator) protocol() (text string, proto int, fit func(*generator, *probe)) {
	proto = g.oneProto()
	name := protoNames[uint8(proto)]
	if g.rng.IntN(6) == 0 || name == "" {
		name = fmt.Sprint(proto)
	}
	fit = func(_ *generator, p *probe) { p.pkt.Proto = uint8(proto) }
	if g.rng.IntN(10) == 0 {
		return " ! -p " + name, -1, func(*generator, *probe) {}
	}
	return " -p " + name, proto, fit
}

func (g *generator) oneProto() int {
	icmp := unix.IPPROTO_ICMP
	if g.six {
		icmp = unix.IPPROTO_ICMPV6
	}
	return []int{6, 6, 6, 6, 17, 17, 17, icmp, icmp, 132, 33, 136, 47, 50, 253}[g.rng.IntN(15)]
}

var protoNames = map[uint8]string{6: "tcp", 17: "udp", 1: "icmp", 58: "ipv6-icmp", 132: "sctp", 33: "dccp", 136: "udplite", 47: "gre", 50: "esp"}

// addressMatch is -s or -d: a prefix, a mask with holes, an address.
func (g *generator) addressMatch() condition {
	a := g.anyAddress()
	option, r := " -s ", prefixRange(netip.PrefixFrom(a, a.BitLen()))
	text := a.String()
	switch g.rng.IntN(6) {
	case 0, 1, 2:
		p, _ := a.Prefix(a.BitLen() - g.rng.IntN(a.BitLen()/2))
		text, r = p.String(), prefixRange(p)
	case 3:
		if !g.six {
			text, r = a.String()+"/255.0.255.0", prefixRange(netip.PrefixFrom(a, 32))
		} else {
			text, r = a.String()+"/ffff:0:ffff::ffff", prefixRange(netip.PrefixFrom(a, 128))
		}
	}
	fit := r.source
	if g.rng.IntN(2) == 0 {
		option, fit = " -d ", r.destination
	}
	return condition{g.not() + option + text, fit}
}

// ifaceMatch is -i or -o, as the chain allows.
func (g *generator) ifaceMatch(in, out bool) condition {
	option := " -i "
	if out && (!in || g.rng.IntN(2) == 0) {
		option = " -o "
	}
	name := g.pick("lan0", "wan0", "lan+", "wan+", "dmz0", "+")
	fit := func(g *generator, p *probe) {
		at := atLAN
		if strings.HasPrefix(name, "wan") {
			at = atWAN
		}
		if option == " -i " && p.at != atDUT && p.at != at {
			g.turn(p)
		}
		if option == " -o " && p.at != atDUT && p.at == at {
			g.turn(p)
		}
		if option == " -o " && p.at == atDUT {
			p.pkt.Dst = g.host(at)
		}
	}
	if name == "dmz0" || name == "+" {
		fit = func(*generator, *probe) {}
	}
	if name == "+" {
		return condition{option + name, fit}
	}
	return condition{g.not() + option + name, fit}
}

func laterFragment(g *generator) condition {
	return condition{g.not() + " -f", func(_ *generator, p *probe) { p.fragment = later }}
}
