package policies

import (
	"strings"
	"testing"
)

const tuplePolicy = `version = 1
[sets]
pairs  = { parts = ["address", "port"], members = ["192.0.2.1,tcp/80", "2001:db8::/32,udp/53", "192.0.2.2,icmp/8/0"] }
banned = { parts = ["address", "port"], dynamic = true, timeout = "1h", max = 1000 }
ways   = { parts = ["port", "address", "address"], dynamic = true, members = ["tcp/443,192.0.2.1,198.51.100.0/24"] }

[[guard]]
drop  = "any"
match = "source, destination port in @pairs"

[[inbound]]
name  = "web"
allow = "https"
limit = "6/minute"
over  = "ban 10m in @banned"
match = "!source, destination port in @banned"

[[inbound]]
name     = "knock"
continue = "tcp/7000"
change   = ["add destination port, source, destination to @ways for 10m", "delete source, source port from @banned", "renew source, destination port in @banned for good"]
`

// TestTupleSets: sets of several parts as the ruleset has them, and as they are written again.
func TestTupleSets(t *testing.T) {
	p, err := Parse("p.toml", []byte(tuplePolicy), Options{})
	if err != nil {
		t.Fatal(err)
	}
	text := p.Ruleset.String()
	for _, want := range []string{
		"set pairs: of address,port: 192.0.2.1,tcp/80 2001:db8::/32,udp/53 192.0.2.2,icmp/8/0\n",
		"set banned: of address,port: empty; dynamic, at most 1000, for 1h0m0s\n",
		"set ways: of port,address,address: tcp/443,192.0.2.1,198.51.100.0/24; dynamic",
		"source, destination port in @pairs: drop",
		"source, destination port not in @banned",
		"add source, destination port to @banned for 10m0s, anew each time, drop  # web/over",
		"add destination port, source, destination to @ways for 10m0s, delete source, source port from @banned, add source, destination port to @banned for good, anew each time",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("not there: %s\n%s", want, text)
		}
	}
	again := rewritten(t, p.Ruleset)
	for i, s := range p.Ruleset.Sets {
		if got := again.Sets[i].String(); got != s.String() {
			t.Errorf("written: %s, want %s", got, s)
		}
	}
}

// TestTupleSetErrors: each of these is refused, for this reason.
func TestTupleSetErrors(t *testing.T) {
	const rule = "\n[[inbound]]\ndrop = \"any\"\n"
	for text, want := range map[string]string{
		`a = { parts = ["address", "prot"] }`:                                                                 `p.toml:3:27: unknown part "prot"`,
		`a = { parts = [] }`:                                                                                  `parts: none is named`,
		`a = { parts = ["address", "port"], members = ["192.0.2.1"] }`:                                        `p.toml:3:47: element "192.0.2.1": not address,port, with commas between them`,
		`a = { parts = ["address", "port"], members = ["192.0.2.1,tcp/x"] }`:                                  `"tcp/x" is no port; write tcp/80, icmp/8/0 or gre`,
		`a = { parts = ["address", "address"], members = ["10.0.0.0/8,10.0.0.1"] }`:                           `of two addresses, only the second may be a network`,
		`a = { parts = ["address", "address"], members = ["10.0.0.1,2001:db8::1"] }`:                          `addresses of two families`,
		`a = { parts = ["address", "port", "protocol"], members = ["10.0.0.1,tcp/1,tcp"] }`:                   `a port has its protocol with it`,
		`a = { parts = ["address", "port"], url = "https://x" }`:                                              `url: lists of elements of several parts are not read`,
		`a = { parts = ["address", "port"], dynamic = true }` + rule + `from = "@a"`:                          `set "a": its elements have several parts`,
		`a = { parts = ["address", "port"], dynamic = true }` + rule + `from = ["10.0.0.1", "@a"]`:            `set "a": its elements have several parts`,
		`a = { parts = ["address", "port"] }` + "\nb = [\"@a\"]":                                              `set "a": its elements have several parts`,
		`a = ["10.0.0.1"]` + rule + `match = "source, destination port in @a"`:                                `set "a": its elements are addresses, and have no parts`,
		`a = { parts = ["address", "port"] }` + rule + `match = "destination port, source in @a"`:             `set "a": destination port is no address`,
		`a = { parts = ["address", "port"] }` + rule + `match = "source in @a"`:                               `set "a": 1 fields for the parts address,port`,
		`a = { parts = ["address", "port"] }` + rule + `match = "source, size in @a"`:                         `not fields in a set`,
		`a = { parts = ["address", "port"] }` + rule + `ban = "@a"`:                                           `set "a": rules cannot change it`,
		`a = { parts = ["address", "mac"], dynamic = true }` + "\n[[outbound]]\ndrop = \"any\"\nban = \"@a\"": `source mac: not known on hook output`,
	} {
		if _, err := Parse("p.toml", []byte("version = 1\n[sets]\n"+text), Options{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s:\ngot  %v\nwant %s", text, err, want)
		}
	}
}
