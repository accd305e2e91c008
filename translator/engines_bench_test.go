package translator

import (
	"flag"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/bpfwall/bpfwall/internal/classbench"
	"github.com/bpfwall/bpfwall/ruleset"
)

var (
	benchSizes   = flag.String("sizes", "20,100,1000,10000", "rules of the rulesets of BenchmarkEngines: numbers, or from-to*percent")
	benchGrown   = flag.String("grown", "", "which rulesets of BenchmarkEngines: a part of their names")
	benchEngines = flag.String("engines", "code,forks,classifiers,auto", "engines of BenchmarkEngines")
)

// contender is a ruleset under one engine, loaded.
type contender struct {
	name  string
	progs map[classbench.Traffic]*ebpf.Program
	least map[classbench.Traffic]float64
	size  int // verified instructions
	made  string
}

// engineTraffic is what BenchmarkEngines measures.
var engineTraffic = []classbench.Traffic{classbench.Hot, classbench.Uniform, classbench.Mixed}

// newContender loads a ruleset; nil if the engine cannot take it.
func newContender(b *testing.B, name string, rs *ruleset.Ruleset, e Engine, filters []classbench.Filter) *contender {
	o, err := Options{Engine: e}.Translate(rs, Slots{})
	if err != nil {
		b.Logf("%s: %.150s", name, err)
		return nil
	}
	maps.DeleteFunc(o.Spec.Programs, func(name string, _ *ebpf.ProgramSpec) bool { return name != "fw_judge" })
	c := &contender{name: name, progs: map[classbench.Traffic]*ebpf.Program{}, least: map[classbench.Traffic]float64{}, made: o.plan.made()}
	for _, kind := range engineTraffic {
		spec := o.Spec.Copy()
		for _, name := range []string{"ct", "ct_new", "frags", "ifaces"} {
			spec.Maps[name].MaxEntries = 16
		}
		classbench.Instrument(spec, classbench.Headers(filters, kind, 1<<14, 1))
		coll, err := ebpf.NewCollection(spec)
		if err != nil {
			b.Logf("%s: %.150s", name, err)
			return nil
		}
		b.Cleanup(coll.Close)
		c.progs[kind], c.least[kind] = coll.Programs["fw_judge"], math.MaxFloat64
		info, err := c.progs[kind].Info()
		if err != nil {
			b.Fatal(err)
		}
		n, _ := info.VerifiedInstructions()
		c.size = int(n)
	}
	return c
}

// made is how many classifiers and forks there are.
func (p *plan) made() string {
	forks := 0
	for _, b := range p.blocks {
		each(b.steps, func(s *step) {
			if s.fork != nil {
				forks++
			}
		})
	}
	return fmt.Sprintf("%dC %dF", len(p.classifiers), forks)
}

// race measures contenders in turns, and keeps the least of each.
func race(b *testing.B, rounds int, all []*contender) {
	for range rounds {
		for _, kind := range engineTraffic {
			for _, c := range all {
				ns, err := classbench.Measure(c.progs[kind], 1)
				if err != nil {
					b.Fatal(err)
				}
				c.least[kind] = min(c.least[kind], ns)
			}
		}
	}
}

// BenchmarkEngines measures rulesets of all kinds and sizes under every engine, in turns: ns of a packet over a ruleset of none, hot, uniform
// and mixed. The engines that the cost model chooses from are the contenders; the last column is what it chose.
func BenchmarkEngines(b *testing.B) {
	pin(b)
	for _, g := range classbench.AllGrown {
		if !strings.Contains(g.Name, *benchGrown) {
			continue
		}
		for _, p := range classbench.Profiles {
			for _, n := range sizesFrom(*benchSizes) {
				b.Run(fmt.Sprintf("%s/%s/%d", p, g.Name, n), func(b *testing.B) { benchEnginesOf(b, g, p, n) })
			}
		}
	}
}

func benchEnginesOf(b *testing.B, g classbench.Grown, p classbench.Profile, n int) {
	filters := classbench.Generate(p, n, 1)
	all := []*contender{newContender(b, "null", classbench.Ruleset("null", nil), EngineAuto, filters)}
	for _, name := range strings.Split(*benchEngines, ",") {
		e, err := ParseEngine(name)
		if err != nil {
			b.Fatal(err)
		}
		if e == EngineCode && n > 1000 || e == EngineForks && n > 2000 {
			continue
		}
		if c := newContender(b, name, g.Ruleset(filters), e, filters); c != nil {
			all = append(all, c)
		}
	}
	race(b, 4, all)
	var line strings.Builder
	for _, c := range all[1:] {
		fmt.Fprintf(&line, "  %s", c.name)
		for _, k := range engineTraffic {
			fmt.Fprintf(&line, " %4.0f", c.least[k]-all[0].least[k])
		}
		fmt.Fprintf(&line, " %5dv", c.size)
	}
	fmt.Printf("%-4s %-28s %5d%s  %s\n", p, g.Name, n, line.String(), all[len(all)-1].made)
}

// sizesFrom reads -sizes.
func sizesFrom(text string) (out []int) {
	for _, part := range strings.Split(text, ",") {
		var from, to, percent int
		if n, _ := fmt.Sscanf(part, "%d-%d*%d", &from, &to, &percent); n == 3 {
			for ; from <= to; from = max(from+1, from*percent/100) {
				out = append(out, from)
			}
			continue
		}
		_, _ = fmt.Sscanf(part, "%d", &from)
		out = append(out, from)
	}
	return slices.Compact(out)
}
