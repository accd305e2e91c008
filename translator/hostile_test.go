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
	hostileRules  = flag.Int("hostile", 0, "measure rulesets of so many hostile rules")
	hostileEngine = flag.String("engine", "auto", "in which engine")
)

// TestHostileCost says what hostile rules become and cost.
func TestHostileCost(t *testing.T) {
	if *hostileRules == 0 {
		t.Skip("a measurement: -hostile 5000")
	}
	for kind, h := range random.Hostile {
		for _, f := range []ruleset.Family{ruleset.FamilyIPv4, ruleset.FamilyIPv6} {
			t.Run(fmt.Sprintf("%s, %s", h.Name, f), func(t *testing.T) { hostileCost(t, kind, f, *hostileRules) })
		}
	}
}

func hostileCost(t *testing.T, kind int, f ruleset.Family, n int) {
	g := random.New(uint64(kind))
	boxes := g.Boxes(kind, n)
	start := time.Now()
	engine, err := ParseEngine(*hostileEngine)
	if err != nil {
		t.Fatal(err)
	}
	o, err := Options{Engine: engine}.Translate(random.HostileRules(f, boxes), Slots{})
	if err != nil {
		t.Logf("REFUSED after %v: %v", time.Since(start).Round(time.Millisecond), err)
		return
	}
	translated := time.Since(start).Round(time.Millisecond)
	for _, c := range o.plan.classifiers {
		t.Log(c)
	}
	for _, r := range append(o.plan.refused, o.plan.inCode...) {
		t.Log(r)
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
		t.Logf("%d tables, translated in %v; DOES NOT LOAD (%v): %.300v", len(o.plan.classifiers), translated, time.Since(start).Round(time.Millisecond), err)
		return
	}
	defer coll.Close()
	loaded := time.Since(start).Round(time.Millisecond)
	var pkts []bpf.Pkt
	for range packets {
		p := g.Point(boxes).Packet(f)
		pkts = append(pkts, o.Pkt(&p, ruleset.HookInput))
	}
	pin(t)
	r := classbench.NewReplay(coll)
	uniform := replayTime(t, r, pkts)
	for i := range pkts {
		pkts[i] = pkts[packets/2]
	}
	hot := replayTime(t, r, pkts)
	t.Logf("%d tables, %.1f MB, translated in %v, loaded in %v; hot %.0f ns, uniform %.0f", len(o.plan.classifiers), float64(o.TableBytes())/1e6, translated, loaded, hot, uniform)
}

// replayTime is the ns that a packet takes.
func replayTime(t *testing.T, r *classbench.Replay, pkts []bpf.Pkt) float64 {
	best := 1e12
	for range 20 {
		d, err := r.Time(pkts)
		if err != nil {
			t.Fatal(err)
		}
		best = min(best, float64(d.Nanoseconds())/float64(len(pkts)))
	}
	return best
}
