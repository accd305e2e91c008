package main

import (
	"strings"
	"testing"
)

// writes hands on what is written.
type writes chan string

func (w writes) Write(b []byte) (int, error) {
	w <- string(b)
	return len(b), nil
}

func TestProgress(t *testing.T) {
	w := make(writes)
	a := &app{progress: newProgress(w, "applying 3 rules", 0)}
	if got := <-w; !strings.HasPrefix(got, eraseLine+"applying 3 rules … ") || !strings.HasSuffix(got, " s") {
		t.Errorf("got %q", got)
	}
	go a.step("compile", 3, 12)
	for got := range w {
		if strings.HasPrefix(got, eraseLine+"applying 3 rules: compile (3 of 12) … ") {
			break
		}
	}
	go func() {
		a.progress.end()
		close(w)
	}()
	var last string
	for got := range w {
		last = got
	}
	if last != eraseLine {
		t.Errorf("at last %q, want %q", last, eraseLine)
	}
}

// The line is for people who wait at a terminal.
func TestProgressForPeople(t *testing.T) {
	tests := []struct {
		name string
		app  app
		term string
		want bool
	}{
		{"a terminal", app{env: &env{terminal: [3]bool{2: true}}}, "xterm", true},
		{"a file", app{env: &env{terminal: [3]bool{0: true, 1: true}}}, "xterm", false},
		{"a terminal that cannot erase", app{env: &env{terminal: [3]bool{2: true}}}, "dumb", false},
		{"--quiet", app{env: &env{terminal: [3]bool{2: true}}, quiet: true}, "xterm", false},
		{"--json", app{env: &env{terminal: [3]bool{2: true}}, json: true}, "xterm", false},
	}
	for _, test := range tests {
		var said strings.Builder
		test.app.stderr, test.app.getenv = &said, func(string) string { return test.term }
		end := test.app.waiting("reading")
		if got := test.app.progress != nil; got != test.want {
			t.Errorf("%s: told is %t, want %t", test.name, got, test.want)
		}
		test.app.step("compile", 1, 2)
		if end(); test.app.progress != nil {
			t.Errorf("%s: told after the end", test.name)
		}
	}
}
