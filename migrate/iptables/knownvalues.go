package iptables

import (
	"strings"
)

// oneOf is an argument that is one of some words, which may be abbreviated.
func oneOf(words []string) kind {
	return kind{1, func(_ *context, s string) (value, string) {
		i := lookupPrefix(s, words)
		return value{text: s}, unless(s != "" && i >= 0, "not one of "+join(words))
	}}
}

// readUser reads a user or group: a number, a range of numbers or what may be a name.
func readUser(_ *context, s string) (value, string) {
	first, last, isRange := strings.Cut(s, "-")
	_, ok := parseNumber(first, 0, 0xffffffff)
	if ok && isRange {
		_, ok = parseNumber(last, 0, 0xffffffff)
	}
	name := s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return !(r|0x20 >= 'a' && r|0x20 <= 'z' || r >= '0' && r <= '9' || strings.ContainsRune("._-", r))
	})
	return value{text: s}, unless(ok || name, "neither a number nor a name")
}

func readDigits(_ *context, s string) (value, string) {
	return value{text: s}, unless(s != "" && s[0] >= '0' && s[0] <= '9', "does not start with a number")
}

// readQueues reads "from:to", the first lower than the last.
func readQueues(_ *context, s string) (value, string) {
	r, ok := parseRange(s, 0xffff, func(s string) (uint64, bool) { return parseNumber(s, 0, 0xffff) })
	return value{text: s}, unless(ok && r.From < r.To && r.To-r.From < 0xffff, "not a range of queues from:to")
}

// readTranslatedPorts reads "port" or "from-to"; a service name may have a dash in it.
func readTranslatedPorts(c *context, s string) (value, string) {
	if c.proto == "" {
		return value{}, "ports can only be given with -p tcp, udp, sctp or dccp"
	}
	first, last, isRange := strings.Cut(s, "-")
	if _, ok := parsePort(s, c.proto); ok || !isRange {
		return value{text: s}, unless(ok, notAPort(c))
	}
	_, ok := parseNumber(first, 0, 0xffff)
	_, ok2 := parseNumber(last, 0, 0xffff)
	return value{text: s}, unless(ok && ok2, "not a range of ports such as 1024-2047")
}

// readTranslation reads the argument of DNAT and SNAT: addresses "a" or "a-b", ports or both. IPv6 addresses with ports are in brackets.
func readTranslation(c *context, s string) (value, string) {
	host, ports, hasPorts := s, "", false
	switch close := strings.LastIndexByte(s, ']'); {
	case strings.HasPrefix(s, "[") && close > 0:
		host, ports, hasPorts = s[1:close], strings.TrimPrefix(s[close+1:], ":"), s[close+1:] != ""
	case strings.Count(s, ":") == 1:
		host, ports, hasPorts = strings.Cut(s, ":")
	}
	if host != "" {
		if _, ok := parseAddressRange(host, c.family); !ok {
			return value{}, "not an " + c.family.String() + " address or range such as a-b"
		}
	}
	if !hasPorts {
		return value{text: s}, ""
	}
	ports, base, hasBase := strings.Cut(ports, "/")
	if n, ok := parsePort(base, c.proto); hasBase && (!ok || n == 0) {
		return value{}, "the base port is neither a number from 1 to 65535 nor a service name"
	}
	return readTranslatedPorts(c, ports)
}
