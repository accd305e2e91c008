package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestSets changes and looks at sets by hand, as an administrator does.
func TestSets(t *testing.T) {
	_, at := host(t)
	status := http.StatusOK
	list := "203.0.113.0/24 # a comment\n; another\n198.51.100.1-198.51.100.6\n"
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = w.Write([]byte(list))
	}))
	defer server.Close()
	local := write(t, "local.txt", "192.0.2.0/24\n")
	policy := write(t, "sets.toml", `version = 1
[sets]
banned = { dynamic = true, timeout = "1h", max = 1000 }
feed   = { url = "`+server.URL+`", refresh = "6h" }
local  = { file = "`+local+`", refresh = "1d", on_error = "empty" }
[[guard]]
name = "bad"
drop = "any"
from = ["@banned", "@feed", "@local"]
`)
	explain := func(from, verdict string) {
		t.Helper()
		at("explain", "tcp", from, "to", "192.0.2.1:7777", "in", "lan0").want(t, 0, "verdict "+verdict)
	}
	at("apply", "--yes", policy).want(t, 0, `set "feed": its list was never fetched`, "bpfwall set refresh feed")
	explain("203.0.113.9", "DROP   ") // by default
	at("set", "refresh").want(t, 0, "@feed: 5 networks, 5 new, 0 gone", "@local: 1 network, 1 new, 0 gone")
	at("set", "refresh").want(t, 0, "nothing is due")
	at("set", "test", "feed", "198.51.100.5").want(t, 0, "198.51.100.5 is in @feed (feed)")
	at("set", "test", "feed", "198.51.100.7").want(t, exitTest, "is not in @feed")

	list = "203.0.113.0/24\n10.0.0.0/8x\n"
	at("set", "refresh", "feed").want(t, exitPolicy, server.URL+":2:1", "last list stays (5 networks)")
	list, status = "", http.StatusNotFound
	at("set", "refresh", "feed").want(t, exitFailed, "404", "last list stays")
	at("set", "test", "feed", "203.0.113.1").want(t, 0, "is in @feed")
	if err := os.Remove(local); err != nil {
		t.Fatal(err)
	}
	at("set", "refresh", "local").want(t, exitFailed, "local.txt")
	at("set", "test", "local", "192.0.2.9").want(t, exitTest)

	at("set", "add", "banned", "10.7.0.0/16", "10.9.9.9", "2001:db8::/48", "--timeout", "2h", "--comment", "ssh guesses").want(t, 0, "added 3 elements to @banned")
	at("set", "add", "banned", "10.9.9.9").want(t, 0, "added 0 elements to @banned, 1 there before")
	many := write(t, "many.txt", strings.Repeat("10.1.2.3\n", 3)+"10.1.2.4 # x\n")
	at("set", "add", "banned", "--file", many).want(t, 0, "added 2 elements")
	at("set", "show", "banned").want(t, 0, "10.7.0.0/16", "expires in 2h0m0s", "ssh guesses", "10.1.2.4", "expires in 1h0m0s")
	at("set", "test", "banned", "10.7.3.3").want(t, 0, "by 10.7.0.0/16 (elements)")
	at("set", "list").want(t, 0, "0 + 5 of 1 000", "list of 5", "dynamic")
	at("set", "del", "banned", "10.7.0.0/16", "1.1.1.1").want(t, 0, "removed 1 element from @banned, 1 not in it")
	at("set", "add", "banned", "10.0.0.0/8/8").want(t, exitUsage, "element:1:1", "10.0.0.0/8/8")
	at("set", "add", "feed", "10.0.0.1").want(t, exitRefused, "not dynamic", "dynamic = true")
	at("set", "add", "nobody", "10.0.0.1").want(t, exitFailed, "no such set", "set list")
	bad := filepath.Join(t.TempDir(), "bad.txt")
	if err := os.WriteFile(bad, []byte("10.0.0.1\n\n  10.0.0.2/33\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	at("set", "add", "banned", "--file", bad).want(t, exitPolicy, "bad.txt:3:3")

	at("apply", "--yes", policy).want(t, 0)
	at("set", "test", "banned", "10.9.9.9").want(t, 0, "elements")
	at("set", "flush", "banned").want(t, 0, "removed 4 elements from @banned")
}
