package policies

import (
	"strings"
	"testing"

	"github.com/bpfwall/bpfwall/ruleset"
)

// TestRemembering: conditions that depend on the packets before mean what they say, in the order of the table and behind all others.
func TestRemembering(t *testing.T) {
	for _, c := range []struct{ rule, means string }{
		{`drop = "udp/53", sample = "1 of 10"`, "udp to port 53 sample 1 of 10: drop"},
		{`drop = "any", sample = "!1 of 4 after 3"`, "sample not 1 of 4 after 3: drop"},
		{`drop = "any", sample = "12.5%"`, "sample 12.5%: drop"},
		{`allow = "http", quota = "2GB"`, "tcp to port 80 quota 2000000000B: accept\ntcp to port 80: drop"},
		{`allow = "http", quota = "2GB", over = "reject"`, "tcp to port 80 quota 2000000000B: accept\ntcp to port 80: reject"},
		{`drop = "http", quota = "!1kB"`, "tcp to port 80 quota not 1000B: drop"},
		{`drop = "any", limit = "1/second", over = "next", quota = "5B", sample = "1 of 2", from = "10.0.0.1"`, "from 10.0.0.1 sample 1 of 2 quota 5B limit 1/second burst 5: drop"},
		{`drop = "any", sample = "1 of 2", after_limit = [{ dport = "1", sample = "1 of 3", above = "1/hour" }, { sample = "1 of 4" }]`,
			"sample 1 of 2 to port 1 sample 1 of 3 limit not 1/hour burst 5 sample 1 of 4: drop"},
		{`log_only = "any", quota = "9B"`, `quota 9B: log ""`},
	} {
		p, err := Parse("p.toml", []byte("version = 1\n[defaults]\nstate = \"explicit\"\nessentials = \"none\"\n[rules]\ninbound = [{ "+c.rule+" }]\n"), Options{})
		if err != nil {
			t.Errorf("%s: %v", c.rule, err)
			continue
		}
		var rules []string
		for _, r := range p.Ruleset.Base(ruleset.HookInput, ruleset.FamilyIPv4)[0].Rules {
			rules = append(rules, r.String())
		}
		if got := strings.Join(rules, "\n"); got != c.means {
			t.Errorf("%s means\n%s\nwant\n%s", c.rule, got, c.means)
		}
		for i, r := range rewritten(t, p.Ruleset).Base(ruleset.HookInput, ruleset.FamilyIPv4)[0].Rules {
			if r.String() != rules[i] {
				t.Errorf("%s is written as what means %s", c.rule, r)
			}
		}
	}
}

func TestBadRemembering(t *testing.T) {
	for _, rule := range []string{
		`drop = "any", sample = "1"`, `drop = "any", sample = "2 of 3"`, `drop = "any", sample = "1 of 3 after 3"`, `drop = "any", sample = "1 of x"`, `drop = "any", sample = "101%"`, `drop = "any", sample = "NaN%"`,
		`drop = "any", quota = "5", over = "next"`, `drop = "any", quota = "99999999999GB", over = "next"`, `drop = "any", quota = "5B"`, `allow = "any", quota = "!5B", over = "drop"`,
		`drop = "any", sample = "1 of 2", over = "next"`, `drop = "any", after_limit = [{ sample = "1 of 2" }]`, `allow = "any", quota = "5B", after_limit = [{ dport = "1" }]`,
		`drop = "any", also = [{ sample = "1 of 2" }]`,
	} {
		p, err := Parse("p.toml", []byte("version = 1\n[rules]\ninbound = [{ "+rule+" }]\n"), Options{})
		if err == nil {
			t.Errorf("%s is read as\n%s", rule, p.Ruleset)
		}
	}
}
