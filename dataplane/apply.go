package dataplane

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cilium/ebpf"

	"github.com/bpfwall/bpfwall/bpf"
	"github.com/bpfwall/bpfwall/ruleset"
	"github.com/bpfwall/bpfwall/translator"
)

// Options say how a ruleset is put in force. They are kept with the generation, so that a rollback brings them back too.
type Options struct {
	Interfaces []string `json:"interfaces,omitempty"` // names; none: every interface but the ports of bridges, bonds and teams
	Mode       Mode     `json:"mode,omitempty"`
	// BesideNAT goes ahead where the kernel translates addresses (see NATError).
	BesideNAT bool `json:"beside_nat,omitempty"`
}

// Result says what Apply or Rollback did.
type Result struct {
	Generation uint32
	Previous   uint32 // what decided before; 0: nothing
	Hooks      []Hook
	Rules      int      // counters of rules and policies
	Kept       int      // of these, the ones that went on from the previous generation
	Warnings   []string // what the operator should know
	Took       time.Duration
	Flip       time.Duration // of Took, the store that made the new generation live
}

// step is one thing that a change of generation consists of. Until flip has run, an error undoes the steps before it in reverse order,
// and the old generation decides on as if nothing had happened. If the process dies instead, the next change clears up (sweep).
type step struct {
	name string
	do   func(*transaction) error
}

// applySteps are Apply, in order. Nothing that a packet can see changes before "flip", and there everything does, at once: all hooks of
// all interfaces read the same generation word.
var applySteps = []step{
	{"sweep", (*transaction).sweep},          // remove what a killed predecessor left
	{"check", (*transaction).check},          // can this kernel, and may this host, run it?
	{"compile", (*transaction).compile},      // rules that stay keep their counters' slots
	{"open maps", (*transaction).openMaps},   // flows, counters, …: shared with the live generation
	{"load", (*transaction).load},            // aside; the verifier speaks here
	{"save", (*transaction).save},            // on disk, for boot, history and rollback
	{"fill slot", (*transaction).fillSlot},   // the one of the two that is not live
	{"attach", (*transaction).attachMissing}, // to new interfaces: at once under the old rules
	{"flip", (*transaction).flip},            // one store of four bytes
	{"retire", (*transaction).retire},        // all but the live and the previous generation
}

// Apply makes rs the ruleset in force. The lock, the namespace and the BPF file system are taken care of.
//
// Returns ErrBusy, ErrNotPermitted, ErrUnsupported, ErrStateFull, *MissingInterfaceError, *NATError, *VerifierError, or what
// translator.Translate says of the rules.
func (d *Dataplane) Apply(ctx context.Context, rs *ruleset.Ruleset, meta Meta, opts Options) (*Result, error) {
	return d.apply(ctx, &transaction{rs: rs, meta: meta, opts: opts})
}

func (d *Dataplane) apply(ctx context.Context, t *transaction) (res *Result, err error) {
	err = d.change(ctx, func() error {
		res, err = d.run(ctx, applySteps, t)
		return err
	})
	return res, err
}

// transaction is a change of generation under way.
type transaction struct {
	d    *Dataplane
	rs   *ruleset.Ruleset
	meta Meta
	opts Options

	tolerant bool        // of named interfaces that are not there
	again    *Generation // the one from the disk that the next generation is once more; nil: it is new

	live *Generation // nil: nothing decides yet
	next *Generation
	out  *translator.Output

	dispatch map[string]*ebpf.Map     // the maps of the dispatchers
	shared   map[string]*ebpf.Map     // those that every generation uses
	staged   map[string]*ebpf.Map     // of these, the ones that take over from a pinned map (maps.go)
	copied   [][]bpf.Counter          // what a staged counters map started with
	programs map[string]*ebpf.Program // of the next generation
	ifaces   []iface                  // to be judged
	attacher attacher

	result  Result
	flipped bool
	undos   []func()
	closers []func() error
}

// onError has fn undo what was just done if a later step, up to the flip, goes wrong.
func (t *transaction) onError(fn func()) { t.undos = append(t.undos, fn) }

// atEnd has fn close something when the transaction is over.
func (t *transaction) atEnd(fn func() error) { t.closers = append(t.closers, fn) }

func (t *transaction) warn(format string, args ...any) {
	t.result.Warnings = append(t.result.Warnings, fmt.Sprintf(format, args...))
}

// run takes the steps.
func (d *Dataplane) run(ctx context.Context, steps []step, t *transaction) (*Result, error) {
	start := time.Now()
	t.d = d
	defer t.close()
	for _, s := range steps {
		if err := t.take(ctx, s); err != nil {
			t.rollBack()
			return nil, err
		}
	}
	t.result.Took = time.Since(start)
	return &t.result, nil
}

func (t *transaction) take(ctx context.Context, s step) error {
	if err := ctx.Err(); err != nil && !t.flipped {
		return err
	}
	if t.d.before != nil {
		if err := t.d.before(s.name); err != nil {
			return err
		}
	}
	return s.do(t)
}

func (t *transaction) rollBack() {
	if t.flipped {
		return
	}
	for i := len(t.undos) - 1; i >= 0; i-- {
		t.undos[i]()
	}
}

func (t *transaction) close() {
	for i := len(t.closers) - 1; i >= 0; i-- {
		_ = t.closers[i]()
	}
}

// check finds reasons not to start.
func (t *transaction) check() error {
	if err := probe(); err != nil {
		return err
	}
	if err := t.checkNAT(); err != nil {
		return err
	}
	return t.chooseInterfaces()
}

// chooseInterfaces finds out what is to be judged.
func (t *transaction) chooseInterfaces() (err error) {
	names := t.opts.Interfaces
	var missing *MissingInterfaceError
	for {
		t.ifaces, err = wanted(names)
		if !t.tolerant || !errors.As(err, &missing) {
			return err
		}
		t.warn("%s", missing)
		names = slices.DeleteFunc(slices.Clone(names), func(n string) bool { return n == missing.Name })
		if len(names) == 0 {
			return nil
		}
	}
}

// compile translates the rules. Those that the live generation has too keep their slots of counters and limits.
func (t *transaction) compile() error {
	var slots translator.Slots
	if t.live != nil {
		slots = t.live.Slots
	}
	out, err := translator.Translate(t.rs, slots)
	if err != nil {
		return err
	}
	n, err := t.nextNumber()
	if err != nil {
		return err
	}
	t.out = out
	t.next = &Generation{
		Number: n, Loaded: n, Forwarding: forwarding(),
		Meta: t.meta, Options: t.opts, Slots: out.Slots, Logs: out.Logs,
	}
	if t.live != nil {
		t.next.Previous = t.live.Number
	}
	if t.again != nil {
		t.next.RollbackTo, t.next.Confirmed = t.again.Number, t.again.Confirmed
	}
	return nil
}

// nextNumber is above all numbers ever given, and of the other parity than the live one: it chooses the slot.
func (t *transaction) nextNumber() (uint32, error) {
	saved, err := t.d.at.savedGenerations()
	if err != nil {
		return 0, err
	}
	var last uint32
	for _, n := range saved {
		last = max(last, n)
	}
	if t.live == nil {
		return last + 1, nil
	}
	last = max(last, t.live.Number)
	return last + 1 + (last-t.live.Number)%2, nil
}

// load verifies the programs in the kernel, with the shared maps in place of their own.
func (t *transaction) load() error {
	spec := t.out.Spec
	if err := setSwitches(spec, t.next); err != nil {
		return err
	}
	coll, err := ebpf.NewCollectionWithOptions(spec, ebpf.CollectionOptions{MapReplacements: t.shared})
	if err != nil {
		return t.d.loadError(err)
	}
	t.atEnd(func() error { coll.Close(); return nil })
	t.programs = coll.Programs
	return nil
}

// flip makes the next generation live.
func (t *transaction) flip() error {
	start := time.Now()
	if err := t.dispatch["gen"].Put(uint32(0), t.next.Number); err != nil {
		return fmt.Errorf("generation word: %w", errKernel(err))
	}
	t.flipped = true
	t.result.Flip = time.Since(start)
	t.result.Generation, t.result.Previous = t.next.Number, t.next.Previous
	return nil
}
