package iptables

import (
	"fmt"
	"sort"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Text is the report for people: the counts, and every rule that is not the same as before.
func (r *Report) Text() string {
	var b strings.Builder
	r.writeSummary(&b)
	for _, note := range r.Notes {
		fmt.Fprintf(&b, "%s\n", note)
	}
	for _, e := range r.Rules {
		if e.Status == NotDone {
			e.write(&b)
		}
	}
	return b.String()
}

func (r *Report) writeSummary(b *strings.Builder) {
	var files []string
	for _, f := range r.Files {
		files = append(files, fmt.Sprintf("%s (%s, %s)", f.Name, f.Family, plural(f.Rules, "rule")))
	}
	fmt.Fprintf(b, "reading %s\n", join(files))
	fmt.Fprintf(b, "  %-12s%5d\n", "exact", r.Summary.Exact)
	fmt.Fprintf(b, "  %-12s%5d\n", "rewritten", r.Summary.Rewritten)
	for _, e := range r.Rules {
		if e.Status == Rewritten {
			fmt.Fprintf(b, "      %s:%d  %s\n", e.Pos.File, e.Pos.Line, e.Why)
		}
	}
	fmt.Fprintf(b, "  %-12s%5d\n", "NOT DONE", r.Summary.NotDone)
	if left := r.kernelTables(); left != "" {
		fmt.Fprintf(b, "  left to the kernel, where they stay loaded: %s\n", left)
	}
}

// kernelTables lists the tables that are not imported, with their rules.
func (r *Report) kernelTables() string {
	var names []string
	for name := range r.Summary.Kernel {
		names = append(names, name)
	}
	sort.Strings(names)
	for i, name := range names {
		names[i] = fmt.Sprintf("%s (%s)", name, plural(r.Summary.Kernel[name], "rule"))
	}
	return join(names)
}

func plural(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// write shows a rule that is left out, with the part that has no equivalent underlined.
func (e Entry) write(b *strings.Builder) {
	number := fmt.Sprint(e.Pos.Line)
	margin := strings.Repeat(" ", len(number)+2)
	before := shown(e.Text[:min(max(e.Mark.Col-e.Pos.Col, 0), len(e.Text))])
	indent := strings.Repeat(" ", utf8.RuneCountInString(before))
	fmt.Fprintf(b, "%s: error: %s\n", e.Mark, e.Why)
	fmt.Fprintf(b, "%s|\n %s | %s\n", margin, number, shown(e.Text))
	fmt.Fprintf(b, "%s| %s%s left out: %s\n", margin, indent, strings.Repeat("^", max(e.Mark.Len, 1)), e.effectText())
}

// shown is text fit for a terminal: what could steer it, and tabs, become a question mark or a blank.
func shown(s string) string {
	return strings.Map(func(c rune) rune {
		switch {
		case c == '\t':
			return ' '
		case !unicode.IsPrint(c) || c == utf8.RuneError:
			return '?'
		}
		return c
	}, s)
}

// effectText says what leaving the rule out does.
func (e Entry) effectText() string {
	switch e.Effect {
	case Widens:
		return "WIDENS ACCESS (packets that it stopped may pass)"
	case Narrows:
		return "narrows access (packets that it let pass may be stopped)"
	case Either:
		return "MAY WIDEN OR NARROW ACCESS"
	}
	return "no packet gets another verdict"
}
