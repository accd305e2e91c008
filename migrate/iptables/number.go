package iptables

import (
	"strconv"
	"strings"

	"github.com/bpfwall/bpfwall/ruleset"
	"github.com/bpfwall/bpfwall/services"
)

// parseNumber reads a number as strtoul with base 0 does: 0x for hexadecimal, a leading 0 for octal.
func parseNumber(s string, lo, hi uint64) (uint64, bool) {
	digits, base := strings.TrimPrefix(s, "+"), 10
	switch {
	case len(digits) > 2 && (digits[:2] == "0x" || digits[:2] == "0X"):
		digits, base = digits[2:], 16
	case len(digits) > 1 && digits[0] == '0':
		digits, base = digits[1:], 8
	}
	if digits == "" || base < 16 && (digits[0] < '0' || digits[0] > '9') {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, base, 64)
	return n, err == nil && lo <= n && n <= hi
}

// parsePort reads a port number or a service name of the protocol.
func parsePort(s, proto string) (uint64, bool) {
	if n, ok := parseNumber(s, 0, 0xffff); ok {
		return n, true
	}
	for _, p := range []string{proto, "tcp", "udp", "sctp"} {
		if proto != "" && p != proto {
			continue
		}
		if n, ok := services.Port(s, p); ok {
			return uint64(n), true
		}
	}
	return 0, false
}

// parseRange reads "n", "n:m", ":m", "n:" or ":" with numbers from lo to hi.
func parseRange(s string, hi uint64, number func(string) (uint64, bool)) (ruleset.Range, bool) {
	first, last, isRange := strings.Cut(s, ":")
	r := ruleset.Range{From: 0, To: hi}
	ok := true
	if first != "" || !isRange {
		r.From, ok = number(first)
	}
	if !isRange {
		r.To = r.From
		return r, ok
	}
	if ok && last != "" {
		r.To, ok = number(last)
	}
	return r, ok
}

// parseMasked reads "value" or "value/mask" with numbers up to hi.
func parseMasked(s string, hi uint64) (val, mask uint64, ok bool) {
	first, second, hasMask := strings.Cut(s, "/")
	val, ok = parseNumber(first, 0, hi)
	mask = hi
	if ok && hasMask {
		mask, ok = parseNumber(second, 0, hi)
	}
	return val, mask, ok
}

// lookupPrefix finds the first of names that s abbreviates, whatever the case.
func lookupPrefix(s string, names []string) int {
	for i, name := range names {
		if len(s) <= len(name) && strings.EqualFold(s, name[:len(s)]) {
			return i
		}
	}
	return -1
}
