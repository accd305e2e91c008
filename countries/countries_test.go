package countries_test

import (
	"bytes"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/maxmind/mmdbwriter"
	"github.com/maxmind/mmdbwriter/mmdbtype"

	"github.com/bpfwall/bpfwall/countries"
)

// database makes one of networks and what their records say. Wide networks go in first: what is inserted replaces all inside it.
func database(t *testing.T, records map[string]mmdbtype.DataType) []byte {
	t.Helper()
	w, err := mmdbwriter.New(mmdbwriter.Options{DatabaseType: "Test-Country", IncludeReservedNetworks: true})
	if err != nil {
		t.Fatal(err)
	}
	length := func(network string) int { return netip.MustParsePrefix(network).Bits() }
	for _, network := range slices.SortedFunc(maps.Keys(records), func(a, b string) int { return length(a) - length(b) }) {
		_, n, err := net.ParseCIDR(network)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Insert(n, records[network]); err != nil {
			t.Fatal(err)
		}
	}
	var b bytes.Buffer
	if _, err := w.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func maxmind(code string) mmdbtype.DataType {
	return mmdbtype.Map{"country": mmdbtype.Map{"iso_code": mmdbtype.String(code)}, "registered_country": mmdbtype.Map{"iso_code": mmdbtype.String("XX")}}
}

// TestNetworks: databases of several makers, both families.
func TestNetworks(t *testing.T) {
	db := database(t, map[string]mmdbtype.DataType{
		"192.0.2.0/24": maxmind("DE"), "198.51.100.0/25": maxmind("FR"), "2001:db8::/32": maxmind("DE"),
		"203.0.113.0/24":  mmdbtype.Map{"country": mmdbtype.String("KP"), "asn": mmdbtype.String("AS1")},
		"203.0.112.0/24":  mmdbtype.Map{"country_code": mmdbtype.String("kp")},
		"2001:db8:1::/48": maxmind("FR"), "10.0.0.0/8": mmdbtype.Map{"asn": mmdbtype.Uint32(1)},
	})
	for want, codes := range map[string][]string{
		"198.51.100.0/25 2001:db8:1::/48": {"FR"},
		"203.0.112.0/24 203.0.113.0/24":   {"KP"},
		"192.0.2.0/24 198.51.100.0/25 203.0.112.0/24 203.0.113.0/24 2001:db8::/48 2001:db8:1::/48": {"KP", "DE", "FR"},
	} {
		got, unknown, err := countries.Networks(db, codes)
		if err != nil || len(unknown) > 0 {
			t.Fatalf("%v: unknown %q, error %v", codes, unknown, err)
		}
		if len(codes) == 3 {
			checkContains(t, got)
			continue
		}
		var texts []string
		for _, p := range got {
			texts = append(texts, p.String())
		}
		if diff := cmp.Diff(want, strings.Join(texts, " ")); diff != "" {
			t.Errorf("%v:\n%s", codes, diff)
		}
	}
	if _, unknown, err := countries.Networks(db, []string{"DE", "ZZ", "AQ"}); err != nil || !cmp.Equal(unknown, []string{"ZZ", "AQ"}) {
		t.Errorf("unknown %q, error %v", unknown, err)
	}
}

// checkContains: a network inside another country's leaves the rest of that.
func checkContains(t *testing.T, networks []netip.Prefix) {
	t.Helper()
	for _, a := range []string{"192.0.2.200", "203.0.113.9", "2001:db8:1::9", "2001:db8:ffff::1"} {
		n := 0
		for _, p := range networks {
			if p.Contains(netip.MustParseAddr(a)) {
				n++
			}
		}
		if n != 1 {
			t.Errorf("%s is in %d of the networks", a, n)
		}
	}
}

// TestDamaged: what is no database, or one of something else, is an error; and nothing panics.
func TestDamaged(t *testing.T) {
	good := database(t, map[string]mmdbtype.DataType{"192.0.2.0/24": maxmind("DE"), "2001:db8::/32": maxmind("FR")})
	for name, text := range map[string][]byte{
		"empty": nil, "text": []byte("192.0.2.0/24\n"), "cut short": good[:len(good)/2],
		"of something else": database(t, map[string]mmdbtype.DataType{"192.0.2.0/24": mmdbtype.Map{"asn": mmdbtype.Uint32(1)}}),
	} {
		if _, _, err := countries.Networks(text, []string{"DE"}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	for at := range good {
		bad := bytes.Clone(good)
		bad[at] ^= 0xff
		_, _, _ = countries.Networks(bad, []string{"DE"})
	}
}

func FuzzNetworks(f *testing.F) {
	f.Add([]byte("\xab\xcd\xefMaxMind.com"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if networks, _, err := countries.Networks(text, []string{"DE"}); err != nil && networks != nil {
			t.Errorf("networks with the error %v", err)
		}
	})
}

func TestCode(t *testing.T) {
	for s, want := range map[string]bool{"DE": true, "de": true, "D": false, "DEU": false, "D1": false, "": false, "ß": false} {
		if _, ok := countries.Code(s); ok != want {
			t.Errorf("%q: %t", s, ok)
		}
	}
}
