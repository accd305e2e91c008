package iptables

import (
	"strings"

	"github.com/bpfwall/bpfwall/ruleset"
)

// token is one argument of a rule line, as iptables-restore would hand it to iptables.
type token struct {
	text string
	pos  ruleset.Pos
}

// maxArgument is the length in bytes that iptables-restore allows for one argument, maxArguments their number in a line.
const (
	maxArgument  = 1023
	maxArguments = 252
)

// scanLine splits a line into arguments: blanks separate; double quotes may enclose blanks, and inside them a backslash takes
// the next character as it is; a closing quote ends the argument. An unclosed quote runs to the end of the line. The arguments are
// put behind those of out.
func scanLine(out []token, line string, pos ruleset.Pos) []token {
	for i := 0; i < len(line); {
		if isBlank(line[i]) {
			i++
			continue
		}
		text, n := scanArgument(line[i:])
		out = append(out, token{text, column(pos, i, n)})
		i += n
	}
	return out
}

// scanArgument reads one argument at the start of s: its text and how many bytes it takes.
func scanArgument(s string) (string, int) {
	n := 0
	for n < len(s) && s[n] != '"' && !isBlank(s[n]) {
		n++
	}
	if n < len(s) && s[n] == '"' {
		return scanQuoted(s, n)
	}
	return s[:n], n
}

// scanQuoted reads an argument whose first quote is at i.
func scanQuoted(s string, i int) (string, int) {
	var text strings.Builder
	text.WriteString(s[:i])
	quoted := false
	for ; i < len(s); i++ {
		switch c := s[i]; {
		case quoted && c == '\\' && i+1 < len(s):
			i++
			text.WriteByte(s[i])
		case quoted && c == '"':
			return text.String(), i + 1
		case c == '"':
			quoted = true
		case !quoted && isBlank(c):
			return text.String(), i
		default:
			text.WriteByte(c)
		}
	}
	return text.String(), len(s)
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' }

// column is the place n bytes wide, i bytes after pos.
func column(pos ruleset.Pos, i, n int) ruleset.Pos {
	pos.Col += i
	pos.Len = n
	return pos
}

// word cuts the first blank-separated word off s; at is where in s it starts.
func word(s string) (first string, at int, rest string) {
	at = len(s) - len(strings.TrimLeft(s, " \t"))
	end := at + len(s[at:])
	if n := strings.IndexAny(s[at:], " \t"); n >= 0 {
		end = at + n
	}
	return s[at:end], at, s[end:]
}
