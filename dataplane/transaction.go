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

// step is one thing that a change of generation consists of: see applySteps, rollbackSteps and refreshSteps.
type step struct {
	name string
	do   func(*transaction) error
}

// transaction is a change of generation under way.
type transaction struct {
	d    *Dataplane
	rs   *ruleset.Ruleset
	meta Meta
	opts Options

	tolerant bool        // of named interfaces that are not there
	again    *Generation // the one from the disk that the next generation is once more; nil: it is new

	nat   bool        // the kernel translates addresses
	live  *Generation // nil: nothing decides yet
	next  *Generation
	out   *translator.Output
	used  *ruleset.Used     // see uses
	begun *translator.Begun // of rs; nil: what the rules are is not known yet

	draft *draft // of next

	dispatch map[string]*ebpf.Map     // the maps of the dispatchers
	shared   map[string]*ebpf.Map     // those that every generation uses
	staged   map[string]*ebpf.Map     // of these, the ones that take over from a pinned map (maps.go)
	copied   [][]bpf.Counter          // what a staged counters map started with
	taken    []takenOver              // maps of sets that take over from others
	programs map[string]*ebpf.Program // of the next generation
	sums     map[string]string        // of these, what they are made of
	standby  *standby                 // from which some of them are
	quiet    chan struct{}            // closed when nothing but the live generation runs
	ifaces   []iface                  // to be judged
	attacher attacher
	mode     Mode          // of attacher
	inXDP    map[hook]bool // where a dispatcher stands in XDP
	seal     uint64        // by which tc ingress knows what this generation has judged in XDP; 0: nothing

	began   time.Time
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
	t.d, t.began = d, time.Now()
	defer t.close()
	for i, s := range steps {
		if d.cfg.Progress != nil {
			d.cfg.Progress(s.name, i+1, len(steps))
		}
		if err := t.take(ctx, s); err != nil {
			t.rollBack()
			return nil, err
		}
	}
	return &t.result, nil
}

func (t *transaction) take(ctx context.Context, s step) error {
	if ctx.Err() != nil && !t.flipped {
		return ErrInterrupted
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

// uses is the fields that the rules look at, which many ask for.
func (t *transaction) uses() ruleset.Used {
	if t.used == nil {
		find := t.rs.Used
		if t.begun != nil {
			find = t.begun.Used
		}
		used := find()
		t.used = &used
	}
	return *t.used
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
