package main

import (
	"strings"
	"testing"
	"unicode"

	"github.com/bpfwall/bpfwall/ruleset"
)

// FuzzProblem: whatever a file holds and wherever a parser says the problem is, an error is printed in a few short lines without
// anything that a terminal obeys.
func FuzzProblem(f *testing.F) {
	f.Add("allow = \"htps\"\n", "m", 1, 9, 6)
	f.Add("\x1b[2J\xff\t\u202e\r\n", "\x1b", 1, 3, 999)
	f.Add(strings.Repeat("é", 900), "", 1, 1001, -4)
	f.Fuzz(func(t *testing.T, text, msg string, line, col, length int) {
		var out strings.Builder
		e := &ruleset.Error{Pos: ruleset.Pos{File: "f", Line: line, Col: col, Len: length}, Msg: msg, Hint: "hint", Help: "help"}
		renderer{w: &out, sources: map[string][]byte{"f": []byte(text)}}.problem("error:", e)
		for _, r := range strings.ReplaceAll(out.String(), "\n", "") {
			if !unicode.IsPrint(r) && r != '\u00a0' {
				t.Fatalf("%q of %q", r, out.String())
			}
		}
		for n, l := range strings.Split(out.String(), "\n") {
			if n > strings.Count(msg, "\n") && width(l) > maxExcerpt+64 {
				t.Errorf("line of %d columns: %q", width(l), l)
			}
		}
	})
}
