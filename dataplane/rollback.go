package dataplane

import (
	"context"
	"errors"
	"path/filepath"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// rollbackSteps are Rollback, in order: the programs are in the kernel still, so that there is nothing to compile or verify.
var rollbackSteps = []step{
	{"sweep", (*transaction).sweep},
	{"reuse", (*transaction).reuse},
	{"netfilter", (*transaction).attachNetfilter},
	{"save", (*transaction).save},
	{"fill slot", (*transaction).fillSlot},
	{"attach", (*transaction).attachMissing},
	{"attach XDP", (*transaction).attachXDP},
	{"flip", (*transaction).flip},
	{"retire", (*transaction).retire},
}

// errNotReusable: the previous programs use maps that others have taken over from.
var errNotReusable = errors.New("programs of another time")

// Rollback brings back the generation before the live one, under a new number. Flows stay, and so do the counters of rules that both
// have. Rolling back twice ends where it began.
//
// Returns ErrNotLoaded, ErrNoPrevious, and what Apply does.
func (d *Dataplane) Rollback(ctx context.Context, meta Meta) (*Result, error) {
	var res *Result
	err := d.change(ctx, func() (err error) {
		res, err = d.run(ctx, rollbackSteps, &transaction{meta: meta, tolerant: true})
		return err
	})
	if !errors.Is(err, errNotReusable) {
		return res, err
	}
	n, err := d.previous()
	if err != nil {
		return nil, err
	}
	return d.Restore(ctx, n, meta)
}

// Restore applies a generation that the disk remembers once more, as it was: to go further back than Rollback does, and at boot.
// Interfaces that are not there (any more, or yet) are left out with a warning.
// Returns ErrNoGeneration, and what Apply does.
func (d *Dataplane) Restore(ctx context.Context, n uint32, meta Meta) (*Result, error) {
	g, rs, err := d.Generation(n)
	if err != nil {
		return nil, err
	}
	meta.Sources = g.Sources
	return d.apply(ctx, &transaction{rs: rs, meta: meta, opts: g.Options, tolerant: true, again: g})
}

// Confirm says that the live generation has proved itself: it is the one to start with after a boot, and so is what it becomes by a
// rollback. Returns ErrNotLoaded.
func (d *Dataplane) Confirm(ctx context.Context) (uint32, error) {
	var n uint32
	err := d.change(ctx, func() (err error) {
		if n, err = d.liveNumber(); err != nil {
			return err
		}
		g, err := d.at.readMeta(n)
		if err != nil {
			return err
		}
		g.Confirmed = true
		return d.at.rewriteMeta(g)
	})
	return n, err
}

// previous is the number of the generation before the live one.
func (d *Dataplane) previous() (uint32, error) {
	n, err := d.liveNumber()
	if err != nil {
		return 0, err
	}
	g, err := d.at.readMeta(n)
	if err != nil || g.Previous == 0 {
		return 0, ErrNoPrevious
	}
	return g.Previous, nil
}

// reuse takes the previous generation as the next one.
func (t *transaction) reuse() error {
	if t.live == nil {
		return ErrNotLoaded
	}
	prev, rs, err := t.d.Generation(t.live.Previous)
	if t.live.Previous == 0 || errors.Is(err, ErrNoGeneration) {
		return ErrNoPrevious
	}
	if err != nil {
		return err
	}
	if found, _ := natRules(); len(found) > 0 && !prev.NAT {
		return errNotReusable // it knows nothing of them
	}
	if t.d.missesFragments(prev) {
		return errNotReusable
	}
	if t.programs, err = t.loadPinned(prev); err != nil {
		return errNotReusable
	}
	if err := t.checkMaps(prev); err != nil {
		return err
	}
	if err := t.checkSetMaps(rs, t.d.usedMaps(prev)); err != nil {
		return err
	}
	n, err := t.nextNumber()
	if err != nil {
		return err
	}
	next := *prev
	next.Number, next.Previous, next.RollbackTo = n, t.live.Number, prev.Number
	next.Time, next.User, next.Command, next.Note = t.meta.Time, t.meta.User, t.meta.Command, t.meta.Note
	t.rs, t.opts, t.next = rs, prev.Options, &next
	t.countKept()
	if err := t.openRefilled(); err != nil {
		return err
	}
	if err := t.describeHost(); err != nil {
		return err
	}
	return t.chooseInterfaces()
}

// loadPinned opens the programs of a generation.
func (t *transaction) loadPinned(g *Generation) (map[string]*ebpf.Program, error) {
	programs := map[string]*ebpf.Program{}
	names := []string{"tc_ingress", "tc_egress", "fw_judge"}
	if g.atNetfilter() {
		names = append(names, inputProgram)
	}
	if g.judgesInXDP() {
		names = append(names, xdpProgram)
	}
	if g.Connect {
		names = append(names, connectPrograms()...)
	}
	if g.Listen {
		names = append(names, listenPrograms()...)
	}
	for _, name := range names {
		p, err := ebpf.LoadPinnedProgram(filepath.Join(t.d.at.programs(g.Number), name), nil)
		if err != nil {
			return nil, err
		}
		t.atEnd(p.Close)
		programs[name] = p
	}
	return programs, nil
}

// checkMaps checks that what the programs of a generation use of the shared maps are those that are pinned now. Programs use no more of
// them than their rules ask for.
func (t *transaction) checkMaps(g *Generation) error {
	for _, id := range t.d.usedMaps(g) {
		name, err := sharedName(id)
		if err != nil {
			return err
		}
		if name == "" {
			continue
		}
		m, err := t.d.openPinned(name)
		if err != nil {
			return err
		}
		now, ok := mapID(m)
		_ = m.Close()
		if !ok || now != id {
			return errNotReusable
		}
	}
	return nil
}

// sharedName is under which name a map is shared, "" if it is a generation's own.
func sharedName(id ebpf.MapID) (string, error) {
	m, err := ebpf.NewMapFromID(id)
	if err != nil {
		return "", errNotReusable
	}
	defer m.Close()
	info, err := m.Info()
	if err != nil {
		return "", errNotReusable
	}
	for _, name := range sharedMaps {
		if name[:min(len(name), unix.BPF_OBJ_NAME_LEN-1)] == info.Name {
			return name, nil
		}
	}
	return "", nil
}
