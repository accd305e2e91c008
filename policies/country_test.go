package policies

import (
	"bytes"
	"fmt"
	"io/fs"
	"net"
	"strings"
	"testing"

	"github.com/maxmind/mmdbwriter"
	"github.com/maxmind/mmdbwriter/mmdbtype"
)

// countryFiles are a database of two countries and one that is none, by name.
func countryFiles(t *testing.T) func(string) ([]byte, error) {
	t.Helper()
	w, err := mmdbwriter.New(mmdbwriter.Options{DatabaseType: "Test-Country", IncludeReservedNetworks: true})
	if err != nil {
		t.Fatal(err)
	}
	for network, code := range map[string]string{"192.0.2.0/24": "DE", "2001:db8::/32": "DE", "198.51.100.0/24": "FR"} {
		_, n, err := net.ParseCIDR(network)
		if err == nil {
			err = w.Insert(n, mmdbtype.Map{"country": mmdbtype.Map{"iso_code": mmdbtype.String(code)}})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	var b bytes.Buffer
	if _, err := w.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	return func(name string) ([]byte, error) {
		switch name {
		case "/etc/fw/c.mmdb":
			return b.Bytes(), nil
		case "/etc/fw/bad.mmdb":
			return b.Bytes()[:b.Len()/2], nil
		}
		return nil, fmt.Errorf("%s: %w", name, fs.ErrNotExist)
	}
}

// TestCountries: a set of countries has their networks; with refresh, they are read later.
func TestCountries(t *testing.T) {
	p, err := Parse("/etc/fw/p.toml", []byte(`version = 1
[sets]
closed = { country = ["de", "FR"], database = "c.mmdb", members = ["10.0.0.0/8"] }
later  = { country = "FR", database = "c.mmdb", refresh = "1d" }
[[guard]]
drop = "any"
from = ["@closed", "@later"]
`), Options{ReadFile: countryFiles(t)})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"set closed: 10.0.0.0/8,192.0.2.0/24,198.51.100.0/24,2001:db8::/32\n",
		"set later: empty; live, at most 65536, from FR of /etc/fw/c.mmdb\n",
	} {
		if text := p.Ruleset.String(); !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	written, err := Write(p.Ruleset, "")
	if err != nil || !strings.Contains(string(written), `country = ["FR"], database = "/etc/fw/c.mmdb", refresh = "24h0m0s"`) {
		t.Errorf("written: %v\n%s", err, written)
	}
}

// TestCountryErrors: what is wrong with a set of countries is said, with its place.
func TestCountryErrors(t *testing.T) {
	files := countryFiles(t)
	for text, want := range map[string]string{
		`{ country = ["DE", "ZZ"], database = "c.mmdb" }`:             `/etc/fw/p.toml:3:24: country "ZZ": the database has no networks of it`,
		`{ country = ["DE", "germany"], database = "c.mmdb" }`:        `/etc/fw/p.toml:3:24: country "germany": not two letters`,
		`{ country = "DE", database = "none.mmdb" }`:                  `/etc/fw/p.toml:3:34: set "a": /etc/fw/none.mmdb: file does not exist`,
		`{ country = "DE", database = "bad.mmdb" }`:                   `/etc/fw/p.toml:3:34: set "a": database "/etc/fw/bad.mmdb": `,
		`{ country = "DE" }`:                                          `/etc/fw/p.toml:3:7: set "a": country: needs a database`,
		`{ database = "c.mmdb" }`:                                     `/etc/fw/p.toml:3:7: database: belongs to country`,
		`{ country = [], database = "c.mmdb" }`:                       `/etc/fw/p.toml:3:7: country: none is named`,
		`{ country = "DE", database = "c.mmdb", url = "https://x" }`:  `set "a": either the networks of countries or a url`,
		`{ country = "DE", database = "c.mmdb", file = "x" }`:         `set "a": either the networks of countries or a file`,
		`{ country = "D", database = "c.mmdb", refresh = "1d" }`:      `country "D": not two letters`,
		`{ country = "DE", database = "c.mmdb", dynamic = "yes" }`:    `dynamic`,
		`{ country = "DE", database = "c.mmdb", on_error = "empty" }`: `on_error: belongs to`,
	} {
		_, err := Parse("/etc/fw/p.toml", []byte("version = 1\n[sets]\na = "+text+"\n[[guard]]\ndrop = \"any\"\nfrom = \"@a\"\n"), Options{ReadFile: files})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s:\ngot  %v\nwant %s", text, err, want)
		}
	}
}
