package translator

import (
	"flag"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"

	"github.com/bpfwall/bpfwall/internal/classbench"
	"github.com/bpfwall/bpfwall/ruleset"
)

var (
	classbenchDir = flag.String("classbench", "", "folder of filter sets in the format of ClassBench: measure all, or those of -sets")
	classbenchPat = flag.String("sets", "*_10*", "which sets of -classbench: a pattern of file names")
)

// TestClassBench loads filter sets, compares with the first filter that matches, and reports what packets cost over an empty ruleset.
func TestClassBench(t *testing.T) {
	if *classbenchDir == "" {
		t.Skip("no folder of filter sets: -classbench")
	}
	files, err := filepath.Glob(filepath.Join(*classbenchDir, *classbenchPat))
	if err != nil || len(files) == 0 {
		t.Fatalf("no filter sets (%v)", err)
	}
	slices.SortFunc(files, func(a, b string) int { return len(a) - len(b) })
	for _, path := range files {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".gz"), func(t *testing.T) {
			filters, err := classbench.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			null := cost(t, classbench.Ruleset("null", nil), filters)
			full := cost(t, classbench.Ruleset("filters", filters), filters)
			engines := allEngines
			if len(filters) > 1000 { // which nobody would have in code
				engines = []Engine{EngineAuto, EngineClassifiers, EngineVectors}
			}
			exact(t, filters, engines...)
			for i, kind := range classbench.Kinds {
				t.Logf("%-8s %6.1f ns over %.1f", kind, full[i]-null[i], null[i])
			}
		})
	}
}

// cost is the ns of a packet of every kind of traffic.
func cost(t testing.TB, rs *ruleset.Ruleset, filters []classbench.Filter) (out []float64) {
	t.Helper()
	start := time.Now()
	o, err := Translate(rs, Slots{})
	if err != nil {
		t.Fatal(err)
	}
	translated := time.Since(start)
	maps.DeleteFunc(o.Spec.Programs, func(name string, _ *ebpf.ProgramSpec) bool { return name != "fw_judge" })
	for i, kind := range classbench.Kinds {
		start = time.Now()
		spec := o.Spec.Copy()
		j := &judge{out: o}
		for _, name := range []string{"ct", "ct_new", "frags", "ifaces"} {
			spec.Maps[name].MaxEntries = 16
		}
		classbench.Instrument(spec, classbench.Headers(filters, kind, 1<<17, 1))
		if j.coll, err = ebpf.NewCollection(spec); err != nil {
			t.Fatalf("%-100v", err)
		}
		if rules := len(rs.Chains[0].Rules); i == 0 && rules > 0 {
			info, err := j.coll.Programs["fw_judge"].Info()
			if err != nil {
				t.Fatal(err)
			}
			verified, _ := info.VerifiedInstructions()
			t.Logf("%d rules: translated in %v, loaded in %v, %d instructions verified", rules, translated.Round(time.Millisecond),
				time.Since(start).Round(time.Millisecond), verified)
		}
		ns, err := classbench.Measure(j.coll.Programs["fw_judge"], 8)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, ns)
		j.coll.Close()
	}
	return out
}

// exact judges headers by a filter set under some engines, and compares all counters with what the filters say.
func exact(t *testing.T, filters []classbench.Filter, engines ...Engine) {
	t.Helper()
	n, most, work := 1<<9, 1<<15, 1<<26 // work is comparisons of the reference
	if *long {
		most, work = 1<<20, 1<<34
	}
	for n < work/len(filters) && n < most {
		n *= 2
	}
	headers := append(classbench.Headers(filters, classbench.Uniform, n/2, *seed), classbench.Headers(filters, classbench.Mixed, n/2, *seed)...)
	rs := classbench.Ruleset("filters", filters)
	want := counted(rs, filters, headers)
	for _, e := range engines {
		exactUnder(t, rs, e, Slots{}, headers, want)
	}
}

// counted is what the counters of rules that say what filters do have to be, by their identities.
func counted(rs *ruleset.Ruleset, filters []classbench.Filter, headers []classbench.Header) map[string]uint64 {
	rs.AssignIDs()
	want := map[string]uint64{}
	for _, h := range headers {
		id := rs.Chains[0].PolicyID()
		if i := classbench.Match(filters, h); i >= 0 {
			id = rs.Chains[0].Rules[i].ID
		}
		want[id]++
	}
	return want
}

// exactUnder compares the counters of rules, by their identities, under one engine.
func exactUnder(t *testing.T, rs *ruleset.Ruleset, e Engine, prev Slots, headers []classbench.Header, want map[string]uint64) *Output {
	t.Helper()
	o, err := Options{Engine: e}.Translate(rs, prev)
	if err != nil {
		t.Fatal(err)
	}
	maps.DeleteFunc(o.Spec.Programs, func(name string, _ *ebpf.ProgramSpec) bool { return name != "fw_judge" })
	classbench.Instrument(o.Spec, headers)
	j := load(t, o, 16)
	if _, err := j.coll.Programs["fw_judge"].Run(&ebpf.RunOptions{Data: make([]byte, 64), Repeat: uint32(len(headers))}); err != nil {
		t.Fatal(err)
	}
	wrong := 0
	for id, slot := range o.Slots.Counters {
		if got := j.counter(t, slot).Packets; got != want[id] {
			if wrong++; wrong < 4 {
				t.Errorf("%s: %d packets, want %d", id, got, want[id])
			}
		}
	}
	t.Logf("%s: %d packets, %d counters wrong", engineNames[e], len(headers), wrong)
	return o
}
