// Command mutate asks how good the tests of the C are: it changes one constant, comparison or state at a time in a copy of the source,
// rebuilds the programs, runs the tests that watch them, and lists the changes that no test noticed. Run it from the top of the source.
package main

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

// defaultFiles are the headers that decide about packets.
const defaultFiles = "bpf/parse.h,bpf/transport.h,bpf/head.h,bpf/frag.h,bpf/conntrack.h,bpf/ct_key.h,bpf/ends.h,bpf/ct_icmp.h,bpf/ct_tcp.h,bpf/ct_window.h," +
	"bpf/ct_sctp.h,bpf/checksum.h,bpf/reject.h,bpf/answer.h,bpf/meta.h,bpf/route.h,bpf/fib.h,bpf/nat.h,bpf/local_in.h"

func main() {
	files := flag.String("files", defaultFiles, "headers to change, separated by commas")
	sample := flag.Int("sample", 0, "how many changes to try, picked at random; 0: all")
	seed := flag.Uint64("seed", 1, "of the sample")
	only := flag.String("only", "", "regular expression of the changes to try, as they are printed")
	workers := flag.Int("workers", 2, "how many at a time")
	list := flag.Bool("list", false, "print the changes that would be tried, with what test/mutate/equivalent.txt calls them")
	flag.Parse()
	err := run(strings.Split(*files, ","), *only, *sample, *seed, *workers, *list)
	if err != nil {
		fmt.Fprintln(os.Stderr, "mutate:", err)
		os.Exit(1)
	}
}

func run(files []string, only string, sample int, seed uint64, workers int, list bool) error {
	all, err := allMutants(files, only)
	if err != nil {
		return err
	}
	judged, err := readEquivalents(equivalents)
	if err != nil {
		return err
	}
	chosen := pickSome(all, sample, seed)
	if list {
		for _, m := range chosen {
			fmt.Printf("%s\t%s\n", m, m.key)
		}
		return nil
	}
	fmt.Printf("%d of %d changes, seed %d\n", len(chosen), len(all), seed)
	var done, todo []mutant
	for _, m := range chosen {
		if judged[m.key] != "" {
			done = append(done, m)
		} else {
			todo = append(todo, m)
		}
	}
	sum, err := tryAll(todo, workers)
	if err != nil {
		return err
	}
	sum.count[equivalent] = len(done)
	sum.print()
	return nil
}

// allMutants finds what can be changed in some files.
func allMutants(files []string, only string) ([]mutant, error) {
	re, err := regexp.Compile(only)
	if err != nil {
		return nil, err
	}
	var all []mutant
	for _, path := range files {
		src, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		all = append(all, mutantsOf(path, string(src))...)
	}
	return slices.DeleteFunc(all, func(m mutant) bool { return !re.MatchString(m.String()) && !re.MatchString(m.key) }), nil
}

// pickSome keeps n mutants, in a random order; all if n is 0.
func pickSome(all []mutant, n int, seed uint64) []mutant {
	if n == 0 {
		return all
	}
	rand.New(rand.NewPCG(seed, seed)).Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all[:min(n, len(all))]
}

// tryAll tries mutants, prints what became of each, and tries those alone that took too long beside others.
func tryAll(all []mutant, workers int) (*summary, error) {
	todo, results := make(chan mutant), make(chan result)
	go func() {
		for _, m := range all {
			todo <- m
		}
		close(todo)
	}()
	var wg sync.WaitGroup
	b := &baseline{}
	for range workers {
		wg.Go(func() { work(all, b, todo, results) })
	}
	go func() { wg.Wait(); close(results) }()
	sum, again := newSummary(), []mutant{}
	for r := range results {
		if r.err != nil {
			return nil, r.err
		}
		fmt.Println(r)
		if r.outcome == timedOut && workers > 1 {
			again = append(again, r.mutant)
			continue
		}
		sum.add(r)
	}
	if len(again) == 0 {
		return sum, nil
	}
	rest, err := tryAll(again, 1)
	if err == nil {
		sum.join(rest)
	}
	return sum, err
}

// work tries mutants in a copy of the source.
func work(all []mutant, b *baseline, todo <-chan mutant, results chan<- result) {
	paths, dirs := watched(all)
	w, err := newCopy(dirs)
	if w != nil {
		defer os.RemoveAll(w.dir)
	}
	if err != nil {
		results <- result{err: err}
		return
	}
	usual, err := b.of(w, paths)
	if err != nil {
		results <- result{err: err}
		return
	}
	t := trial{w, usual}
	for m := range todo {
		results <- t.try(m)
	}
}

// baseline is how long the suites take without a change, in the copy that comes first.
type baseline struct {
	once sync.Once
	took map[string]time.Duration
	err  error
}

func (b *baseline) of(c *copied, paths []string) (map[string]time.Duration, error) {
	b.once.Do(func() { b.took, b.err = c.usual(paths) })
	return b.took, b.err
}

// watched is the files that are changed, and the directories of the tests that watch them.
func watched(all []mutant) (paths, dirs []string) {
	for _, m := range all {
		if slices.Contains(paths, m.path) {
			continue
		}
		paths = append(paths, m.path)
		for _, s := range suitesOf(m.path) {
			if !slices.Contains(dirs, s.dir) {
				dirs = append(dirs, s.dir)
			}
		}
	}
	return paths, dirs
}
