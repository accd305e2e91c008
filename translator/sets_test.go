package translator

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/bpfwall/bpfwall/ruleset"
)

// TestPrefixOf: the quick way to an operand's prefix is the same as the slow one.
func TestPrefixOf(t *testing.T) {
	g := newGen(3)
	for range 5000 {
		a := g.addrRange(g.family())
		want, wantOK := a.Prefix()
		if got, ok := prefixOf(a); ok != wantOK || ok && got != want {
			t.Fatalf("%s: %s %t, want %s %t", a, got, ok, want, wantOK)
		}
	}
}

// TestPrefixesOf: the prefixes of a range are its addresses, no more and no fewer.
func TestPrefixesOf(t *testing.T) {
	for _, test := range []struct {
		from, to string
		want     []string
	}{
		{"10.0.0.0", "10.0.0.255", []string{"10.0.0.0/24"}},
		{"10.0.0.1", "10.0.0.4", []string{"10.0.0.1/32", "10.0.0.2/31", "10.0.0.4/32"}},
		{"0.0.0.0", "255.255.255.255", []string{"0.0.0.0/0"}},
		{"255.255.255.254", "255.255.255.255", []string{"255.255.255.254/31"}},
		{"fd00::1", "fd00::2", []string{"fd00::1/128", "fd00::2/128"}},
		{"::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", []string{"::/0"}},
	} {
		got, ok := prefixesOf(ruleset.AddrRange{From: netip.MustParseAddr(test.from), To: netip.MustParseAddr(test.to)})
		var text []string
		for _, p := range got {
			text = append(text, p.String())
		}
		if !ok || !slices.Equal(text, test.want) {
			t.Errorf("%s-%s: %q, want %q", test.from, test.to, text, test.want)
		}
	}
}
