package policies

import (
	"strings"
	"testing"

	"github.com/bpfwall/bpfwall/ruleset"
)

const livePolicy = `version = 1
[sets]
admins   = ["192.0.2.0/24"]
banned   = { dynamic = true, timeout = "1h", max = 1000, counters = true, members = ["198.51.100.0/24", "@admins"] }
spamhaus = { url = "https://lists.example.net/drop.txt", refresh = "6h", on_error = "empty", max = 200000 }
local    = { file = "/lists/local.txt", refresh = "1d" }
seen     = { dynamic = true }

[[guard]]
drop = "any"
from = ["@spamhaus", "10.0.0.0/8", "@banned", "@admins", "@local"]

[[inbound]]
name  = "ssh"
allow = "ssh"
limit = "6/minute"
over  = "ban 1h in @banned"

[[inbound]]
name = "trap"
drop = "tcp/23"
ban  = "@banned"

[[inbound]]
name     = "knock"
continue = "udp/7000"
change   = ["add source to @seen for 10m", "renew destination in @seen for good", "delete source from @banned"]
`

// TestLiveSets: what a policy says of sets that change at run time, as the ruleset has it and as it is written again.
func TestLiveSets(t *testing.T) {
	p, err := Parse("p.toml", []byte(livePolicy), Options{})
	if err != nil {
		t.Fatal(err)
	}
	text := p.Ruleset.String()
	for _, want := range []string{
		"set banned: 198.51.100.0/24,192.0.2.0/24; dynamic, at most 1000, for 1h0m0s, counted",
		"set spamhaus: empty; live, at most 200000, from https://lists.example.net/drop.txt",
		"set local: empty; live, at most 65536, from /lists/local.txt",
		"from 10.0.0.0/8,192.0.2.0/24,@spamhaus,@banned,@local: drop",
		"tcp to port 22: add source to @banned for 1h0m0s, anew each time, drop  # ssh/over",
		"tcp to port 23: add source to @banned, anew each time, drop  # trap",
		"udp to port 7000: add source to @seen for 10m0s, add destination to @seen for good, anew each time, delete source from @banned",
	} {
		if !strings.Contains(strings.ReplaceAll(text, `"https://lists.example.net/drop.txt"`, "https://lists.example.net/drop.txt"), want) {
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

// rewritten is a ruleset written as a policy, and read again.
func rewritten(t *testing.T, rs *ruleset.Ruleset) *ruleset.Ruleset {
	t.Helper()
	written, err := Write(rs, "")
	if err != nil {
		t.Fatal(err)
	}
	again, err := Parse("again.toml", written, Options{})
	if err != nil {
		t.Fatalf("%v\n%s", err, written)
	}
	return again.Ruleset
}

// TestLiveSetErrors: each of these is refused, for this reason.
func TestLiveSetErrors(t *testing.T) {
	for text, want := range map[string]string{
		`a = { timeout = "1h", file = "x" }`:                        "p.toml:3:7: set \"a\": timeout: only dynamic sets have one",
		`a = { url = "ftp://x" }`:                                   `p.toml:3:13: url "ftp://x": not an http or https address`,
		`a = { url = "https://x", file = "y" }`:                     "p.toml:3:26: a set has either a file or a url",
		`a = { dynamic = true, max = 0 }`:                           "p.toml:3:29: max 0: not from 1 to 16777216",
		`a = { dynamic = true, refresh = "1h" }`:                    "refresh: belongs to url, file or country",
		`a = { url = "https://x", on_error = "kep" }`:               `unknown word "kep"`,
		"a = { dynamic = true }\nb = [\"@a\"]":                      `set "a" changes at run time, so that it cannot be a part of another`,
		"a = []\n[[inbound]]\ndrop = \"any\"\nban = \"@a\"":         `set "a": rules cannot change it`,
		"[[inbound]]\ndrop = \"any\"\nban = \"1x in @a\"":           `"1x": not a time`,
		"[[inbound]]\ndrop = \"any\"\nchange = \"add all to @a\"":   `"add all to @a": not a change of a set`,
		"[[inbound]]\ndrop = \"any\"\nchange = \"add source to a\"": `"add source to a": names no set`,
	} {
		src := "version = 1\n[sets]\n" + text
		if _, err := Parse("p.toml", []byte(src), Options{ReadFile: func(string) ([]byte, error) { return nil, nil }}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s:\ngot  %v\nwant %s", text, err, want)
		}
	}
}
