package packet

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/bpfwall/bpfwall/ruleset"
	"github.com/bpfwall/bpfwall/services"
)

// Parse reads a packet literal:
//
//	[proto] PROTOCOL [SOURCE] [-> DESTINATION] [OPTION...]
//
//	tcp 10.0.0.1:31245 -> 10.0.0.2:80 syn in eth0
//	udp [fd00::1]:53 -> [fd00::2]:5353 out eth1 state established
//	icmp echo-request in eth0
//	tcp 203.0.113.9 -> :5432 in eth0 out eth1
//
// What is left out gets a usual value. The hook follows from the interfaces: in is input, out is output, both is forward.
// An error is a *ruleset.Error whose column tells the place.
func Parse(s string) (*Literal, error) {
	p := &parser{words: split(s), end: len(s) + 1}
	l := p.literal()
	if p.err != nil {
		return nil, p.err
	}
	return l, nil
}

// token is a word of a literal and its column, from 1.
type token struct {
	text string
	col  int
}

func split(s string) []token {
	var out []token
	for at := 0; at < len(s); {
		rest := strings.TrimLeft(s[at:], " \t")
		at = len(s) - len(rest)
		n := strings.IndexAny(rest, " \t")
		if n < 0 {
			n = len(rest)
		}
		if n > 0 {
			out = append(out, token{rest[:n], at + 1})
		}
		at += n
	}
	return out
}

type parser struct {
	words []token
	end   int // the column after the last
	err   *ruleset.Error
}

// setting is an option of the literal that is to be applied.
type setting struct {
	option *option
	word   token
	arg    token
}

// end of a packet as it was written; invalid address and port Absent where left out.
type written struct {
	addr netip.Addr
	port int
	at   token
}

func (p *parser) literal() *Literal {
	l := &Literal{}
	l.State = ruleset.StateNew
	p.protocol(l)
	src, dst := p.endpoints(l.Proto)
	p.family(l, src, dst)
	head, rest := p.settings(l)
	p.apply(l, head)
	if l.Hook == ruleset.HookNone {
		l.Hook = hookOf(l.In, l.Out)
	}
	l.fill()
	p.port(l, src, &l.SrcPort)
	p.port(l, dst, &l.DstPort)
	p.apply(l, rest)
	p.length(l)
	return l
}

// fail notes the first problem.
func (p *parser) fail(t token, format string, args ...any) *ruleset.Error {
	e := &ruleset.Error{Pos: ruleset.Pos{File: "packet", Line: 1, Col: t.col, Len: len(t.text)}, Msg: fmt.Sprintf(format, args...)}
	if p.err == nil {
		p.err = e
	}
	return e
}

// next takes the next word; an empty one at the end.
func (p *parser) next() token {
	t := p.peek()
	if len(p.words) > 0 {
		p.words = p.words[1:]
	}
	return t
}

func (p *parser) peek() token {
	if len(p.words) == 0 {
		return token{"", p.end}
	}
	return p.words[0]
}

func (p *parser) protocol(l *Literal) {
	t := p.next()
	if t.text == "proto" {
		t = p.next()
	}
	proto, ok := services.Protocol(t.text)
	if ok && proto == 0 && t.text != protoText(0) {
		ok = false // "all" and "ip" are no protocols of packets
	}
	if n, err := strconv.ParseUint(t.text, 0, 8); err == nil {
		proto, ok = uint8(n), true
	}
	if !ok {
		p.fail(t, "protocol: %q is not one", t.text).Help = `a packet starts with its protocol: "tcp 192.0.2.1 -> :22", or "proto 47"`
	}
	l.Proto = proto
}

// endpoints reads SOURCE -> DESTINATION, of which any part may be missing.
func (p *parser) endpoints(proto uint8) (src, dst written) {
	src = p.endpoint(proto)
	dst = written{port: ruleset.Absent, at: p.peek()}
	if p.peek().text == "->" {
		p.next()
		dst = p.endpoint(proto)
		if !dst.addr.IsValid() && dst.port == ruleset.Absent {
			p.fail(p.peek(), "destination: missing after \"->\"")
		}
	}
	return src, dst
}

// endpoint reads an address, address:port, [address]:port or :port, if one comes next. Ports may be names of services.
func (p *parser) endpoint(proto uint8) written {
	t := p.peek()
	none := written{port: ruleset.Absent, at: t}
	if !strings.ContainsAny(t.text, ".:[") {
		return none
	}
	p.next()
	if a, err := netip.ParseAddr(strings.Trim(t.text, "[]")); err == nil {
		return written{p.plain(a, t), ruleset.Absent, t}
	}
	i := strings.LastIndexByte(t.text, ':')
	if i < 0 {
		p.fail(t, "address: %q is not one", t.text)
		return none
	}
	port := p.portNumber(t, t.text[i+1:], proto)
	if i == 0 {
		return written{netip.Addr{}, port, t}
	}
	host := t.text[:i]
	a, err := netip.ParseAddr(strings.Trim(host, "[]"))
	if err != nil || a.Is6() != strings.HasPrefix(host, "[") {
		p.fail(t, "address: %q is not one", host).Help = "an IPv6 address with a port needs brackets: [2001:db8::1]:80"
	}
	return written{p.plain(a, t), port, t}
}

// portNumber reads a port, given as a number or by its name.
func (p *parser) portNumber(t token, text string, proto uint8) int {
	if port, ok := services.Port(text, protoText(proto)); ok {
		return int(port)
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		p.fail(t, "port: %q is neither a number from 0 to 65535 nor the name of a %s service", text, protoText(proto))
	}
	return int(port)
}

// plain is a, which must be without a zone.
func (p *parser) plain(a netip.Addr, t token) netip.Addr {
	if a.Zone() != "" {
		p.fail(t, "address: %q has a zone", t.text).Help = "say \"in IFACE\" or \"out IFACE\" instead"
	}
	return a
}

// family settles the address family and puts addresses in.
func (p *parser) family(l *Literal, src, dst written) {
	l.Family = ruleset.FamilyIPv4
	if src.addr.Is6() || dst.addr.Is6() || l.Proto == protoICMPv6 && !src.addr.Is4() && !dst.addr.Is4() {
		l.Family = ruleset.FamilyIPv6
	}
	if l.Family == ruleset.FamilyIPv6 && (src.addr.Is4() || dst.addr.Is4()) {
		p.fail(dst.at, "destination: not of the source's address family")
	}
	l.Src, l.Dst = defaultSrc[l.Family], defaultDst[l.Family]
	if src.addr.IsValid() {
		l.Src = src.addr
	}
	if dst.addr.IsValid() {
		l.Dst = dst.addr
	}
}

// port puts a port in that was written.
func (p *parser) port(l *Literal, w written, to *int) {
	if w.port == ruleset.Absent {
		return
	}
	if *to == ruleset.Absent {
		p.fail(w.at, "port: %s packets have none here", protoText(l.Proto)).Help = "only tcp, udp, udplite, sctp and dccp have ports, and neither fragments nor malformed packets"
		return
	}
	*to = w.port
}

// settings reads the options: those on which defaults depend, and the others.
func (p *parser) settings(l *Literal) (head, rest []setting) {
	for len(p.words) > 0 && p.err == nil {
		word := p.next()
		s := setting{word: word, arg: word}
		switch o := findOption(word.text); {
		case o != nil:
			s.option = o
			if o.takes != "" {
				s.arg = p.next()
			}
			if o.takes != "" && s.arg.text == "" {
				p.fail(word, "%s: needs %s", word.text, o.takes)
			}
		case bare(l, word.text) != nil:
			s.option = bare(l, word.text)
		default:
			p.fail(word, "%q: not an option of packets", word.text).Help = "options are " + optionWords()
			return nil, nil
		}
		if s.option.head {
			head = append(head, s)
		} else {
			rest = append(rest, s)
		}
	}
	return head, rest
}

// bare is the option that a value alone stands for: TCP flags, ICMP types, IPv6.
func bare(l *Literal, text string) *option {
	if _, ok := ruleset.Bits(ruleset.FieldTCPFlags, text); ok {
		return findOption("flags")
	}
	if _, ok := icmpTypes[l.Family][text]; ok {
		return findOption("type")
	}
	return nil
}

func optionWords() string {
	var words []string
	for _, o := range options {
		name, _, _ := strings.Cut(o.words, "|")
		words = append(words, name)
	}
	return strings.Join(words, ", ")
}

// apply applies options in their order.
func (p *parser) apply(l *Literal, settings []setting) {
	for _, s := range settings {
		if err := s.option.set(l, s.arg.text); err != nil {
			p.fail(s.arg, "%s: %s", s.word.text, err)
		}
	}
}

// length settles the length, and the padding that TCP options bring with them.
func (p *parser) length(l *Literal) {
	if l.optionBytes()%4 != 0 {
		l.addOption(optNOP)
	}
	if n := l.optionBytes(); n > maxTCPOptions {
		p.fail(token{"", p.end}, "option: %d bytes of TCP options, there is room for %d", n, maxTCPOptions)
	}
	switch least := l.headers(); {
	case l.Length == 0:
		l.Length = least
	case l.Length < least:
		p.fail(token{"", p.end}, "len: %d is less than the %d bytes of its headers", l.Length, least)
	case l.Length > maxLength[l.Family]:
		p.fail(token{"", p.end}, "len: %d is above %d", l.Length, maxLength[l.Family])
	}
}
