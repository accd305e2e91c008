package iptables

import (
	"math"
	"regexp"
	"strconv"
	"strings"

	"github.com/bpfwall/bpfwall/ruleset"
)

// oneOf is an argument that is one of some words, which may be abbreviated.
func oneOf(words []string) kind {
	return kind{1, func(_ *context, s string) (value, string) {
		i := lookupPrefix(s, words)
		return value{text: s}, unless(s != "" && i >= 0, "not one of "+join(words))
	}}
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

// readClock reads hh:mm[:ss].
func readClock(_ *context, s string) (value, string) {
	parts := strings.Split(s, ":")
	ok := len(parts) == 2 || len(parts) == 3
	for i, part := range parts {
		n, err := strconv.ParseUint(part, 10, 8)
		ok = ok && err == nil && n <= 59 && (i > 0 || n <= 23)
	}
	return value{text: s}, unless(ok, "not a time such as 08:30")
}

var date = regexp.MustCompile(`^\d+(-\d+(-\d+(T\d+(:\d+(:\d+)?)?)?)?)?$`)

func readDate(_ *context, s string) (value, string) {
	return value{text: s}, unless(date.MatchString(s), "not a date such as 2026-01-31 or 2026-01-31T10:00")
}

// readWeekdays reads a list of numbers and of names that start with three letters of a day.
func readWeekdays(_ *context, s string) (value, string) {
	for _, day := range strings.Split(s, ",") {
		_, ok := parseNumber(day, 0, 255)
		ok = ok || len(day) >= 2 && lookupPrefix(day[:2], []string{"Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"}) >= 0 && len(day) >= 3
		if !ok {
			return value{}, quote(day) + " is not a day such as Mon"
		}
	}
	return value{text: s}, ""
}

func readMonthDays(_ *context, s string) (value, string) {
	for _, day := range strings.Split(s, ",") {
		if _, ok := parseNumber(day, 1, 31); !ok {
			return value{}, quote(day) + " is not a day from 1 to 31"
		}
	}
	return value{text: s}, ""
}

func readShare(_ *context, s string) (value, string) {
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || !(f >= 0 && f <= 1) {
		return value{}, "not a number from 0 to 1"
	}
	return value{num: uint64(math.Round(f * ruleset.SampleAll))}, "" // as libxt_statistic.c does
}

// chunkNames are the chunk types of SCTP that iptables knows.
var chunkNames = []string{
	"DATA", "INIT", "INIT_ACK", "SACK", "HEARTBEAT", "HEARTBEAT_ACK", "ABORT", "SHUTDOWN", "SHUTDOWN_ACK", "ERROR", "COOKIE_ECHO",
	"COOKIE_ACK", "ECN_ECNE", "ECN_CWR", "SHUTDOWN_COMPLETE", "I_DATA", "RE_CONFIG", "PAD", "ASCONF", "ASCONF_ACK", "FORWARD_TSN", "I_FORWARD_TSN",
	"ALL", "NONE",
}

// readChunks reads "all|any|only types", a type being NAME or NAME:flags.
func readChunks(_ *context, s string) (value, string) {
	which, types, _ := strings.Cut(s, " ")
	if i := lookupPrefix(which, []string{"ALL", "ANY", "ONLY"}); i < 0 || len(which) < 3 {
		return value{}, quote(which) + " is not one of all, any, only"
	}
	for _, chunk := range strings.Split(types, ",") {
		name, _, _ := strings.Cut(chunk, ":")
		if i := lookupPrefix(name, chunkNames); i < 0 || name == "" {
			return value{}, quote(name) + " is not a chunk type"
		}
	}
	return value{text: s}, ""
}
