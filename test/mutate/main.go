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
)

// defaultFiles are the headers that decide about packets.
const defaultFiles = "bpf/parse.h,bpf/transport.h,bpf/frag.h,bpf/conntrack.h,bpf/ct_key.h,bpf/ct_icmp.h,bpf/ct_tcp.h,bpf/ct_window.h,bpf/reject.h,bpf/answer.h"

func main() {
	files := flag.String("files", defaultFiles, "headers to change, separated by commas")
	sample := flag.Int("sample", 0, "how many changes to try, picked at random; 0: all")
	seed := flag.Uint64("seed", 1, "of the sample")
	only := flag.String("only", "", "regular expression of the changes to try, as they are printed")
	workers := flag.Int("workers", 2, "how many at a time")
	flag.Parse()
	all, err := allMutants(strings.Split(*files, ","), *only)
	if err == nil {
		err = tryAll(pickSome(all, *sample, *seed), *workers)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "mutate:", err)
		os.Exit(1)
	}
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
	return slices.DeleteFunc(all, func(m mutant) bool { return !re.MatchString(m.String()) }), nil
}

// pickSome keeps n mutants, in a random order; all if n is 0.
func pickSome(all []mutant, n int, seed uint64) []mutant {
	if n == 0 {
		return all
	}
	rand.New(rand.NewPCG(seed, seed)).Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all[:min(n, len(all))]
}

// tryAll tries mutants and prints what became of each, and the sums.
func tryAll(all []mutant, workers int) error {
	todo, results := make(chan mutant), make(chan result)
	go func() {
		for _, m := range all {
			todo <- m
		}
		close(todo)
	}()
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() { work(todo, results) })
	}
	go func() { wg.Wait(); close(results) }()
	sum, survivors := map[outcome]int{}, []string{}
	for r := range results {
		if r.err != nil {
			return r.err
		}
		fmt.Println(r)
		sum[r.outcome]++
		if r.outcome == survived {
			survivors = append(survivors, r.mutant.String())
		}
	}
	slices.Sort(survivors)
	fmt.Printf("\n%d survivors:\n%s\n\n", len(survivors), strings.Join(survivors, "\n"))
	fmt.Println("sums:", len(all), "changes:", sum)
	if n := sum[killed] + sum[survived]; n > 0 {
		fmt.Printf("%.1f %% of %d noticed\n", 100*float64(sum[killed])/float64(n), n)
	}
	return nil
}

// work tries mutants in a copy of the source.
func work(todo <-chan mutant, results chan<- result) {
	w, err := newCopy()
	if err != nil {
		results <- result{err: err}
		return
	}
	defer os.RemoveAll(w.dir)
	for m := range todo {
		results <- w.try(m)
	}
}
