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
	key       string // says which one it is, wherever its line goes
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

// tables are the tables of states: how they begin, their entries, and what one becomes, or, if it is that already, the other.
var tables = []struct {
	begin     string
	entry     *regexp.Regexp
	to, other string
}{
	{"tcp_next[2]", regexp.MustCompile(`\b(?:NO|SS|SR|ES|FW|CW|LA|TW|CL|S2|IG|IV)\b`), "IV", "IG"},
	{"sctp_next[2]", regexp.MustCompile(`\b(?:CD|CK|EC|ET|SN|RD|AS|HS|XX)\b`), "XX", "ET"},
}

var (
	token      = regexp.MustCompile(`<<|>>|->|<=|>=|==|!=|&&|\|\||[<>]|\b(?:0[xX][0-9a-fA-F]+|[0-9]+)[uUlL]*\b`)
	isReturned = regexp.MustCompile(`return -?$`)
	// What is not code, or whose change says nothing: comments, strings, directives but for numbers that get a name, assembler, map sizes.
	notCode = regexp.MustCompile(`(?s)/\*.*?\*/|//[^\n]*|"[^"\n]*"|(?m:^#(?:include|if|ifndef|endif)[^\n]*$)|asm volatile[^;]*;|__uint\([^)]*\)`)
)

// mutantsOf finds what can be changed in a C file.
func mutantsOf(path, src string) []mutant {
	code := notCode.ReplaceAllStringFunc(src, blank)
	var out []mutant
	add := func(at, end int, to string) {
		before := src[:at]
		out = append(out, mutant{path: path, line: 1 + strings.Count(before, "\n"), col: at - strings.LastIndexByte(before, '\n'), at: at,
			from: src[at:end], to: to})
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
	for _, t := range tables {
		begin := strings.Index(code, t.begin)
		if begin < 0 {
			continue
		}
		end := begin + strings.Index(code[begin:], "};")
		for _, m := range t.entry.FindAllStringIndex(code[begin:end], -1) {
			to := t.to
			if code[begin+m[0]:begin+m[1]] == to {
				to = t.other
			}
			add(begin+m[0], begin+m[1], to)
		}
	}
	setKeys(code, out)
	return out
}

// blank keeps what is no code from being looked at, and all else where it is.
func blank(s string) string {
	b := []byte(s)
	for i := range b {
		if b[i] != '\n' {
			b[i] = ' '
		}
	}
	return string(b)
}

// function is a line that begins one, or something else that has a name.
var function = regexp.MustCompile(`^[a-z_].*?\b(\w+)(?:\(| *\[| *\{)`)

// setKeys tells mutants apart by file, function, line of code and change, and by their number if that is not enough.
func setKeys(code string, all []mutant) {
	lines, in, name := strings.Split(code, "\n"), make([]string, 0), ""
	for _, l := range lines {
		if m := function.FindStringSubmatch(l); m != nil {
			name = m[1]
		}
		in = append(in, name)
	}
	seen := map[string]int{}
	for i, m := range all {
		text := strings.Join(strings.Fields(lines[m.line-1]), " ")
		key := fmt.Sprintf("%s %s: %s [%s → %s", strings.TrimPrefix(m.path, "bpf/"), in[m.line-1], text, m.from, m.to)
		seen[key]++
		if n := seen[key]; n > 1 {
			key += fmt.Sprintf(" #%d", n)
		}
		all[i].key = key + "]"
	}
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
