package translator

import (
	"errors"
	"maps"
	"os"
	"runtime"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/rlimit"
	"golang.org/x/sys/unix"

	"github.com/bpfwall/bpfwall/bpf"
	"github.com/bpfwall/bpfwall/ruleset"
)

// judge is a compiled ruleset in the kernel.
type judge struct {
	out  *Output
	coll *ebpf.Collection
	cpu  int // whose scratch is used
}

// newJudge compiles a ruleset and loads what it takes to judge packets. The thread stays on one CPU, whose scratch and counters are
// the ones looked at.
func newJudge(tb testing.TB, rs *ruleset.Ruleset) *judge {
	tb.Helper()
	return newJudgeOf(tb, rs, EngineAuto)
}

// newJudgeOf is newJudge with all rules in an engine that can take them.
func newJudgeOf(tb testing.TB, rs *ruleset.Ruleset, engine Engine) *judge {
	tb.Helper()
	out, err := Options{Engine: engine}.Translate(rs, Slots{})
	if err != nil {
		tb.Fatal(err)
	}
	return judgeBy(tb, out)
}

func judgeBy(tb testing.TB, out *Output) *judge {
	tb.Helper()
	maps.DeleteFunc(out.Spec.Programs, func(name string, _ *ebpf.ProgramSpec) bool { return name != "fw_judge" })
	return load(tb, out, 16)
}

// load loads all of a compiled ruleset that is there, with room for so many flows.
func load(tb testing.TB, out *Output, flows uint32) *judge {
	tb.Helper()
	if os.Geteuid() != 0 {
		tb.Skip("loading BPF programs needs root")
	}
	cpu := pin(tb)
	for _, name := range []string{"ct", "ct_new", "frags", "ifaces"} {
		out.Spec.Maps[name].MaxEntries = flows
	}
	coll, err := ebpf.NewCollection(out.Spec)
	if err != nil {
		var v *ebpf.VerifierError
		if errors.As(err, &v) {
			tb.Fatalf("%s\n%-60v", out.Plan(), v)
		}
		tb.Fatal(err)
	}
	j := &judge{out: out, coll: coll, cpu: cpu}
	tb.Cleanup(coll.Close)
	return j
}

// pin keeps the test on one CPU, and returns its number.
func pin(tb testing.TB) int {
	tb.Helper()
	if err := rlimit.RemoveMemlock(); err != nil {
		tb.Fatal(err)
	}
	runtime.LockOSThread()
	var old, set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &old); err != nil {
		tb.Fatal(err)
	}
	cpu := 0
	for !old.IsSet(cpu) {
		cpu++
	}
	set.Set(cpu)
	if err := unix.SchedSetaffinity(0, &set); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := unix.SchedSetaffinity(0, &old); err != nil {
			tb.Error(err)
		}
		runtime.UnlockOSThread()
	})
	return cpu
}

// result is what both engines say of a packet.
type result struct {
	Verdict string
	Mark    uint32
	NoTrack bool
	Synned  bool   // SynProxy
	Rule    string // that decided
}

// run judges a packet in the kernel.
func (j *judge) run(tb testing.TB, p *ruleset.Packet, h ruleset.Hook) result {
	tb.Helper()
	pkts := make([]bpf.Pkt, ebpf.MustPossibleCPU())
	for i := range pkts {
		pkts[i] = j.out.Pkt(p, h)
	}
	scratch := j.coll.Maps["scratch"]
	if err := scratch.Put(uint32(0), pkts); err != nil {
		tb.Fatal(err)
	}
	if _, err := j.coll.Programs["fw_judge"].Run(&ebpf.RunOptions{Data: make([]byte, 64)}); err != nil {
		tb.Fatal(err)
	}
	if err := scratch.Lookup(uint32(0), &pkts); err != nil {
		tb.Fatal(err)
	}
	var code uint32
	if err := j.coll.Maps["judged"].Lookup(uint32(0), &code); err != nil {
		tb.Fatal(err)
	}
	return j.result(code, &pkts[j.cpu])
}

func (j *judge) result(code uint32, pkt *bpf.Pkt) result {
	v := ruleset.Verdict{Kind: ruleset.VerdictKind(code & 0xff), With: ruleset.RejectWith(code >> 8)}
	r := result{Verdict: v.String(), Mark: pkt.Mark, NoTrack: pkt.Notrack != 0, Synned: pkt.Synproxy != 0}
	for id, slot := range j.out.Slots.Counters {
		if slot == pkt.Rule {
			r.Rule = id
		}
	}
	return r
}

// eval is what the reference evaluator says.
func eval(rs *ruleset.Ruleset, p *ruleset.Packet, h ruleset.Hook, st *ruleset.State) result {
	v, t := rs.Eval(h, p, st)
	return result{Verdict: v.String(), Mark: t.Packet.Mark, NoTrack: t.NoTrack, Synned: t.SynProxy, Rule: t.DecidedBy()}
}

// counter is a counter's sum over the CPUs.
func (j *judge) counter(tb testing.TB, slot uint32) (sum bpf.Counter) {
	tb.Helper()
	var per []bpf.Counter
	if err := j.coll.Maps["counters"].Lookup(slot, &per); err != nil {
		tb.Fatal(err)
	}
	for _, c := range per {
		sum.Packets += c.Packets
		sum.Bytes += c.Bytes
	}
	return sum
}
