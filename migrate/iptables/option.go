package iptables

import (
	"net"
	"net/netip"
	"strings"

	"github.com/bpfwall/bpfwall/ruleset"
	"github.com/bpfwall/bpfwall/services"
)

// extension is one row of the tables of match and target extensions.
type extension struct {
	name    string // names, the first being the usual one, separated by |
	family  ruleset.Family
	proto   uint8 // needs -p with this protocol; 0 if it does not
	options []option
	why     string // why no rule with it is imported; "" if rules are
	check   func(m *module, r *rule) (bad, help string)
	lower   func(l *lowering, m *module) ([]alternative, string) // nil: each option's own; a string says why not
	act     func(m *module) action                               // targets
	tables  string                                               // the only tables where the kernel takes it, separated by |; "" for all
	hooks   uint32                                               // bit per chain bit: the only built-in chains that may reach it; 0 for all
}

// option is one row of an extension's options.
type option struct {
	names string // as in extension.name, without the dashes
	kind  kind
	flags flagSet
	group uint8 // at most one option of a group other than 0 may be used
	lower func(u *use) []alternative
	also  string // an option that must be there too
}

type flagSet uint8

const (
	inv  flagSet = 1 << iota // takes a ! before it
	must                     // has to be there
	many                     // may be repeated
	some                     // at least one of those with this flag has to be there
)

// kind is how an option's arguments are read. A parse function returns what is wrong with its argument, "" if nothing.
type kind struct {
	args  int
	parse func(c *context, arg string) (value, string)
}

// context is what reading an argument depends on.
type context struct {
	family ruleset.Family
	proto  string // name of the protocol that -p gave, "" if none
}

func (o *option) name() string {
	name, _, _ := strings.Cut(o.names, "|")
	return name
}

// flagOnly is an option without an argument; text one with any argument.
var (
	flagOnly = kind{}
	text     = kind{1, func(_ *context, s string) (value, string) { return value{text: s}, "" }}
	two      = kind{2, func(_ *context, s string) (value, string) { return value{text: s}, "" }}
)

// textOf is any argument of at least least bytes.
func textOf(least int) kind {
	return kind{1, func(_ *context, s string) (value, string) {
		if len(s) < least {
			return value{}, "too short"
		}
		return value{text: s}, ""
	}}
}

func number(lo, hi uint64) kind {
	bad := "not a number from " + itoa(lo) + " to " + itoa(hi)
	return kind{1, func(_ *context, s string) (value, string) {
		n, ok := parseNumber(s, lo, hi)
		return value{num: n, parts: []ruleset.Range{{From: n, To: n}}}, unless(ok, bad)
	}}
}

func numberRange(hi uint64) kind {
	bad := "not a number or range up to " + itoa(hi)
	return kind{1, func(_ *context, s string) (value, string) {
		r, ok := parseRange(s, hi, func(s string) (uint64, bool) { return parseNumber(s, 0, hi) })
		return value{parts: []ruleset.Range{r}}, unless(ok, bad)
	}}
}

// orderedRange is a range that must not end before it starts.
func orderedRange(hi uint64) kind {
	bad := "not a number or range up to " + itoa(hi)
	return kind{1, func(_ *context, s string) (value, string) {
		r, ok := parseRange(s, hi, func(s string) (uint64, bool) { return parseNumber(s, 0, hi) })
		return value{parts: []ruleset.Range{r}}, unless(ok && r.From <= r.To, bad)
	}}
}

func masked(hi uint64) kind {
	bad := "not a number or number/mask up to " + itoa(hi)
	return kind{1, func(_ *context, s string) (value, string) {
		v, m, ok := parseMasked(s, hi)
		return value{num: v, mask: m}, unless(ok, bad)
	}}
}

var (
	u8, u16, u32, u64  = number(0, 0xff), number(0, 0xffff), number(0, 0xffffffff), number(0, 1<<64-1)
	u16range, u32range = numberRange(0xffff), numberRange(0xffffffff)
	portRange          = kind{1, readPortRange}
	portRangeOrdered   = kind{1, readOrderedPorts}
	protocolName       = kind{1, readProtocol}
	macAddress         = kind{1, readMAC}
	hostMask           = kind{1, readHost}
	addressRange       = kind{1, readAddressRange}
	prefixLength       = kind{1, readPrefixLength}
)

// readPortRange reads the ports of -p udp and -p dccp: service names of any protocol will do, and a range may be empty.
func readPortRange(_ *context, s string) (value, string) {
	anyProto := &context{}
	r, ok := parseRange(s, 0xffff, func(s string) (uint64, bool) { return parsePort(s, anyProto.proto) })
	return value{parts: []ruleset.Range{r}}, unless(ok, notAPort(anyProto))
}

// readOrderedPorts reads the ports of -p tcp and -p sctp.
func readOrderedPorts(c *context, s string) (value, string) {
	r, ok := parseRange(s, 0xffff, func(s string) (uint64, bool) { return parsePort(s, c.proto) })
	switch {
	case !ok:
		return value{}, notAPort(c)
	case r.From > r.To:
		return value{}, "the range ends before it starts"
	}
	return value{parts: []ruleset.Range{r}}, ""
}

func notAPort(c *context) string {
	if c.proto == "" {
		return "neither a port from 0 to 65535 nor a service name"
	}
	return "neither a port from 0 to 65535 nor a service name of " + c.proto
}

func readProtocol(_ *context, s string) (value, string) {
	s = strings.ToLower(s)
	if n, ok := parseNumber(s, 0, 255); ok {
		return value{num: n, text: protocolOf(uint8(n)), parts: []ruleset.Range{{From: n, To: n}}}, ""
	}
	n, ok := services.Protocol(s)
	return value{num: uint64(n), text: s, parts: []ruleset.Range{{From: uint64(n), To: uint64(n)}}}, unless(ok, "not a protocol name or a number from 0 to 255")
}

// protocolOf is the name by which the extension of a protocol number is found, "" if it has none.
func protocolOf(n uint8) string { return protocolExtensions[n] }

var protocolExtensions = [256]string{
	1: "icmp", 6: "tcp", 17: "udp", 33: "dccp", 50: "esp", 51: "ah", 58: "icmp6", 108: "ipcomp", 132: "sctp", 135: "mh", 136: "udplite",
}

func readMAC(_ *context, s string) (value, string) {
	a, err := net.ParseMAC(s)
	if err != nil || len(a) != 6 || strings.Count(s, ":") != 5 {
		return value{}, "not a MAC address such as 02:00:5e:10:00:01"
	}
	var n uint64
	for _, b := range a {
		n = n<<8 | uint64(b)
	}
	return value{num: n, parts: []ruleset.Range{{From: n, To: n}}}, ""
}

func readHost(c *context, s string) (value, string) {
	return parseNetworks(s, c.family)
}

func readAddressRange(c *context, s string) (value, string) {
	r, ok := parseAddressRange(s, c.family)
	return value{addrs: []ruleset.AddrRange{r}}, unless(ok, "not an "+c.family.String()+" address or range such as a-b")
}

func readPrefixLength(c *context, s string) (value, string) {
	width := netip.IPv4Unspecified().BitLen()
	if c.family == ruleset.FamilyIPv6 {
		width = netip.IPv6Unspecified().BitLen()
	}
	n, ok := parseNumber(s, 0, uint64(width))
	return value{num: n}, unless(ok, "not a prefix length from 0 to "+itoa(uint64(width)))
}

// unless is bad if ok is false.
func unless(ok bool, bad string) string {
	if ok {
		return ""
	}
	return bad
}
