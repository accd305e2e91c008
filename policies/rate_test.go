package policies

import (
	"testing"
)

// TestRates: a rate means what the ruleset says of it, and is written as it is read.
func TestRates(t *testing.T) {
	for _, c := range []struct{ text, means, written string }{
		{"6/minute", "6/minute burst 5", ""},
		{"10/second per source", "10/second per source/32/64 burst 5", ""},
		{"10/second per source/24 burst 20", "10/second per source/24/64 burst 20", ""},
		{"10/second per source/32/64", "10/second per source/32/64 burst 5", "10/second per source"},
		{"10/second per destination/24/56 and source port", "10/second per destination/24/56 and source port burst 5", ""},
		{"1/hour per source and destination and destination port burst 3 idle 10s as web", "1/hour per source/32/64 and destination/32/64 and destination port burst 3 idle 10s as web", "1/hour per source and destination and destination port burst 3 idle 10s as web"},
		{"1/hour per source as a%20b", `1/hour per source/32/64 burst 5 as "a b"`, ""},
		{"2MB/second per source", "2000000B/second per source/32/64 burst 2000000B", ""},
		{"2MB/1m30s burst 64kB", "2000000B/90000000000ns burst 64000B", ""},
	} {
		l, problem := parseLimit(c.text)
		if problem != "" {
			t.Errorf("%s: %s", c.text, problem)
			continue
		}
		want := c.written
		if want == "" {
			want = c.text
		}
		if got := l.String(); got != c.means {
			t.Errorf("%s means %s, want %s", c.text, got, c.means)
		}
		if got := limitText(l); got != want {
			t.Errorf("%s is written %s, want %s", c.text, got, want)
		}
	}
}

func TestBadRates(t *testing.T) {
	for _, s := range []string{
		"", "10", "0/second", "10/second per", "10/second per source and", "10/second per source/33", "10/second per source/24/129", "10/second per source/24 port",
		"10/second burst", "10/second burst 5kB", "5kB/second burst 5", "10/second idle", "10/second idle -1s", "10/second as %zz", "10/second every now", "10/second per moon",
	} {
		if l, problem := parseLimit(s); problem == "" {
			t.Errorf("%q is read as %s", s, l)
		}
	}
}

// TestAbove: a rule with above is for what a limit does not hold for.
func TestAbove(t *testing.T) {
	p, err := Parse("p.toml", []byte("version = 1\n[[guard]]\nname = \"flood\"\ndrop = \"any\"\nabove = \"20/second per source\"\n"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range p.Ruleset.Chains {
		for _, r := range c.Rules {
			if r.Name == "flood" {
				if got, want := r.String(), "limit not 20/second per source/32/64 burst 5: drop"; got != want {
					t.Errorf("got %q, want %q", got, want)
				}
				return
			}
		}
	}
	t.Errorf("no such rule in\n%s", p.Ruleset)
}
