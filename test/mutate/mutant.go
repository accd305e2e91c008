package main

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// mutant is one change of a source file.
type mutant struct {
	path      string
	line, col int // from 1
	at        int // byte of the file
	from, to  string
}

func (m mutant) String() string {
	return fmt.Sprintf("%s:%d:%d: %s → %s", m.path, m.line, m.col, m.from, m.to)
}

// apply is the source with the change in it.
func (m mutant) apply(src string) string { return src[:m.at] + m.to + src[m.at+len(m.from):] }

// operators are what comparisons and conjunctions become.
var operators = map[string]string{
	"<": "<=", "<=": "<", ">": ">=", ">=": ">", "==": "!=", "!=": "==", "&&": "||", "||": "&&",
}

// states are the entries of the table of TCP states; one becomes "invalid", and invalid becomes "ignored".
const states = `\b(?:NO|SS|SR|ES|FW|CW|LA|TW|CL|S2|IG|IV)\b`

var (
	token      = regexp.MustCompile(`<<|>>|->|<=|>=|==|!=|&&|\|\||[<>]|\b(?:0[xX][0-9a-fA-F]+|[0-9]+)[uUlL]*\b`)
	state      = regexp.MustCompile(states)
	isReturned = regexp.MustCompile(`return -?$`)
	// What is not code, or whose change says nothing: comments, strings, directives but for numbers that get a name, assembler, map sizes.
	notCode = regexp.MustCompile(`(?s)/\*.*?\*/|//[^\n]*|"[^"\n]*"|(?m:^#(?:include|if|ifndef|endif)[^\n]*$)|asm volatile[^;]*;|__uint\([^)]*\)`)
)

// mutantsOf finds what can be changed in a C file.
func mutantsOf(path, src string) []mutant {
	code := notCode.ReplaceAllStringFunc(src, func(s string) string { return strings.Repeat(" ", len(s)) })
	var out []mutant
	add := func(at, end int, to string) {
		before := src[:at]
		out = append(out, mutant{path, 1 + strings.Count(before, "\n"), at - strings.LastIndexByte(before, '\n'), at, src[at:end], to})
	}
	for _, m := range token.FindAllStringIndex(code, -1) {
		to := changed(code[m[0]:m[1]])
		if isReturned.MatchString(code[:m[0]]) && to == "2" {
			to = "0" // any number but 0 is the same to most callers
		}
		if to != "" {
			add(m[0], m[1], to)
		}
	}
	table := strings.Index(code, "tcp_next[2]")
	if table < 0 {
		return out
	}
	end := table + strings.Index(code[table:], "};")
	for _, m := range state.FindAllStringIndex(code[table:end], -1) {
		to := "IV"
		if code[table+m[0]:table+m[1]] == "IV" {
			to = "IG"
		}
		add(table+m[0], table+m[1], to)
	}
	return out
}

// changed is what becomes of a token; "" if it stays.
func changed(t string) string {
	if t[0] < '0' || t[0] > '9' {
		return operators[t]
	}
	digits := strings.TrimRight(t, "uUlL")
	v, err := strconv.ParseUint(digits, 0, 64)
	if err != nil {
		return ""
	}
	if strings.HasPrefix(digits, "0x") {
		return fmt.Sprintf("%#x%s", v+1, t[len(digits):])
	}
	return fmt.Sprintf("%d%s", v+1, t[len(digits):])
}
