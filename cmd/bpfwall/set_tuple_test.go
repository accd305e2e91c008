package main

import (
	"bytes"
	"net"
	"os"
	"testing"

	"github.com/maxmind/mmdbwriter"
	"github.com/maxmind/mmdbwriter/mmdbtype"
)

// TestTupleSetsByHand changes and looks at sets of several parts.
func TestTupleSetsByHand(t *testing.T) {
	_, at := host(t)
	policy := write(t, "pairs.toml", `version = 1
[sets]
pairs = { parts = ["address", "port"], dynamic = true, max = 100, members = ["203.0.113.1,tcp/443"] }
[[guard]]
name  = "bad"
drop  = "any"
match = "source, destination port in @pairs"
[[inbound]]
name  = "web"
allow = "any"
`)
	at("apply", "--yes", policy).want(t, 0)
	at("set", "add", "pairs", "203.0.113.9,tcp/80", "2001:db8::/48,udp/53", "203.0.113.0/24,icmp/8/0", "--timeout", "2h", "--comment", "guesses").want(t, 0, "added 3 elements to @pairs")
	list := write(t, "more.txt", "203.0.113.9,tcp/81 # x\n203.0.113.9,tcp/80\n")
	at("set", "add", "pairs", "--file", list).want(t, 0, "added 1 element to @pairs, 1 there before")
	at("set", "show", "pairs").want(t, 0, "203.0.113.1,tcp/443", "203.0.113.9,tcp/80", "2001:db8::/48,udp/53", "203.0.113.0/24,icmp/8/0", "guesses", "expires in 2h0m0s")
	at("set", "show", "pairs", "--json").want(t, 0, `"element": "203.0.113.9,tcp/81"`)
	at("set", "test", "pairs", "203.0.113.9,tcp/80").want(t, 0, "203.0.113.9,tcp/80 is in @pairs (elements)")
	at("set", "test", "pairs", "203.0.113.1,tcp/443").want(t, 0, "(members)")
	at("set", "test", "pairs", "203.0.113.77,icmp/8/0").want(t, 0, "by 203.0.113.0/24,icmp/8/0 (elements)")
	at("set", "test", "pairs", "203.0.113.9,tcp/82").want(t, exitTest, "is not in @pairs")
	at("set", "test", "pairs", "203.0.113.9").want(t, exitUsage, "not address,port")
	at("explain", "tcp", "203.0.113.9", "to", "192.0.2.1:80", "in", "lan0").want(t, 0, "verdict DROP")
	at("explain", "tcp", "203.0.113.9", "to", "192.0.2.1:82", "in", "lan0").want(t, 0, "verdict ACCEPT")
	at("set", "add", "pairs", "203.0.113.9").want(t, exitUsage, `element "203.0.113.9": not address,port`)
	bad := write(t, "bad.txt", "203.0.113.9,tcp/81\n\n  203.0.113.9,foo/81\n")
	at("set", "add", "pairs", "--file", bad).want(t, exitPolicy, "bad.txt:3:3", `"foo" is no protocol`)
	at("set", "del", "pairs", "203.0.113.9,tcp/80", "203.0.113.9,tcp/1").want(t, 0, "removed 1 element from @pairs, 1 not in it")
	at("explain", "tcp", "203.0.113.9", "to", "192.0.2.1:80", "in", "lan0").want(t, 0, "verdict ACCEPT")
	at("set", "flush", "pairs").want(t, 0, "removed 3 elements")
}

// TestCountryRefresh reads the networks of a country anew, while the rules stay.
func TestCountryRefresh(t *testing.T) {
	_, at := host(t)
	database := write(t, "c.mmdb", string(countryDatabase(t, "203.0.113.0/24", "KP")))
	policy := write(t, "closed.toml", `version = 1
[sets]
closed = { country = ["KP"], database = "`+database+`", refresh = "1d" }
[[guard]]
drop = "any"
from = "@closed"
`)
	at("apply", "--yes", policy).want(t, 0, `set "closed": its list was never fetched`)
	at("set", "refresh").want(t, 0, "@closed: 1 network, 1 new, 0 gone")
	at("set", "test", "closed", "203.0.113.9").want(t, 0, "(feed)")
	if err := os.WriteFile(database, countryDatabase(t, "198.51.100.0/24", "DE"), 0o600); err != nil {
		t.Fatal(err)
	}
	at("set", "refresh", "closed").want(t, exitFailed, `has no networks of ["KP"]`, "last list stays (1 network)")
	if err := os.WriteFile(database, []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	at("set", "refresh", "closed").want(t, exitFailed, "not a MaxMind database", "last list stays")
	at("set", "test", "closed", "203.0.113.9").want(t, 0, "(feed)")
}

// countryDatabase is a database of one network.
func countryDatabase(t *testing.T, network, code string) []byte {
	t.Helper()
	w, err := mmdbwriter.New(mmdbwriter.Options{DatabaseType: "Test-Country", IncludeReservedNetworks: true})
	if err != nil {
		t.Fatal(err)
	}
	_, n, err := net.ParseCIDR(network)
	if err == nil {
		err = w.Insert(n, mmdbtype.Map{"country": mmdbtype.Map{"iso_code": mmdbtype.String(code)}})
	}
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if _, err := w.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
