package main

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/cilium/ebpf"

	"github.com/bpfwall/bpfwall/internal/classbench"
	"github.com/bpfwall/bpfwall/translator"
)

// rulesResult is what a filter set costs.
type rulesResult struct {
	Set                string
	Rules, Bytes       int // bytes of the map with the tables
	Translated, Loaded time.Duration
	Nanoseconds        map[classbench.Traffic]float64 // of a packet, without what an empty ruleset takes
}

// measureSets measures the filter sets of a pattern of file names, the small ones first.
func measureSets(pattern string) (out []rulesResult, err error) {
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		return nil, fmt.Errorf("%s: no such files", pattern)
	}
	for _, path := range files {
		filters, err := classbench.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("%s: %s", path, err)
		}
		r, err := measureSet(filters)
		if err != nil {
			return nil, fmt.Errorf("%s: %s", path, err)
		}
		r.Set = strings.TrimSuffix(filepath.Base(path), ".gz")
		out = append(out, *r)
	}
	slices.SortStableFunc(out, func(a, b rulesResult) int { return cmp.Compare(a.Rules, b.Rules) })
	return out, nil
}

func measureSet(filters []classbench.Filter) (*rulesResult, error) {
	full, err := costOf(filters, filters)
	if err != nil {
		return nil, err
	}
	null, err := costOf(nil, filters)
	if err != nil {
		return nil, err
	}
	for kind, ns := range null.Nanoseconds {
		full.Nanoseconds[kind] -= ns
	}
	return full, nil
}

// costOf measures some rules over headers that meet filters.
func costOf(rules, filters []classbench.Filter) (*rulesResult, error) {
	r := &rulesResult{Rules: len(rules), Nanoseconds: map[classbench.Traffic]float64{}}
	start := time.Now()
	o, err := translator.Translate(classbench.Ruleset("filters", rules), translator.Slots{})
	if err != nil {
		return nil, err
	}
	r.Translated = time.Since(start)
	maps.DeleteFunc(o.Spec.Programs, func(name string, _ *ebpf.ProgramSpec) bool { return name != "fw_judge" })
	if m := o.Spec.Maps["rules"]; m != nil {
		r.Bytes = int(m.ValueSize)
	}
	for _, kind := range classbench.Kinds {
		spec := o.Spec.Copy()
		classbench.Instrument(spec, classbench.Headers(filters, kind, 1<<17, 1))
		start = time.Now()
		coll, err := ebpf.NewCollection(spec)
		if err != nil {
			return nil, err
		}
		r.Loaded = time.Since(start)
		r.Nanoseconds[kind], err = classbench.Measure(coll.Programs["fw_judge"], max(2, 4**rounds))
		coll.Close()
		if err != nil {
			return nil, err
		}
	}
	return r, nil
}

func printSets(results []rulesResult) {
	fmt.Printf("\nFinding the first of the rules of a filter set: ns of a packet less those with no rules (least of %d measurements)\n\n", max(2, 4**rounds))
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(w, "set\trules\tMB\ttranslated\tloaded\t")
	for _, kind := range classbench.Kinds {
		fmt.Fprintf(w, "%s\t", kind)
	}
	fmt.Fprintln(w)
	for _, r := range results {
		fmt.Fprintf(w, "%s\t%d\t%.2f\t%s\t%s\t", r.Set, r.Rules, float64(r.Bytes)/1e6, r.Translated.Round(time.Millisecond), r.Loaded.Round(time.Millisecond))
		for _, kind := range classbench.Kinds {
			fmt.Fprintf(w, "%.0f\t", r.Nanoseconds[kind])
		}
		fmt.Fprintln(w)
	}
	w.Flush()
}
