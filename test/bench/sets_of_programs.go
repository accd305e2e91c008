package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/bpfwall/bpfwall/internal/classbench"
)

// headersOfPrograms is how many different frames a program meets in turn.
const headersOfPrograms = 1 << 15

// kindsOver are all kinds of traffic over filters.
func kindsOver(filters []classbench.Filter) map[classbench.Traffic][]classbench.Header {
	out := map[classbench.Traffic][]classbench.Header{}
	for _, k := range classbench.Kinds {
		out[k] = classbench.Headers(filters, k, headersOfPrograms, 1)
		for i := range out[k] {
			h := &out[k][i]
			h.Src, h.Dst = unicast(h.Src), unicast(h.Dst)
		}
	}
	return out
}

// unicast is an address that a router may see, in place of one that wildcards gave and that it may not.
func unicast(v uint32) uint32 {
	if top := v >> 24; top == 0 || top == 127 || top >= 224 {
		return v&0x1fffffff | 0x40000000
	}
	return v
}

// published is a scenario's own traffic, and one frame of it again and again.
func (s *scenario) published() map[classbench.Traffic][]classbench.Header {
	hot := make([]classbench.Header, 64)
	for i := range hot {
		hot[i] = s.headers[0]
	}
	return map[classbench.Traffic][]classbench.Header{classbench.Hot: hot, classbench.Uniform: s.headers}
}

// filterSet is filters of the ClassBench kind as a ruleset, every second one accepting.
func filterSet(name string, filters []classbench.Filter) *scenario {
	s := &scenario{name: name, size: len(filters), hook: "INPUT"}
	for i, f := range filters {
		s.rules = append(s.rules, rule{Filter: f, accept: i%2 == 0})
	}
	return s
}

// filterSets are our own, of several sizes, and those of -classbench.
func filterSets() (out []*scenario, err error) {
	for _, n := range plan.filters {
		for i, p := range classbench.Profiles {
			if *quick && i > 0 {
				continue
			}
			out = append(out, filterSet(string(p), classbench.Generate(p, n, 1)))
		}
	}
	if *classbenchFiles == "" {
		return out, nil
	}
	files, err := filepath.Glob(*classbenchFiles)
	if err != nil || len(files) == 0 {
		return nil, fmt.Errorf("-classbench %s: no such files", *classbenchFiles)
	}
	for _, f := range files {
		filters, err := classbench.ReadFile(f)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f, err)
		}
		out = append(out, filterSet(strings.TrimSuffix(filepath.Base(f), ".gz"), filters))
	}
	return out, nil
}

// states are the states of the packets that a scenario is measured with; "" where its rules do not ask for it.
func (s *scenario) states() []string {
	switch {
	case s.floor:
		return []string{"new"}
	case s.replied:
		return []string{"new", "established"}
	case s.name == "ruleset-size" && s.size <= 5000:
		return []string{"", "new", "established"}
	}
	return []string{""}
}

// measurePrograms runs what is attached over packets for the router itself.
func measurePrograms(ctx context.Context) (out []Program, err error) {
	add := func(h hook, state string, s *scenario, kinds map[classbench.Traffic][]classbench.Header) {
		if err != nil || !selected(s) {
			return
		}
		var more []Program
		more, err = measureProgram(ctx, h, state, s, kinds)
		note("%s, %s", s, h.name)
		out = append(out, more...)
	}
	least := misses(1) // without rules nothing is attached
	least.name = "one rule"
	add(tc, "", least, least.published())
	for _, s := range published() {
		for _, state := range s.states() {
			add(tc, state, s, s.published())
		}
		if s.name == "ruleset-size" || s.floor { // without rules there is nothing in XDP
			add(xdp, "", s, s.published())
		}
	}
	sets, err2 := filterSets()
	if err2 != nil {
		return nil, err2
	}
	for _, s := range sets {
		filters := s.filters()
		add(tc, "", s, kindsOver(filters))
		add(xdp, "", s, kindsOver(filters))
	}
	return out, err
}
