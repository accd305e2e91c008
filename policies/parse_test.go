package policies_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/bpfwall/bpfwall/policies"
	"github.com/bpfwall/bpfwall/ruleset"
)

// broken are files with mistakes, and what is said of each: line:col+len message.
var broken = []struct {
	name, src string
	want      []string
}{
	{"unknown service", "version = 1\n[[inbound]]\nallow = [\"http\", \"htps\"]\n", []string{`3:18+6 unknown service "htps" did you mean "https"?`}},
	{"two verbs", "version = 1\n[[inbound]]\nallow = \"ssh\"\ndrop = \"ntp\"\n", []string{`4:1+4 rule has two actions: allow and drop`}},
	{"no verb", "version = 1\n[[inbound]]\nfrom = \"10.0.0.1\"\n", []string{`2:3+7 rule has no action`}},
}

func TestBroken(t *testing.T) {
	for _, c := range broken {
		t.Run(c.name, func(t *testing.T) {
			_, err := policies.Parse("p.toml", []byte(c.src), policies.Options{})
			var list ruleset.ErrorList
			errors.As(err, &list)
			var got []string
			for _, e := range list {
				got = append(got, strings.TrimSpace(fmt.Sprintf("%d:%d+%d %s %s", e.Pos.Line, e.Pos.Col, e.Pos.Len, e.Msg, e.Hint)))
			}
			if g, w := strings.Join(got, "\n"), strings.Join(c.want, "\n"); g != w {
				t.Errorf("got:\n%s\nwant:\n%s", g, w)
			}
		})
	}
}
