package dataplane

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/rlimit"

	"github.com/bpfwall/bpfwall/bpf"
	"github.com/bpfwall/bpfwall/bpf/prune"
	"github.com/bpfwall/bpfwall/ruleset"
	"github.com/bpfwall/bpfwall/translator"
)

// Twin is a second copy of compiled rules in the kernel, with maps of its own and attached to nothing, to run made-up packets through.
// One packet at a time.
type Twin struct {
	rs   *ruleset.Ruleset
	out  *translator.Output
	coll *ebpf.Collection
	by   map[uint32]Decider // by counter slot
}

// Judgement is what the rules of one hook make of a packet.
type Judgement struct {
	Hook    ruleset.Hook
	Verdict ruleset.Verdict
	By      *Decider // nil: no rule or policy decided, see Reason
	Reason  string
	Mark    uint32 // as the rules left it
	NoTrack bool
}

// judgeProgram runs the rules of one hook on a packet that user space has made.
const judgeProgram = "fw_judge"

// private are maps that a twin needs only small, or not at all.
var private = []string{"ct", "ct_new", "frags", "ifaces", "addr_types", "cgroups", "conncounts", "conncount_places"}

// NewTwin compiles rules and loads them. Needs the rights that Apply needs; the caller closes it.
func NewTwin(rs *ruleset.Ruleset) (*Twin, error) { return newTwin(rs, translator.Slots{}, nil, nil) }

// Twin is the twin of the generation in force: the same code, with token buckets as full and elements of sets as they are now. What its rules
// do to sets changes a copy. Returns ErrNotLoaded.
func (d *Dataplane) Twin() (*Twin, error) {
	g, rs, err := d.Live()
	if err != nil {
		return nil, err
	}
	limits, err := d.openPinned("limits")
	if err != nil {
		return nil, err
	}
	defer limits.Close()
	tables, err := d.openTables(rs)
	if err != nil {
		return nil, err
	}
	defer closeAll(tables)
	t, err := newTwin(rs, g.Slots, limits, tables)
	if err == nil {
		err = t.copySets(d)
	}
	if err == nil {
		err = t.copyRemembered(d)
	}
	return t, err
}

func newTwin(rs *ruleset.Ruleset, slots translator.Slots, limits *ebpf.Map, tables map[string]*ebpf.Map) (*Twin, error) {
	if err := checkPermitted(); err != nil {
		return nil, err
	}
	out, err := translator.Translate(rs, slots)
	if err != nil {
		return nil, err
	}
	for _, name := range private {
		if m := out.Spec.Maps[name]; m != nil {
			m.MaxEntries = 16
		}
	}
	if err := rlimit.RemoveMemlock(); err != nil {
		return nil, fmt.Errorf("limit of locked memory: %w", errKernel(err))
	}
	out.Spec.Programs = map[string]*ebpf.ProgramSpec{judgeProgram: out.Spec.Programs[judgeProgram]}
	if err := fitKernel(out.Spec); err != nil {
		return nil, err
	}
	prune.Spec(out.Spec)
	coll, err := load(out.Spec, tables)
	if err != nil {
		return nil, fmt.Errorf("load: %w", errKernel(err))
	}
	t := &Twin{rs: rs, out: out, coll: coll, by: map[uint32]Decider{}}
	for _, who := range deciders(rs) {
		t.by[out.Slots.Counters[who.ID]] = who
	}
	if limits != nil {
		err = t.copyLimits(limits, out.Slots)
	}
	return t, err
}

// copyLimits takes over the token buckets.
func (t *Twin) copyLimits(from *ebpf.Map, slots translator.Slots) error {
	for id, slot := range slots.Limits {
		var v bpf.Limit
		err := from.Lookup(slot, &v)
		if err == nil {
			err = t.coll.Maps["limits"].Put(slot, v)
		}
		if err != nil {
			t.Close()
			return fmt.Errorf("limit of %s: %w", id, errKernel(err))
		}
	}
	return nil
}

// Close removes the twin from the kernel.
func (t *Twin) Close() { t.coll.Close() }

// Explain runs a packet through the rules of a hook and those that it meets before it, until one does not accept it, as
// ruleset.Ruleset.Walk does. The last judgement is the one that counts.
func (t *Twin) Explain(h ruleset.Hook, p *ruleset.Packet) ([]Judgement, error) {
	var all []Judgement
	now := *p
	for _, at := range h.Path() {
		j, err := t.judge(at, &now)
		if err != nil {
			return nil, err
		}
		all = append(all, j)
		if j.Verdict.Kind != ruleset.Accept {
			break
		}
		now.Mark = j.Mark
		if j.NoTrack {
			now.State = ruleset.StateUntracked
		}
	}
	return all, nil
}

// judge runs one hook's program.
func (t *Twin) judge(h ruleset.Hook, p *ruleset.Packet) (Judgement, error) {
	if p.Malformed && t.rs.ReadsTransport() && len(t.rs.Base(h, p.Family)) > 0 {
		// The programs drop these before the rules run; fw_judge starts with the rules.
		return Judgement{Hook: h, Verdict: ruleset.Verdict{Kind: ruleset.Drop}, Reason: ruleset.ReasonMalformed, Mark: p.Mark}, nil
	}
	pkt, verdict, err := t.run(t.out.Pkt(p, h))
	if err != nil {
		return Judgement{}, err
	}
	j := Judgement{
		Hook: h, Mark: pkt.Mark, NoTrack: pkt.Notrack == 1,
		Verdict: ruleset.Verdict{Kind: ruleset.VerdictKind(verdict), With: ruleset.RejectWith(verdict >> 8)},
	}
	if who, ok := t.by[pkt.Rule]; ok && pkt.Rule != translator.NoRule {
		j.By = &who
	} else {
		j.Reason = fmt.Sprintf("no chain judges %s packets on %s", p.Family, h)
	}
	return j, nil
}

// run puts a packet where fw_judge looks for it, on every CPU, and runs it on one: that is the one whose packet has changed.
func (t *Twin) run(pkt bpf.Pkt) (after bpf.Pkt, verdict uint32, err error) {
	cpus := make([]bpf.Pkt, ebpf.MustPossibleCPU())
	for i := range cpus {
		cpus[i] = pkt
	}
	scratch := t.coll.Maps["scratch"]
	err = scratch.Put(uint32(0), cpus)
	if err == nil {
		_, err = t.coll.Programs[judgeProgram].Run(&ebpf.RunOptions{Data: make([]byte, 64)})
	}
	if err == nil {
		err = errors.Join(scratch.Lookup(uint32(0), &cpus), t.coll.Maps["judged"].Lookup(uint32(0), &verdict))
	}
	if err != nil {
		return pkt, 0, fmt.Errorf("test run: %w", errKernel(err))
	}
	for _, after := range cpus {
		if after != pkt {
			return after, verdict, nil
		}
	}
	return pkt, verdict, nil
}
