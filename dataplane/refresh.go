package dataplane

import (
	"context"
	"fmt"

	"github.com/cilium/ebpf"

	"github.com/bpfwall/bpfwall/ruleset"
)

// refreshSteps are Refresh, in order. The generation stays.
var refreshSteps = []step{
	{"sweep", (*transaction).sweep},
	{"stay", (*transaction).stay},
	{"netfilter", (*transaction).attachNetfilter},
	{"attach", (*transaction).attachMissing},
	{"attach XDP", (*transaction).attachXDP},
	{"detach", func(t *transaction) error { t.detachUnwanted(); return nil }},
	{"reap", (*transaction).reap},
}

// Refresh adapts the firewall to a host that has changed under it: it attaches to interfaces that are new and to hooks that something
// was detached from, learns names and addresses, and removes flows that are over where no timer does. The rules in force stay.
// Returns ErrNotLoaded.
func (d *Dataplane) Refresh(ctx context.Context) (*Result, error) {
	var res *Result
	err := d.change(ctx, func() (err error) {
		res, err = d.run(ctx, refreshSteps, &transaction{tolerant: true})
		return err
	})
	return res, err
}

// stay takes the live generation for the next one, too.
func (t *transaction) stay() (err error) {
	if t.live == nil {
		return ErrNotLoaded
	}
	if t.rs, err = t.d.at.readRuleset(t.live.Number); err != nil {
		return err
	}
	t.next, t.opts = t.live, t.live.Options
	t.result.Generation, t.result.Previous = t.live.Number, t.live.Previous
	t.countKept()
	if err := t.openRefilled(); err != nil {
		return err
	}
	if err := t.describeHost(); err != nil {
		return err
	}
	return t.chooseInterfaces()
}

// reap removes flows that are over, where no timer does.
func (t *transaction) reap() error {
	if lacks(timers) {
		_, _ = t.d.dropExpired()
	}
	return nil
}

// openRefilled opens the maps that describeHost fills.
func (t *transaction) openRefilled() error {
	t.shared = map[string]*ebpf.Map{}
	names := []string{"ifaces", "addr_types"}
	if t.uses().Has(ruleset.FieldCgroup) {
		names = append(names, "cgroups")
	}
	if t.next.Connect {
		names = append(names, "epochs", "own_addrs")
	}
	if t.next.Notes {
		names = append(names, "sock_owner")
	}
	for _, name := range names {
		m, err := ebpf.LoadPinnedMap(t.d.at.mapPin(name), nil)
		if err != nil {
			return fmt.Errorf("map %s: %w", name, errKernel(err))
		}
		t.atEnd(m.Close)
		t.shared[name] = m
	}
	return nil
}
