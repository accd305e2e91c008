package translator

import (
	"flag"
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/cilium/ebpf"

	"github.com/bpfwall/bpfwall/bpf"
	"github.com/bpfwall/bpfwall/internal/classbench"
	"github.com/bpfwall/bpfwall/internal/random"
	"github.com/bpfwall/bpfwall/ruleset"
)

var (
	hostileRules  = flag.Int("hostile", 1000, "rules of the rulesets that BenchmarkHostile measures")
	hostileEngine = flag.String("engine", "auto", "in which engine")
)

// BenchmarkHostile says what hostile rules become and cost; with -benchtime 1x, each kind once.
func BenchmarkHostile(b *testing.B) {
	for kind, h := range random.Hostile {
		for _, f := range []ruleset.Family{ruleset.FamilyIPv4, ruleset.FamilyIPv6} {
			b.Run(fmt.Sprintf("%s, %s", h.Name, f), func(b *testing.B) { hostileCost(b, kind, f, *hostileRules) })
		}
	}
}

func hostileCost(b *testing.B, kind int, f ruleset.Family, n int) {
	g := random.New(uint64(kind))
	boxes := g.Boxes(kind, n)
	start := time.Now()
	engine, err := ParseEngine(*hostileEngine)
	if err != nil {
		b.Fatal(err)
	}
	o, err := Options{Engine: engine}.Translate(random.HostileRules(f, boxes), Slots{})
	if err != nil {
		b.Logf("REFUSED after %v: %v", time.Since(start).Round(time.Millisecond), err)
		return
	}
	translated := time.Since(start).Round(time.Millisecond)
	for _, c := range o.plan.classifiers {
		b.Log(c)
	}
	for _, r := range append(o.plan.refused, o.plan.inCode...) {
		b.Log(r)
	}
	maps.DeleteFunc(o.Spec.Programs, func(name string, _ *ebpf.ProgramSpec) bool { return name != "fw_judge" })
	const packets = 1 << 13
	classbench.Prepare(o.Spec, "fw_input", packets)
	start = time.Now()
	for _, name := range []string{"ct", "ct_new", "frags", "ifaces"} {
		o.Spec.Maps[name].MaxEntries = 16
	}
	coll, err := ebpf.NewCollection(o.Spec)
	if err != nil {
		b.Logf("%d tables, translated in %v; DOES NOT LOAD (%v): %.300v", len(o.plan.classifiers), translated, time.Since(start).Round(time.Millisecond), err)
		return
	}
	defer coll.Close()
	loaded := time.Since(start).Round(time.Millisecond)
	var pkts []bpf.Pkt
	for range packets {
		p := g.Point(boxes).Packet(f)
		pkts = append(pkts, o.Pkt(&p, ruleset.HookInput))
	}
	pin(b)
	r := classbench.NewReplay(coll)
	uniform := replayTime(b, r, pkts)
	for i := range pkts {
		pkts[i] = pkts[packets/2]
	}
	hot := replayTime(b, r, pkts)
	b.Logf("%d tables, %.1f MB, translated in %v, loaded in %v; hot %.0f ns, uniform %.0f", len(o.plan.classifiers), float64(o.TableBytes())/1e6, translated, loaded, hot, uniform)
}

// replayTime is the ns that a packet takes.
func replayTime(b *testing.B, r *classbench.Replay, pkts []bpf.Pkt) float64 {
	best := 1e12
	for range 20 {
		d, err := r.Time(pkts)
		if err != nil {
			b.Fatal(err)
		}
		best = min(best, float64(d.Nanoseconds())/float64(len(pkts)))
	}
	return best
}
