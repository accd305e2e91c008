package iptables

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/bpfwall/bpfwall/ruleset"
)

// parseAddress reads an address of the family without a mask. IPv4 may leave out bytes at the end: 10.1 is 10.1.0.0.
func parseAddress(s string, f ruleset.Family) (netip.Addr, bool) {
	if f == ruleset.FamilyIPv6 {
		a, err := netip.ParseAddr(s)
		return a, err == nil && a.Is6() && a.Zone() == ""
	}
	parts := strings.Split(s, ".")
	if len(parts) > 4 {
		return netip.Addr{}, false
	}
	var b [4]byte
	for i, part := range parts {
		n, ok := parseNumber(part, 0, 255)
		if !ok {
			return netip.Addr{}, false
		}
		b[i] = byte(n)
	}
	return netip.AddrFrom4(b), true
}

// parseMask reads a prefix length, or a mask written as an address, contiguous or not.
func parseMask(s string, f ruleset.Family) (netip.Addr, bool) {
	width := 32
	if f == ruleset.FamilyIPv6 {
		width = 128
	}
	if n, ok := parseNumber(s, 0, uint64(width)); ok {
		return ones(int(n), width), true
	}
	if f == ruleset.FamilyIPv4 && strings.Count(s, ".") != 3 {
		return netip.Addr{}, false
	}
	return parseAddress(s, f)
}

// ones is the mask of n ones in an address of width bits.
func ones(n, width int) netip.Addr {
	b := slices.Repeat([]byte{0}, width/8)
	for i := range n {
		b[i/8] |= 0x80 >> (i % 8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

// parseNetwork reads "address", "address/length" or "address/mask".
func parseNetwork(s string, f ruleset.Family) (ruleset.AddrRange, string) {
	host, mask, hasMask := s, "", false
	if i := strings.LastIndexByte(s, '/'); i >= 0 {
		host, mask, hasMask = s[:i], s[i+1:], true
	}
	if f == ruleset.FamilyIPv4 && host == "localhost" {
		host = "127.0.0.1"
	} else if host == "localhost" {
		host = "::1"
	}
	a, ok := parseAddress(host, f)
	if !ok {
		return ruleset.AddrRange{}, badAddress(host, f)
	}
	m := ones(a.BitLen(), a.BitLen())
	if hasMask {
		if m, ok = parseMask(mask, f); !ok {
			return ruleset.AddrRange{}, "mask " + quote(mask) + ": neither a prefix length nor an address mask"
		}
	}
	return ruleset.MaskedAddr(a, m), ""
}

// badAddress says what is wrong with an address.
func badAddress(host string, f ruleset.Family) string {
	other := ruleset.FamilyIPv6
	if f == ruleset.FamilyIPv6 {
		other = ruleset.FamilyIPv4
	}
	if a, err := netip.ParseAddr(host); err == nil && a.Is4() != (f == ruleset.FamilyIPv4) {
		return "address " + quote(host) + ": " + other.String() + " in a file of " + f.String() + " rules"
	}
	if isHostName(host) {
		return "address " + quote(host) + ": host names are not looked up"
	}
	return "address " + quote(host) + ": not an " + f.String() + " address"
}

// isHostName reports whether s has a letter and only the characters of a DNS name.
func isHostName(s string) bool {
	letters := strings.ContainsFunc(s, func(r rune) bool { return r|0x20 >= 'a' && r|0x20 <= 'z' })
	return letters && !strings.ContainsFunc(s, func(r rune) bool {
		return !(r|0x20 >= 'a' && r|0x20 <= 'z' || r >= '0' && r <= '9' || r == '.' || r == '-' || r == '_')
	})
}

// parseNetworks reads a list of networks separated by commas. Equal ones count once; bad says what is wrong, "" if nothing.
func parseNetworks(s string, f ruleset.Family) (out []ruleset.AddrRange, bad string) {
	for _, part := range strings.Split(s, ",") {
		r, bad := parseNetwork(strings.TrimLeft(part, " \t"), f)
		if bad != "" {
			return nil, bad
		}
		if !slices.Contains(out, r) {
			out = append(out, r)
		}
	}
	return out, ""
}

// parseAddressRange reads "from-to" or one address.
func parseAddressRange(s string, f ruleset.Family) (ruleset.AddrRange, bool) {
	first, last, isRange := strings.Cut(s, "-")
	if !isRange {
		last = first
	}
	from, ok := parseAddress(first, f)
	to, ok2 := parseAddress(last, f)
	return ruleset.AddrRange{From: from, To: to}, ok && ok2
}
