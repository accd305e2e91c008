// Command testsum reads `go test -json` and prints a line a package, the output of what failed, and what was skipped and why.
// It exits with 1 if a test failed; with -no-skips, also if one was skipped whose name does not match -may-skip.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"time"
)

// event is a line of `go test -json` (go doc test2json).
type event struct {
	Action, Package, Test, Output string
	Elapsed                       float64 // seconds
}

// summary collects what the events say.
type summary struct {
	out                     io.Writer
	output                  map[string]*strings.Builder // of each test and package that has not ended yet
	passed, failed, skipped int
	skips                   []skip
}

// skip is a test that was skipped, and what it said.
type skip struct{ pkg, test, reason string }

func (s skip) String() string { return fmt.Sprintf("%s %s: %s", s.pkg, s.test, s.reason) }

func newSummary(out io.Writer) *summary {
	return &summary{out: out, output: map[string]*strings.Builder{}}
}

func main() {
	noSkips := flag.Bool("no-skips", false, "a skipped test is a failure")
	maySkip := flag.String("may-skip", "^$", "with -no-skips: names of tests that may be skipped, as a regular expression")
	flag.Parse()
	may, err := regexp.Compile(*maySkip)
	if err != nil {
		fmt.Fprintln(os.Stderr, "testsum: -may-skip:", err)
		os.Exit(2)
	}
	start := time.Now()
	s := newSummary(os.Stdout)
	if err := s.read(os.Stdin); err != nil {
		fmt.Fprintln(os.Stderr, "testsum:", err)
		os.Exit(1)
	}
	bad := 0
	for _, sk := range s.skips {
		fmt.Println("skipped", sk)
		if *noSkips && !may.MatchString(sk.test) {
			bad++
		}
	}
	fmt.Printf("%d passed, %d failed, %d skipped in %s\n", s.passed, s.failed, s.skipped, time.Since(start).Round(time.Second))
	if s.failed > 0 || bad > 0 {
		os.Exit(1)
	}
}

// read takes every event. Lines that are not JSON (a compiler's errors) are passed on.
func (s *summary) read(r io.Reader) error {
	for dec := json.NewDecoder(r); ; {
		var e event
		switch err := dec.Decode(&e); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			rest, _ := io.ReadAll(io.MultiReader(dec.Buffered(), r))
			return fmt.Errorf("%w\n%s", err, rest)
		}
		s.add(e)
	}
}

func (s *summary) add(e event) {
	key := e.Package + " " + e.Test
	if s.output[key] == nil {
		s.output[key] = &strings.Builder{}
	}
	switch e.Action {
	case "output", "build-output":
		s.output[key].WriteString(e.Output)
		return
	case "pass", "fail", "skip":
		s.end(e, s.output[key].String())
		delete(s.output, key)
	case "build-fail":
		fmt.Fprint(s.out, s.output[key].String())
	}
}

// end counts a test or package that is over.
func (s *summary) end(e event, output string) {
	if e.Test == "" {
		s.endPackage(e, output)
		return
	}
	switch e.Action {
	case "pass":
		s.passed++
	case "fail":
		s.failed++
		fmt.Fprint(s.out, output)
	case "skip":
		s.skipped++
		s.skips = append(s.skips, skip{e.Package, e.Test, reason(output)})
	}
}

func (s *summary) endPackage(e event, output string) {
	switch e.Action {
	case "fail":
		s.failed++ // a package also fails without a failing test: a panic, a data race, a build error
		fmt.Fprintf(s.out, "%s\nFAIL  %-50s %6.1f s\n", output, e.Package, e.Elapsed)
	case "pass":
		fmt.Fprintf(s.out, "ok    %-50s %6.1f s\n", e.Package, e.Elapsed)
	}
}

// reason is what t.Skip said: the line before "--- SKIP", without its file name.
func reason(output string) string {
	for line := range strings.Lines(output) {
		line = strings.TrimSpace(line)
		if line != "" && !strings.HasPrefix(line, "===") && !strings.HasPrefix(line, "---") {
			return line
		}
	}
	return "no reason given"
}
