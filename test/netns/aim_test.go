package netns

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strconv"
	"strings"

	"github.com/bpfwall/bpfwall/internal/lab"
	"golang.org/x/sys/unix"
)

// aim is what a rule of an iptables-save file asks of a packet, as far as the generator understands it: packets are made that
// meet all of it, or all but one thing by the smallest difference.
type aim struct {
	rule     string
	six      bool
	hook     string // the base chain
	src, dst addrs
	proto    int // -1: any
	sport    span
	dport    span
	icmpType int // -1: any
	icmpCode int
	flags    int // TCP; -1: any
	ttl      int
	length   span
	tos      int
	option   int
	in, out  string
	castType string // "broadcast", "multicast" or ""
}

type addrs struct{ from, to netip.Addr } // zero: any
type span struct{ from, to int }         // {-1, -1}: any

var anySpan = span{-1, -1}

func newAim(rule string, six bool) aim {
	return aim{rule: rule, six: six, proto: -1, sport: anySpan, dport: anySpan, icmpType: -1, icmpCode: -1, flags: -1, ttl: -1, length: anySpan, tos: -1, option: -1}
}

// aims reads an iptables-save file and returns an aim for each way to each rule. Of a list of ports they take the turn'th.
func aims(save string, six bool, turn int) []aim {
	chains := map[string][]aim{}
	targets := map[string][]string{} // of the same index
	table := ""
	for _, line := range strings.Split(save, "\n") {
		if strings.HasPrefix(line, "*") {
			table = line[1:]
		}
		if !strings.HasPrefix(line, "-A ") {
			continue
		}
		words := strings.Fields(line)
		a, target := readAim(words[2:], newAim(line, six), turn)
		chain := table + " " + words[1]
		chains[chain] = append(chains[chain], a)
		targets[chain] = append(targets[chain], table+" "+target)
	}
	var out []aim
	var walk func(chain string, outer aim, depth int)
	walk = func(chain string, outer aim, depth int) {
		for i, a := range chains[chain] {
			a := a.within(outer)
			out = append(out, a)
			if depth < 6 {
				walk(targets[chain][i], a, depth+1)
			}
		}
	}
	for _, base := range []string{"raw PREROUTING", "raw OUTPUT", "filter INPUT", "filter FORWARD", "filter OUTPUT"} {
		outer := newAim("", six)
		outer.hook = strings.Fields(base)[1]
		walk(base, outer, 0)
	}
	return out
}

// within adds what the rule asks that jumped to this rule's chain.
func (a aim) within(outer aim) aim {
	a.hook = outer.hook
	if !a.src.from.IsValid() {
		a.src = outer.src
	}
	if !a.dst.from.IsValid() {
		a.dst = outer.dst
	}
	for _, n := range []struct{ inner, outer *int }{{&a.proto, &outer.proto}, {&a.icmpType, &outer.icmpType}, {&a.icmpCode, &outer.icmpCode},
		{&a.flags, &outer.flags}, {&a.ttl, &outer.ttl}, {&a.tos, &outer.tos}, {&a.option, &outer.option}} {
		if *n.inner < 0 {
			*n.inner = *n.outer
		}
	}
	for _, s := range []struct{ inner, outer *span }{{&a.sport, &outer.sport}, {&a.dport, &outer.dport}, {&a.length, &outer.length}} {
		if *s.inner == anySpan {
			*s.inner = *s.outer
		}
	}
	if a.in == "" {
		a.in = outer.in
	}
	if a.out == "" {
		a.out = outer.out
	}
	return a
}

var protocols = map[string]int{"tcp": unix.IPPROTO_TCP, "udp": unix.IPPROTO_UDP, "icmp": unix.IPPROTO_ICMP, "ipv6-icmp": unix.IPPROTO_ICMPV6,
	"esp": unix.IPPROTO_ESP, "gre": unix.IPPROTO_GRE, "sctp": unix.IPPROTO_SCTP, "udplite": unix.IPPROTO_UDPLITE, "igmp": unix.IPPROTO_IGMP}

var flagBits = map[string]int{"FIN": 1, "SYN": 2, "RST": 4, "PSH": 8, "ACK": 16, "URG": 32, "NONE": 0, "ALL": 63}

// readAim reads the options of one rule. What it does not know it leaves open.
func readAim(words []string, a aim, turn int) (aim, string) {
	target := ""
	for i := 0; i+1 < len(words); i++ {
		value := words[i+1]
		if words[i] == "!" { // anything else will do, mostly
			a.otherThan(value)
			i += 2
			continue
		}
		switch words[i] {
		case "-p":
			a.proto = number(value, protocols)
		case "-s":
			a.src = prefixSpan(value)
		case "-d":
			a.dst = prefixSpan(value)
		case "-i":
			a.in = value
		case "-o":
			a.out = value
		case "--src-range":
			a.src = rangeSpan(value)
		case "--dst-range":
			a.dst = rangeSpan(value)
		case "--sport", "--sports":
			a.sport = portSpan(value, turn)
		case "--dport", "--dports", "--ports":
			a.dport = portSpan(value, turn)
		case "--icmp-type", "--icmpv6-type":
			t, c, _ := strings.Cut(value, "/")
			a.icmpType, a.icmpCode = number(t, nil), number(c, nil)
		case "--tcp-flags":
			a.flags = 0
			if i+2 < len(words) {
				for _, f := range strings.Split(words[i+2], ",") {
					a.flags |= flagBits[f]
				}
			}
		case "--ttl-lt", "--hl-lt", "--ttl-eq", "--hl-eq", "--ttl-gt", "--hl-gt":
			a.ttl = number(value, nil)
		case "--length":
			a.length = portSpan(value, turn)
		case "--tos":
			a.tos = number(strings.Split(value, "/")[0], nil)
		case "--tcp-option":
			a.option = number(value, nil)
		case "--pkt-type", "--dst-type":
			a.castType = strings.ToLower(value)
		case "--src-type":
			if value == "BROADCAST" {
				a.src = addrs{wanBroadcast, wanBroadcast}
			}
		case "-j", "-g":
			target = value
		}
	}
	return a, target
}

// otherThan aims at a value that a negated option matches, where one of the usual values would not.
func (a *aim) otherThan(option string) {
	switch option {
	case "--icmp-type":
		a.icmpType = 13
	case "--icmpv6-type":
		a.icmpType = 139
	case "--tcp-flags":
		a.flags = lab.ACK
	}
}

func number(s string, names map[string]int) int {
	if n, ok := names[s]; ok {
		return n
	}
	n, err := strconv.ParseInt(s, 0, 32)
	if err != nil {
		return -1
	}
	return int(n)
}

func prefixSpan(s string) addrs {
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return addrs{}
	}
	p = p.Masked()
	last := p.Addr().AsSlice()
	for i := p.Bits(); i < len(last)*8; i++ {
		last[i/8] |= 0x80 >> (i % 8)
	}
	to, _ := netip.AddrFromSlice(last)
	return addrs{p.Addr(), to}
}

func rangeSpan(s string) addrs {
	from, to, _ := strings.Cut(s, "-")
	a, err1 := netip.ParseAddr(from)
	b, err2 := netip.ParseAddr(to)
	if err1 != nil || err2 != nil {
		return addrs{}
	}
	return addrs{a, b}
}

// portSpan is the turn'th of the ranges of "80,443,8000:8080".
func portSpan(s string, turn int) span {
	parts := strings.Split(s, ",")
	from, to, isRange := strings.Cut(parts[turn%len(parts)], ":")
	a := number(from, nil)
	if !isRange {
		return span{a, a}
	}
	return span{a, number(to, nil)}
}

// pick is a number of the span: an end of it as often as not.
func (s span) pick(rng *rand.Rand, otherwise int) int {
	switch {
	case s == anySpan:
		return otherwise
	case rng.IntN(3) == 0:
		return s.from
	case rng.IntN(2) == 0:
		return s.to
	}
	return s.from + rng.IntN(s.to-s.from+1)
}

// miss is the number just outside of the span.
func (s span) miss(rng *rand.Rand) int {
	if rng.IntN(2) == 0 && s.from > 0 {
		return s.from - 1
	}
	return s.to + 1
}

// pick is an address of the range, as often as not one of the known hosts: others may be nobody's.
func (a addrs) pick(rng *rand.Rand, otherwise netip.Addr, known []netip.Addr) netip.Addr {
	if !a.from.IsValid() {
		return otherwise
	}
	if h := known[rng.IntN(len(known))]; a.from.Compare(h) <= 0 && h.Compare(a.to) <= 0 {
		return h
	}
	switch {
	case rng.IntN(3) == 0:
		return a.from
	case rng.IntN(3) == 0:
		return a.to
	}
	// A random address: keep the bits that both ends share, and come back to the start if that left the range.
	x, y, b := a.from.AsSlice(), a.to.AsSlice(), a.from.AsSlice()
	for i := range b {
		b[i] = x[i] | byte(rng.UintN(256))&(x[i]^y[i])
	}
	c, _ := netip.AddrFromSlice(b)
	if c.Compare(a.from) < 0 || a.to.Compare(c) < 0 {
		return a.from
	}
	return c
}

func (a addrs) miss(rng *rand.Rand) netip.Addr {
	if rng.IntN(2) == 0 {
		return a.from.Prev()
	}
	return a.to.Next()
}

// side is where an address lives, seen from the dut.
func side(a netip.Addr) place {
	switch {
	case a.IsMulticast(), a == lab.LAN.DUT4.Addr(), a == lab.WAN.DUT4.Addr(), a == lab.LAN.DUT6.Addr(), a == lab.WAN.DUT6.Addr(),
		a == broadcast, a == subnetBroadcast:
		return atDUT
	case lab.LAN.DUT4.Contains(a), lab.LAN.DUT6.Contains(a), lab.LAN.Behind[0].Contains(a), lab.LAN.Behind[1].Contains(a):
		return atLAN
	}
	return atWAN
}

var (
	broadcast       = netip.MustParseAddr("255.255.255.255")
	wanBroadcast    = netip.MustParseAddr("198.51.100.255")
	subnetBroadcast = netip.MustParseAddr("192.0.2.255")
)

// place is where a packet starts.
type place uint8

const (
	atLAN place = iota
	atWAN
	atDUT
)

func (p place) String() string { return [...]string{"lan0", "wan0", "dut"}[p] }

func (a aim) String() string { return fmt.Sprintf("%s %s", a.hook, a.rule) }
