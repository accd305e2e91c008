package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/cilium/ebpf"

	"github.com/bpfwall/bpfwall/internal/classbench"
	"github.com/bpfwall/bpfwall/translator"
)

// Classification is what finding the first of a filter set's rules costs, without parsing, tracking and counting.
type Classification struct {
	Set                string
	Rules, Bytes       int                            // bytes of the map with the tables
	Translated, Loaded float64                        // ms
	Nanoseconds        map[classbench.Traffic]float64 // of a packet, without what an empty ruleset takes
}

// measureSets measures filter sets, the small ones first.
func measureSets(ctx context.Context) (out []Classification, err error) {
	sets, err := filterSets()
	if err != nil {
		return nil, err
	}
	for _, s := range sets {
		if !selected(s) {
			continue
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		r, err := measureSet(s.filters())
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s, err)
		}
		r.Set = s.name
		note("%s, finding the first rule", s)
		out = append(out, *r)
	}
	slices.SortStableFunc(out, func(a, b Classification) int { return cmp.Compare(a.Rules, b.Rules) })
	return out, nil
}

func measureSet(filters []classbench.Filter) (*Classification, error) {
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
func costOf(rules, filters []classbench.Filter) (*Classification, error) {
	r := &Classification{Rules: len(rules), Nanoseconds: map[classbench.Traffic]float64{}}
	start := time.Now()
	o, err := translator.Translate(classbench.Ruleset("filters", rules), translator.Slots{})
	if err != nil {
		return nil, err
	}
	r.Translated = float64(time.Since(start).Microseconds()) / 1e3
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
		r.Loaded = float64(time.Since(start).Microseconds()) / 1e3
		r.Nanoseconds[kind], err = classbench.Measure(coll.Programs["fw_judge"], max(2, 4**rounds))
		coll.Close()
		if err != nil {
			return nil, err
		}
	}
	return r, nil
}

// classificationTable is a row for every filter set.
func (r *Report) classificationTable() string {
	if len(r.Classification) == 0 {
		return ""
	}
	t := table{title: "Finding the first rule", text: "ns a packet in the code and tables made of the rules, over an empty ruleset; MB of their tables; ms to translate and to load.",
		head: []string{"set", "rules", "MB", "translate", "load"}}
	for _, k := range classbench.Kinds {
		t.head = append(t.head, string(k))
	}
	for _, c := range r.Classification {
		row := []string{c.Set, fmt.Sprint(c.Rules), fmt.Sprintf("%.2f", float64(c.Bytes)/1e6), ms(c.Translated), ms(c.Loaded)}
		for _, k := range classbench.Kinds {
			row = append(row, fmt.Sprintf("%.0f", c.Nanoseconds[k]))
		}
		t.rows = append(t.rows, row)
	}
	return t.String()
}
