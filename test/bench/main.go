// Command bench measures what a packet costs, and what a change of rules does, beside the firewalls that people have.
//
// First the programs alone: the kernel's own test runs (BPF_PROG_TEST_RUN) of what is attached, over frames that change, for rulesets of
// several sizes and kinds, less a program that does nothing. Then whole firewalls: frames through a router between two hosts, under
// bpfwall, iptables, nft, ipset and no firewall, in turns, so that what else the machine does hits all alike. Then the time to load rules
// and to change one, and the memory that they take. In the end lists of up to 1.2 million prefixes whose frames are to be dropped. Every contender proves first that it decides as the rules say. Compare the ratios; the
// times are this machine's.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/bpfwall/bpfwall/internal/lab"
)

var (
	rounds          = flag.Int("rounds", 0, "measurements of each kind, whose median counts; 0: 5, with -quick 3")
	seconds         = flag.Float64("seconds", 0, "length of a measurement of frames; 0: 0.1, with -quick 0.05")
	out             = flag.String("o", "", "folder to write README.md, results.json and plots to; it is made if need be")
	only            = flag.String("only", "", "programs, rules, frames, changes or blocklists: one part")
	pattern         = flag.String("scenario", "", "only scenarios and filter sets whose name begins so")
	quick           = flag.Bool("quick", false, "less of everything, in a minute, and fail if a ratio is far from what it should be")
	classbenchFiles = flag.String("classbench", "", "files of filter sets in the format of ClassBench, as a pattern, to measure beside our own")
	beside          = flag.String("beside", "", "other builds of bpfwall whose frames are measured in turns with this one's, by commas")
	among           = flag.String("among", "", "of the firewalls that frames go through, only those in this list, by semicolons, and what they are measured from")
	verbose         = flag.Bool("v", false, "say on standard error what is being done")
)

// sizesOf is how much is measured.
type sizesOf struct {
	ruleset, enterprise, ddos, misses, complexity, filters, changes, blocklists []int
}

var (
	full = sizesOf{
		ruleset: []int{10, 50, 100, 500, 1000, 5000, 10_000, 100_000}, enterprise: []int{50, 500, 5000}, ddos: []int{50, 1000, 5000},
		misses: []int{10, 100, 1000, 10_000}, complexity: []int{1, 3, 5}, filters: []int{10, 100, 1000, 10_000, 100_000}, changes: []int{10, 1000, 10_000, 100_000},
		blocklists: []int{12, 12_000, 1_200_000},
	}
	small = sizesOf{
		ruleset: []int{10, 1000}, enterprise: []int{50}, ddos: []int{50}, misses: []int{1000}, filters: []int{1000}, changes: []int{10, 1000},
		blocklists: []int{12_000},
	}
	plan = full
)

// published are the scenarios that have traffic of their own.
func published() (all []*scenario) {
	for _, k := range []struct {
		sizes []int
		make  func(int) *scenario
	}{{plan.ruleset, rulesetSize}, {plan.complexity, ruleComplexity}, {plan.enterprise, enterprise}, {plan.ddos, ddos}, {plan.misses, misses}} {
		for _, n := range k.sizes {
			all = append(all, k.make(n))
		}
	}
	return all
}

func selected(s *scenario) bool { return strings.HasPrefix(s.name, *pattern) }

var started = time.Now()

func note(format string, v ...any) {
	if *verbose {
		fmt.Fprintf(os.Stderr, "%4.0f s  %s\n", time.Since(started).Seconds(), fmt.Sprintf(format, v...))
	}
}

func main() {
	flag.Parse()
	if *quick {
		plan = small
	}
	set := func(v *int, normal, less int) {
		if *v == 0 {
			*v = normal
			if *quick {
				*v = less
			}
		}
	}
	set(rounds, 5, 3)
	if *seconds == 0 {
		*seconds = 0.1
		if *quick {
			*seconds = 0.05
		}
	}
	// Whoever is interrupted still removes what was made.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	err := run(ctx)
	stop()
	lab.RemoveBinary()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	r := &Report{Machine: describe(), Began: started.UTC()}
	fmt.Println(r.Machine)
	part := func(name string) bool { return *only == "" || *only == name }
	var err error
	if part("programs") {
		if r.Programs, err = measurePrograms(ctx); err != nil {
			return err
		}
		fmt.Print(r.programTable())
	}
	if part("rules") {
		if r.Classification, err = measureSets(ctx); err != nil {
			return err
		}
		fmt.Print(r.classificationTable())
	}
	if part("frames") {
		for _, s := range published() {
			if s.size > 10_000 || !selected(s) {
				continue
			}
			if r.Frames, err = measureFrames(ctx, s, r.Frames); err != nil {
				return err
			}
			note("%s, frames", s)
		}
		fmt.Print(r.frameTables())
	}
	if part("changes") {
		if r.Changes, err = measureChanges(ctx); err != nil {
			return err
		}
		fmt.Print(r.changeTable())
	}
	if part("blocklists") {
		if r.Blocklists, err = measureBlocklists(ctx); err != nil {
			return err
		}
		fmt.Print(r.blocklistTables())
	}
	r.Took = time.Since(started).Round(time.Second).Seconds()
	if err := r.write(*out); err != nil {
		return err
	}
	if *quick {
		return r.check()
	}
	return nil
}

// Report is everything that was measured.
type Report struct {
	Machine        Machine
	Began          time.Time
	Took           float64          // seconds
	Programs       []Program        `json:",omitempty"`
	Classification []Classification `json:",omitempty"`
	Frames         []Frame          `json:",omitempty"`
	Changes        []Change         `json:",omitempty"`
	Blocklists     []Blocklist      `json:",omitempty"`
}

// write writes the report, its text and its plots into a folder; "" is none.
func (r *Report) write(dir string) error {
	if dir == "" {
		return nil
	}
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	err = errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(filepath.Join(dir, "results.json"), append(text, '\n'), 0o644))
	for _, p := range r.plots() {
		err = errors.Join(err, os.WriteFile(filepath.Join(dir, p.file), []byte(p.svg()), 0o644))
	}
	return errors.Join(err, os.WriteFile(filepath.Join(dir, "README.md"), []byte(r.readme()), 0o644))
}
