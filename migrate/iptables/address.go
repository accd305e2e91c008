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
	var b [4]byte
	i := 0
	for part := range strings.SplitSeq(s, ".") {
		n, ok := parseNumber(part, 0, 255)
		if !ok || i == len(b) {
			return netip.Addr{}, false
		}
		b[i] = byte(n)
		i++
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
	zero := netip.IPv6Unspecified()
	if width == 32 {
		zero = netip.IPv4Unspecified()
	}
	return ruleset.Prefix(netip.PrefixFrom(zero, n)).Mask
}

// parseNetwork reads "address", "address/length" or "address/mask". A host name gives the zero AddrRange.
func parseNetwork(s string, f ruleset.Family) (r ruleset.AddrRange, bad string) {
	host, mask, hasMask := s, "", false
	if i := strings.LastIndexByte(s, '/'); i >= 0 {
		host, mask, hasMask = s[:i], s[i+1:], true
	}
	a, ok := parseAddress(host, f)
	switch {
	case host == "localhost":
		a = loopback[f]
	case !ok && isHostName(host):
		return ruleset.AddrRange{}, ""
	case !ok:
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

var loopback = map[ruleset.Family]netip.Addr{
	ruleset.FamilyIPv4: netip.AddrFrom4([4]byte{127, 0, 0, 1}), ruleset.FamilyIPv6: netip.IPv6Loopback(),
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
	return "address " + quote(host) + ": not an " + f.String() + " address"
}

// isHostName reports whether s can be the name of a host in the DNS: labels between dots, the last one of two or more letters.
func isHostName(s string) bool {
	labels := strings.Split(strings.TrimSuffix(s, "."), ".")
	last := labels[len(labels)-1]
	notAlpha := func(r rune) bool { return !(r|0x20 >= 'a' && r|0x20 <= 'z') }
	notLabel := func(r rune) bool { return notAlpha(r) && !(r >= '0' && r <= '9') && r != '-' && r != '_' }
	return len(labels) > 1 && len(last) > 1 && !strings.ContainsFunc(last, notAlpha) &&
		!slices.ContainsFunc(labels, func(l string) bool { return l == "" || strings.ContainsFunc(l, notLabel) })
}

// parseNetworks reads a list of networks separated by commas. Equal ones count once; bad says what is wrong, "" if nothing.
func parseNetworks(s string, f ruleset.Family) (v value, bad string) {
	for part := range strings.SplitSeq(s, ",") {
		r, bad := parseNetwork(strings.TrimLeft(part, " \t"), f)
		switch {
		case bad != "":
			return value{}, bad
		case !r.From.IsValid():
			v.todo = "host name " + quote(part) + ": names are not looked up; write the address"
		case !slices.Contains(v.addrs, r):
			v.addrs = append(v.addrs, r)
		}
	}
	return v, ""
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
