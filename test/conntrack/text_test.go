package conntrack

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// A script is text, one packet a line:
//
//	ipv4
//	A tcp 1000>80 S seq 1000 win 8192 mss 1460 wscale 7 = new
//	wait 2500
//	rB icmp 3/3 quote A tcp 1000>80 seq 1000 cut 8 = related
//
// First who sends it: host A or B, or a router rA or rB on their side, to the other side's host unless ">" names the receiver.

var protoNames = map[string]uint8{"tcp": unix.IPPROTO_TCP, "udp": unix.IPPROTO_UDP, "icmp": unix.IPPROTO_ICMP, "sctp": unix.IPPROTO_SCTP,
	"udplite": unix.IPPROTO_UDPLITE, "dccp": unix.IPPROTO_DCCP, "gre": unix.IPPROTO_GRE}

const flagLetters = "FSRPAUEC"

func (s *script) String() string {
	var b strings.Builder
	family := "ipv4"
	if s.six {
		family = "ipv6"
	}
	if s.self {
		family += " self"
	}
	fmt.Fprintln(&b, family)
	for i := range s.packets {
		p := &s.packets[i]
		if p.wait > 0 {
			fmt.Fprintf(&b, "wait %d\n", p.wait)
		}
		if !p.skip {
			fmt.Fprintf(&b, "%s = %s\n", p, p.want)
		}
	}
	return b.String()
}

func (p *packet) String() string {
	w := []string{p.from.String()}
	if p.to != p.from.peer() {
		w[0] += ">" + p.to.String()
	}
	w = append(w, p.protoName())
	if hasPorts(p.proto) {
		w = append(w, fmt.Sprintf("%d>%d", p.sport, p.dport))
	}
	if p.proto == unix.IPPROTO_TCP {
		w = append(w, flagText(p.flags))
	}
	if p.proto == unix.IPPROTO_ICMP {
		w = append(w, fmt.Sprintf("%d/%d", p.typ, p.code))
	}
	for _, f := range fields {
		if v := f.get(p); v != 0 {
			w = append(w, f.name, strconv.FormatInt(v, 10))
		}
	}
	for _, o := range p.opts {
		w = append(w, o.name, fmt.Sprintf("%d,%d", o.a, o.b))
	}
	for _, c := range p.chunks {
		w = append(w, "chunk", fmt.Sprintf("%d,%d,%d", c.typ, c.flags, c.tag))
	}
	if p.raw != nil {
		w = append(w, "raw", "x"+hex.EncodeToString(p.raw))
	}
	if p.bad {
		w = append(w, "badsum")
	}
	if p.bare {
		w = append(w, "nosum")
	}
	if p.quote != nil {
		w = append(w, "quote", p.quote.String())
	}
	return strings.Join(w, " ")
}

func (p *packet) protoName() string {
	for name, n := range protoNames {
		if n == p.proto {
			return name
		}
	}
	return strconv.Itoa(int(p.proto))
}

func hasPorts(proto uint8) bool {
	return slices.Contains([]uint8{unix.IPPROTO_TCP, unix.IPPROTO_UDP, unix.IPPROTO_UDPLITE, unix.IPPROTO_SCTP, unix.IPPROTO_DCCP}, proto)
}

func flagText(flags uint8) string {
	if flags == 0 {
		return "none"
	}
	out := ""
	for i, c := range flagLetters {
		if flags>>i&1 != 0 {
			out += string(c)
		}
	}
	return out
}

// fields are the numbers of a packet.
var fields = []struct {
	name string
	get  func(*packet) int64
	set  func(*packet, int64)
}{
	{"seq", func(p *packet) int64 { return int64(p.seq) }, func(p *packet, v int64) { p.seq = uint32(v) }},
	{"ack", func(p *packet) int64 { return int64(p.ack) }, func(p *packet, v int64) { p.ack = uint32(v) }},
	{"win", func(p *packet) int64 { return int64(p.win) }, func(p *packet, v int64) { p.win = uint16(v) }},
	{"id", func(p *packet) int64 { return int64(p.id) }, func(p *packet, v int64) { p.id = uint16(v) }},
	{"len", func(p *packet) int64 { return int64(p.size) }, func(p *packet, v int64) { p.size = int(v) }},
	{"udplen", func(p *packet) int64 { return int64(p.udplen) }, func(p *packet, v int64) { p.udplen = int(v) }},
	{"cut", func(p *packet) int64 { return int64(p.cut) }, func(p *packet, v int64) { p.cut = int(v) }},
	{"words", func(p *packet) int64 { return int64(p.words) }, func(p *packet, v int64) { p.words = int(v) }},
}

// parseScripts reads scripts from a file: "## name" begins one, "#" a comment.
func parseScripts(text string) ([]*script, error) {
	var all []*script
	wait := 0
	for i, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		name, begins := strings.CutPrefix(line, "## ")
		switch {
		case begins:
			all = append(all, &script{name: name})
			continue
		case line == "" || line[0] == '#':
			continue
		case len(all) == 0:
			all = append(all, &script{})
		}
		s := all[len(all)-1]
		if family, self := strings.CutSuffix(line, " self"); family == "ipv4" || family == "ipv6" {
			s.six, s.self = family == "ipv6", self
			continue
		}
		if ms, ok := strings.CutPrefix(line, "wait "); ok {
			wait, _ = strconv.Atoi(ms)
			continue
		}
		p, err := parseLine(line)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", i+1, err)
		}
		p.wait, wait = wait, 0
		s.packets = append(s.packets, *p)
	}
	return all, nil
}

func parseLine(line string) (*packet, error) {
	text, want, ok := strings.Cut(line, " = ")
	p, err := parsePacket(strings.Fields(text))
	if err != nil || !ok {
		return p, err
	}
	p.want, err = stateNamed(want)
	return p, err
}

func parsePacket(w []string) (*packet, error) {
	if len(w) < 2 {
		return nil, fmt.Errorf("%q: too short", strings.Join(w, " "))
	}
	p := &packet{}
	from, to, toGiven := strings.Cut(w[0], ">")
	i, j := slices.Index(endNames[:], from), slices.Index(endNames[:], to)
	if i < 0 || (toGiven && j < 0) {
		return nil, fmt.Errorf("%q: no such end", w[0])
	}
	p.from, p.to = end(i), end(i).peer()
	if toGiven {
		p.to = end(j)
	}
	proto, ok := protoNames[w[1]]
	if !ok {
		n, err := strconv.ParseUint(w[1], 10, 8)
		if err != nil {
			return nil, fmt.Errorf("%q: no such protocol", w[1])
		}
		proto = uint8(n)
	}
	p.proto = proto
	w = w[2:]
	if hasPorts(proto) && len(w) > 0 {
		if _, err := fmt.Sscanf(w[0], "%d>%d", &p.sport, &p.dport); err != nil {
			return nil, fmt.Errorf("%q: not ports", w[0])
		}
		w = w[1:]
	}
	if proto == unix.IPPROTO_TCP && len(w) > 0 {
		for i, c := range flagLetters {
			if strings.ContainsRune(w[0], c) {
				p.flags |= 1 << i
			}
		}
		w = w[1:]
	}
	if proto == unix.IPPROTO_ICMP && len(w) > 0 {
		if _, err := fmt.Sscanf(w[0], "%d/%d", &p.typ, &p.code); err != nil {
			return nil, fmt.Errorf("%q: no type and code", w[0])
		}
		w = w[1:]
	}
	return p, p.parseFields(w)
}

func (p *packet) parseFields(w []string) error {
	for len(w) > 0 {
		key := w[0]
		switch key {
		case "badsum":
			p.bad, w = true, w[1:]
			continue
		case "nosum":
			p.bare, w = true, w[1:]
			continue
		case "quote":
			q, err := parsePacket(w[1:])
			p.quote = q
			return err
		}
		if len(w) < 2 {
			return fmt.Errorf("%q: no value", key)
		}
		if err := p.parseField(key, w[1]); err != nil {
			return fmt.Errorf("%s %q: %w", key, w[1], err)
		}
		w = w[2:]
	}
	return nil
}

func (p *packet) parseField(key, value string) (err error) {
	switch key {
	case "raw":
		p.raw, err = hex.DecodeString(strings.TrimPrefix(value, "x"))
		p.raw = append([]byte{}, p.raw...)
		return err
	case "chunk":
		c := chunk{}
		_, err = fmt.Sscanf(value, "%d,%d,%d", &c.typ, &c.flags, &c.tag)
		p.chunks = append(p.chunks, c)
		return err
	case "mss", "wscale", "sackok", "ts", "sack", "kind":
		o := option{name: key}
		_, err = fmt.Sscanf(value, "%d,%d", &o.a, &o.b)
		p.opts = append(p.opts, o)
		return err
	}
	for _, f := range fields {
		if f.name == key {
			v, err := strconv.ParseInt(value, 10, 64)
			f.set(p, v)
			return err
		}
	}
	return fmt.Errorf("no such field")
}
