package dataplane

import (
	"context"
	"fmt"
	"time"

	"github.com/bpfwall/bpfwall/ruleset"
	"github.com/bpfwall/bpfwall/translator"
)

// Options say how a ruleset is put in force. They are kept with the generation, so that a rollback brings them back too.
type Options struct {
	Interfaces []string `json:"interfaces,omitempty"` // names; none: every interface but the ports of bridges, bonds and teams
	Mode       Mode     `json:"mode,omitempty"`
	// BesideNAT makes ready for NAT of the kernel that is not there yet. Where nat rules are in force, Apply does so by itself.
	BesideNAT bool `json:"beside_nat,omitempty"`
	XDP       XDP  `json:"xdp,omitempty"`        // where prerouting rules are judged
	MaxMemory uint `json:"max_memory,omitempty"` // MB that the tables of rules and sets may take; 0: UsualMemory
}

// Result says what Apply or Rollback did.
type Result struct {
	Generation uint32
	Previous   uint32 // what decided before; 0: nothing
	Hooks      []Hook
	Rules      int           // counters of rules and policies
	Kept       int           // of these, the ones that went on from the previous generation
	Warnings   []string      // what the operator should know
	Verified   int           // programs that the kernel had to verify; the others were there
	Took       time.Duration // until the new generation was live
	Flip       time.Duration // of Took, the store that made the new generation live
}

// applySteps are Apply, in order. No verdict changes before "flip", and there all of them do, at once: the hooks of all interfaces read the
// same generation word. Until then an error undoes what was done, in reverse order; if the process dies, the next one's "sweep" does.
var applySteps = []step{
	{"sweep", (*transaction).sweep},          // remove what a killed predecessor left
	{"check", (*transaction).check},          // can this kernel, and may this host, run it?
	{"compile", (*transaction).compile},      // rules that stay keep their counters' slots
	{"open maps", (*transaction).openMaps},   // flows, counters, …: shared with the live generation
	{"defrag", (*transaction).chooseDefrag},  // whoever is to put fragments together
	{"hooks", (*transaction).chooseHooks},    // those with nothing to decide are not attached
	{"load", (*transaction).load},            // aside; the verifier speaks here
	{"save", (*transaction).save},            // on disk, for boot, history and rollback
	{"fill slot", (*transaction).fillSlot},   // the one of the two that is not live
	{"attach", (*transaction).attachMissing}, // to new interfaces: at once under the old rules
	{"attach XDP", (*transaction).attachXDP}, // where prerouting rules can be judged there; else tc does
	{"flip", (*transaction).flip},            // one store of four bytes
	{"retire", (*transaction).retire},        // all but the live and the previous generation
}

// Apply makes rs the ruleset in force. The lock, the namespace and the BPF file system are taken care of.
//
// Returns ErrBusy, ErrNotPermitted, ErrUnsupported, ErrStateFull, *MissingInterfaceError, *MemoryError, *VerifierError, or what
// translator.Translate says of the rules.
func (d *Dataplane) Apply(ctx context.Context, rs *ruleset.Ruleset, meta Meta, opts Options) (*Result, error) {
	begun := translator.Begin(rs)
	defer begun.Wait()
	return d.apply(ctx, &transaction{rs: rs, begun: begun, meta: meta, opts: opts})
}

func (d *Dataplane) apply(ctx context.Context, t *transaction) (res *Result, err error) {
	err = d.change(ctx, func() error {
		res, err = d.run(ctx, applySteps, t)
		return err
	})
	return res, err
}

// check finds reasons not to start.
func (t *transaction) check() error {
	if err := probe(); err != nil {
		return err
	}
	if err := t.checkWants(); err != nil {
		return err
	}
	if err := t.checkOwners(); err != nil {
		return err
	}
	if err := t.checkListen(); err != nil {
		return err
	}
	if err := t.chooseNAT(); err != nil {
		return err
	}
	if err := t.chooseInterfaces(); err != nil {
		return err
	}
	return t.warnOfAbsent()
}

// compile translates the rules. Those that the live generation has too keep their slots of counters and limits.
func (t *transaction) compile() error {
	var slots translator.Slots
	if t.live != nil {
		slots = t.live.Slots
	}
	n, err := t.nextNumber()
	if err != nil {
		return err
	}
	if t.begun == nil {
		t.begun = translator.Begin(t.rs)
	}
	out, err := t.begun.Translate(translator.Options{Identified: func() { t.begin(n, t.meta.Sources) }}, slots)
	if err != nil {
		return err
	}
	t.out = out
	if err := t.checkMemory(); err != nil {
		return err
	}
	t.next = &Generation{
		Number: n, Loaded: n, Forwarding: forwarding(), NAT: t.nat,
		Meta: t.meta, Options: t.opts, Slots: out.Slots, Logs: out.Logs,
	}
	if t.live != nil {
		t.next.Previous = t.live.Number
	}
	t.chooseXDP()
	t.chooseTCP()
	t.chooseNotes()
	if t.again != nil {
		t.next.RollbackTo, t.next.Confirmed = t.again.Number, t.again.Confirmed
	}
	t.draft.slots(t.next)
	return nil
}

// load verifies the programs in the kernel, with the shared maps in place of their own.
func (t *transaction) load() error {
	spec := t.out.Spec
	if !t.next.atNetfilter() {
		delete(spec.Programs, inputProgram)
	}
	if err := setSwitches(spec, t.next, t.seal); err != nil {
		return err
	}
	t.nameJudged(spec)
	own, err := t.loadPrograms(spec)
	if err != nil {
		return t.d.loadError(err)
	}
	if err := t.loadConnect(own); err != nil {
		return err
	}
	if err := t.loadListen(own); err != nil {
		return err
	}
	return t.loadXDP(own)
}

// flip makes the next generation live.
func (t *transaction) flip() error {
	start := time.Now()
	if err := t.dispatch["gen"].Put(uint32(0), t.next.Number); err != nil {
		return fmt.Errorf("generation word: %w", errKernel(err))
	}
	t.flipped = true
	t.result.Flip, t.result.Took = time.Since(start), time.Since(t.began)
	t.result.Generation, t.result.Previous = t.next.Number, t.next.Previous
	return nil
}
