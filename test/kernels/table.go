package main

import (
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
)

// result is how a test ended on a kernel.
type result struct {
	word string // ok, FAIL, no end, refused, skipped
	why  string
}

// table is results by test, in the order in which tests were first seen, and by kernel.
type table struct {
	kernels []string // with their versions
	tests   []string
	results map[string]map[string]result
	notes   []string // of kernels: warnings of their own
}

var (
	beganRE   = regexp.MustCompile(`^=== RUN +(Test\w+)$`)
	endedRE   = regexp.MustCompile(`^--- (PASS|FAIL|SKIP): (Test\w+) `)
	jobRE     = regexp.MustCompile(`^JOB-END (\S+) (\d+) `)
	hasRE     = regexp.MustCompile(`^HAS (.*): (\w+)$`)
	complaint = regexp.MustCompile(`WARNING:|BUG:|Oops|stall`)
	// refusal is what bpfwall says where the kernel lacks something (dataplane.UnsupportedError).
	refusal = regexp.MustCompile(`[^:"]*: not supported by this kernel \([^)]*\); it needs Linux [0-9.]+ or later`)
)

var words = map[string]string{"PASS": "ok", "FAIL": "FAIL", "SKIP": "skipped"}

// add reads the console of a kernel.
func (t *table) add(kernel, console string, some []job) {
	t.kernels = append(t.kernels, kernel)
	job, test, said := "", "", ""
	for line := range strings.Lines(console) {
		line = strings.TrimRight(line, "\n")
		said += line + "\n"
		switch {
		case strings.HasPrefix(line, "JOB-BEGIN "):
			job, said = strings.TrimPrefix(line, "JOB-BEGIN "), ""
		case beganRE.MatchString(line):
			test, said = beganRE.FindStringSubmatch(line)[1], ""
			t.set(kernel, job+" "+test, result{"no end", ""})
		case endedRE.MatchString(line):
			m := endedRE.FindStringSubmatch(line)
			t.set(kernel, job+" "+m[2], judge(words[m[1]], said))
		case jobRE.MatchString(line):
			m := jobRE.FindStringSubmatch(line)
			t.ended(kernel, m[1], m[2], said, some)
		case hasRE.MatchString(line):
			m := hasRE.FindStringSubmatch(line)
			t.set(kernel, "has "+m[1], result{m[2], ""})
		case complaint.MatchString(line):
			t.notes = append(t.notes, kernel+": "+line)
		}
	}
	for _, j := range some {
		if !strings.Contains(console, "JOB-END "+j.name+" ") {
			t.set(kernel, j.name+" (all of it)", result{"no end", "the virtual machine ended, or its time was over"})
		}
	}
}

// ended notes how a job without tests of its own ended, and what went wrong with others beside their tests.
func (t *table) ended(kernel, name, status, said string, some []job) {
	i := slices.IndexFunc(some, func(j job) bool { return j.name == name })
	if i < 0 || some[i].tests != "" {
		return
	}
	word := "ok"
	if status != "0" {
		word = "FAIL"
	}
	t.set(kernel, name, judge(word, said))
}

// judge tells refusals from failures, and finds the reason.
func judge(word, said string) result {
	if word == "ok" {
		return result{word, ""}
	}
	if r := refusal.FindString(said); r != "" && word == "FAIL" {
		return result{"refused", strings.TrimSpace(r)}
	}
	for line := range strings.Lines(said) {
		if i := strings.Index(line, "_test.go:"); i >= 0 {
			return result{word, strings.TrimSpace(line[i:])}
		}
	}
	return result{word, ""}
}

func (t *table) set(kernel, test string, r result) {
	if t.results == nil {
		t.results = map[string]map[string]result{}
	}
	if t.results[test] == nil {
		t.results[test] = map[string]result{}
		t.tests = append(t.tests, test)
	}
	t.results[test][kernel] = r
}

// print prints the table, then the reasons, and reports how many failed.
func (t *table) print(w io.Writer) (bad int) {
	width := 0
	for _, test := range t.tests {
		width = max(width, len(test))
	}
	fmt.Fprintf(w, "%-*s", width, "")
	for _, k := range t.kernels {
		fmt.Fprintf(w, "  %-8s", k)
	}
	fmt.Fprintln(w)
	var reasons []string
	for _, test := range t.tests {
		fmt.Fprintf(w, "%-*s", width, test)
		for _, k := range t.kernels {
			r := t.results[test][k]
			fmt.Fprintf(w, "  %-8s", r.word)
			if r.word == "FAIL" || r.word == "no end" {
				bad++
			}
			if r.why != "" {
				reasons = append(reasons, fmt.Sprintf("%s on %s: %s: %s", test, k, r.word, r.why))
			}
		}
		fmt.Fprintln(w)
	}
	for _, r := range append(reasons, t.notes...) {
		fmt.Fprintln(w, r)
	}
	return bad
}
