package conntrack

import (
	"cmp"
	"flag"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

var (
	sequences = flag.Int("sequences", 10_000, "random scripts of 4 to 40 packets that TestStateful compares")
	seed      = flag.Uint64("seed", 1, "seed of the generator")
	everyKind = flag.Bool("every-kind", false, "TestStateful plays kinds of packets that are known to differ, too")
)

// Random scripts have the same states in the kernel and in bpfwall, and leave the same entries.
func TestStateful(t *testing.T) {
	needRoot(t)
	compareRandom(t, newRig(t, forwarded, setting{}), *sequences, nil)
}

// finding is a class of disagreements.
type finding struct {
	count   int
	example *script // the shortest, up to the packet
}

// findings are the disagreements of a run.
type findings struct {
	mix     map[string]int // packets by protocol and state in the kernel
	classes map[string]*finding
}

// run plays scripts.
func (f *findings) run(t *testing.T, r *rig, scripts []*script) {
	t.Helper()
	got, err := r.play(scripts)
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range scripts {
		f.add(s, got[i])
		for n := range s.packets {
			f.mix[fmt.Sprintf("%-8s %s", s.packets[n].protoName(), got[i].kernel[n])]++
		}
	}
}

// add takes note of the first packet of a script that the two see differently.
func (f *findings) add(s *script, got answers) {
	at := got.differ()
	if at < 0 {
		return
	}
	c := got.class(&s.packets[at], at)
	if f.classes[c] == nil {
		f.classes[c] = &finding{}
	}
	e := f.classes[c]
	e.count++
	if e.example == nil || at+1 < len(e.example.packets) {
		e.example = &script{name: s.name, six: s.six, self: s.self, packets: slices.Clone(s.packets[:at+1])}
	}
}

// logMix says how many packets of each protocol had each state: they are to be neither all alike nor mostly invalid.
func (f *findings) logMix(t *testing.T) {
	t.Helper()
	for _, line := range slices.Sorted(maps.Keys(f.mix)) {
		t.Logf("%8d  %s", f.mix[line], line)
	}
}

func newFindings() *findings {
	return &findings{mix: map[string]int{}, classes: map[string]*finding{}}
}

// report fails for what is not explained, with the shortest script that shows it.
func (f *findings) report(t *testing.T, r *rig) {
	var classes []string
	for c := range f.classes {
		classes = append(classes, c)
	}
	slices.SortFunc(classes, func(a, b string) int {
		return cmp.Or(f.classes[b].count-f.classes[a].count, strings.Compare(a, b))
	})
	shown := 0
	for _, c := range classes {
		why := isKnown(c)
		if why != "" {
			t.Logf("%6d  %s (%s)", f.classes[c].count, c, why)
		} else {
			t.Errorf("%6d  %s", f.classes[c].count, c)
		}
		if shown < *examples && (why == "" || *everyKind) {
			shown++
			s, got, err := r.shrink(f.classes[c].example)
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%s (%s):\n%s", c, f.classes[c].example.name, s.transcript(got))
		}
	}
}

var examples = flag.Int("examples", 10, "classes of disagreements that TestStateful prints a script of")

// transcript is a script with what both say of each packet, to be put into testdata.
func (s *script) transcript(got answers) string {
	var b strings.Builder
	for i := range s.packets {
		s.packets[i].want = got.kernel[i]
	}
	lines := strings.SplitAfter(s.String(), "\n")
	fmt.Fprintf(&b, "%s", strings.Join(lines, ""))
	at := len(s.packets) - 1
	fmt.Fprintf(&b, "# bpfwall: %s", got.bpfwall[at])
	if got.tables != "" {
		fmt.Fprintf(&b, "; %s", got.tables)
	}
	fmt.Fprintln(&b)
	return b.String()
}
