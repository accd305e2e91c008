package iptables

import (
	"net/netip"
	"slices"

	"github.com/bpfwall/bpfwall/ruleset"
)

// without is the members of a set with exceptions (nomatch), as ranges: of the prefixes that hold an address, the longest counts.
func without(members []ruleset.AddrRange, except []netip.Prefix) []ruleset.AddrRange {
	in := map[netip.Prefix]bool{}
	var starts []netip.Addr
	note := func(p netip.Prefix, match bool) {
		in[p] = match
		starts = append(starts, p.Addr())
		if next := lastOf(p).Next(); next.IsValid() {
			starts = append(starts, next)
		}
	}
	for _, m := range members {
		if p, ok := m.Prefix(); ok {
			note(p, true)
		}
	}
	for _, p := range except {
		note(p, false)
	}
	slices.SortFunc(starts, netip.Addr.Compare)
	starts = slices.Compact(starts)
	var out []ruleset.AddrRange
	for i, from := range starts {
		if !longest(in, from) {
			continue
		}
		to := lastOf(netip.PrefixFrom(from, 0))
		if i+1 < len(starts) {
			to = starts[i+1].Prev()
		}
		if n := len(out); n > 0 && out[n-1].To.Next() == from {
			out[n-1].To = to
			continue
		}
		out = append(out, ruleset.AddrRange{From: from, To: to})
	}
	return out
}

// longest is what the longest prefix says that holds an address; false if none does.
func longest(in map[netip.Prefix]bool, a netip.Addr) bool {
	for n := a.BitLen(); n >= 0; n-- {
		p, _ := a.Prefix(n)
		if match, ok := in[p]; ok {
			return match
		}
	}
	return false
}

// lastOf is the highest address of a prefix.
func lastOf(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}
