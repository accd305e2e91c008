package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bpfwall/bpfwall/ruleset"
)

func TestProblem(t *testing.T) {
	long := strings.Repeat("a", 300) + " bad " + strings.Repeat("b", 300)
	tests := []struct {
		name, source string
		err          ruleset.Error
		want         string
	}{
		{
			"caret and help", "x = 1\nallow = [\"http\", \"htps\"]\n",
			ruleset.Error{Pos: ruleset.Pos{File: "f", Line: 2, Col: 18, Len: 6}, Msg: "unknown service", Hint: `did you mean "https"?`, Help: "look"},
			"f:2:18: error: unknown service\n   |\n 2 | allow = [\"http\", \"htps\"]\n" +
				"   |                  ^^^^^^ did you mean \"https\"?\n  = help: look\n",
		},
		{
			"escape sequences stay text", "\x1b[2Jok \xff\tz\n",
			ruleset.Error{Pos: ruleset.Pos{File: "f", Line: 1, Col: 10, Len: 1}, Msg: "bad \x1b[31m"},
			"f:1:10: error: bad \\x1b[31m\n   |\n 1 | \\x1b[2Jok \\xff z\n   |                ^\n",
		},
		{
			"right-to-left override is spelt out", "a\u202eb\n",
			ruleset.Error{Pos: ruleset.Pos{File: "f", Line: 1}, Msg: "m"},
			"f:1: error: m\n   |\n 1 | a\\u202eb\n",
		},
		{
			"a long line is cut around the place", long + "\n",
			ruleset.Error{Pos: ruleset.Pos{File: "f", Line: 1, Col: 302, Len: 3}, Msg: "m"},
			"f:1:302: error: m\n   |\n 1 | …" + strings.Repeat("a", 39) + " bad " + strings.Repeat("b", 114) + "…\n   | " + strings.Repeat(" ", 41) + "^^^\n",
		},
		{
			"no such line", "x\n", ruleset.Error{Pos: ruleset.Pos{File: "f", Line: 9}, Msg: "m", Help: "h"}, "f:9: error: m\n   = help: h\n",
		},
		{"no place", "", ruleset.Error{Msg: "m"}, "error: m\n"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var out strings.Builder
			renderer{w: &out, sources: map[string][]byte{"f": []byte(test.source)}}.problem("error:", &test.err)
			if diff := cmp.Diff(test.want, out.String()); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}
