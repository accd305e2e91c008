package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// summary is what became of all mutants.
type summary struct {
	count map[outcome]int
	open  []string // survivors, and what no test finished with
}

func newSummary() *summary { return &summary{count: map[outcome]int{}} }

func (s *summary) add(r result) {
	s.count[r.outcome]++
	if r.outcome == survived || r.outcome == timedOut {
		s.open = append(s.open, fmt.Sprintf("%s (%s)\n\t%s", r.mutant, r.outcome, r.key))
	}
}

func (s *summary) join(other *summary) {
	for o, n := range other.count {
		s.count[o] += n
	}
	s.open = append(s.open, other.open...)
}

func (s *summary) print() {
	slices.Sort(s.open)
	fmt.Printf("\n%d that no test noticed, to be judged:\n%s\n\n", len(s.open), strings.Join(s.open, "\n"))
	for _, o := range slices.Sorted(maps.Keys(s.count)) {
		fmt.Printf("%-17s %d\n", o, s.count[o])
	}
	differ := s.count[killed] + s.count[survived] + s.count[timedOut]
	if differ == 0 {
		return
	}
	all := differ + s.count[equivalent]
	fmt.Printf("noticed: %d of %d that change what the programs do (%.1f %%); with the %d judged equivalent: %d of %d (%.1f %%)\n",
		s.count[killed], differ, 100*float64(s.count[killed])/float64(differ), s.count[equivalent],
		s.count[killed], all, 100*float64(s.count[killed])/float64(all))
}
