package translator

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/bpfwall/bpfwall/ruleset"
)

// TestPrefixOf: the quick way to an operand's prefix is the same as the slow one.
func TestPrefixOf(t *testing.T) {
	g := newGen(3)
	for range 5000 {
		a := g.AddrRange(g.Family())
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
		got, ok := Prefixes(ruleset.AddrRange{From: netip.MustParseAddr(test.from), To: netip.MustParseAddr(test.to)})
		var text []string
		for _, p := range got {
			text = append(text, p.String())
		}
		if !ok || !slices.Equal(text, test.want) {
			t.Errorf("%s-%s: %q, want %q", test.from, test.to, text, test.want)
		}
	}
}

// TestLargeSet translates and loads a set of 100,000 prefixes of both families, and asks for what is in it and what is not.
func TestLargeSet(t *testing.T) {
	set := &ruleset.Set{Name: "feed"}
	for i := range 50_000 {
		v4 := netip.AddrFrom4([4]byte{20, byte(i >> 8), byte(i), 0})
		v6 := netip.AddrFrom16([16]byte{0: 0x20, 1: 0x01, 5: byte(i >> 8), 6: byte(i)})
		set.Members = append(set.Members, ruleset.Prefix(netip.PrefixFrom(v4, 24+i%9)), ruleset.Prefix(netip.PrefixFrom(v6, 48+i%81)))
	}
	c := &ruleset.Chain{Name: "INPUT", Hook: ruleset.HookInput, Policy: ruleset.Accept, Rules: []*ruleset.Rule{
		{Matches: []ruleset.Match{{Field: ruleset.FieldSrcAddr, Set: "feed"}}, Verdict: ruleset.Verdict{Kind: ruleset.Drop}},
	}}
	rs := &ruleset.Ruleset{Chains: []*ruleset.Chain{c}, Sets: []*ruleset.Set{set}}
	start := time.Now()
	out, err := Translate(rs, Slots{})
	if err != nil {
		t.Fatal(err)
	}
	translated := time.Since(start)
	delete(out.Spec.Programs, "tc_ingress")
	delete(out.Spec.Programs, "tc_egress")
	j := load(t, out, 16)
	t.Logf("translated in %v, loaded in %v", translated, time.Since(start)-translated)
	for _, src := range []string{"20.0.1.7", "20.195.79.0", "20.195.79.255", "192.0.2.1", "2001::1", "2001:0:c3:4f00::1", "2002::"} {
		p := unmatched()
		p.Src = netip.MustParseAddr(src)
		p.Family = familyOf(p.Src)
		j.agree(t, rs, p, ruleset.HookInput, nil)
	}
}
