package dataplane

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/cilium/ebpf"
)

// Disable lets every packet pass from one moment to the next, detaches the dispatchers and removes all pins. The disk still remembers
// the generations. Returns ErrNotLoaded if there is nothing to remove.
func (d *Dataplane) Disable(ctx context.Context) error {
	return d.change(ctx, func() error {
		if _, err := os.Stat(d.at.pins); errors.Is(err, os.ErrNotExist) && !holdsWithoutPins() {
			return ErrNotLoaded
		}
		_, _ = d.saveSets() // for the next time
		d.openGates()
		t := &transaction{d: d}
		t.detachUnwanted()
		if err := d.removePins(); err != nil {
			return err
		}
		if len(t.result.Warnings) > 0 {
			return fmt.Errorf("still attached: %s", t.result.Warnings[0])
		}
		return d.at.forgetCurrent()
	})
}

// openGates has every dispatcher let pass, at once.
func (d *Dataplane) openGates() {
	if gen, err := ebpf.LoadPinnedMap(d.at.mapPin("gen"), nil); err == nil {
		_ = gen.Put(uint32(0), uint32(0))
		_ = gen.Close()
	}
}

// holdsWithoutPins reports whether dispatchers are attached that need no pin: filters of clsact, whose pins somebody has removed.
func holdsWithoutPins() bool {
	has, err := clsact{}.attached()
	return err == nil && len(has) > 0
}

// Forget removes the pins of a network namespace whose name is gone. Its link at LOCAL_IN keeps such a namespace, and its interfaces,
// alive. Returns ErrNoNamespace if there are none.
func Forget(ctx context.Context, cfg Config) error {
	d := newDataplane(cfg)
	d.cfg.Netns, cfg.Netns = "", d.cfg.Netns // there is nothing to enter any more
	if cfg.Netns == "" || checkNetns(cfg.Netns) == nil {
		return fmt.Errorf("network namespace %q: not gone", cfg.Netns)
	}
	return d.change(ctx, func() error {
		if _, err := os.Stat(d.at.pins); err != nil {
			return fmt.Errorf("network namespace %q: %w", cfg.Netns, ErrNoNamespace)
		}
		d.openGates()
		if err := d.removePins(); err != nil {
			return err
		}
		return d.at.forgetCurrent()
	})
}

// removePins removes this namespace's pins, and not those of other namespaces that are kept below the host's.
func (d *Dataplane) removePins() error {
	for _, dir := range []string{d.at.links, d.at.progs, d.at.maps} {
		if err := os.RemoveAll(dir); err != nil {
			return fmt.Errorf("%s: %w", dir, errKernel(err))
		}
	}
	for dir := d.at.pins; dir != d.cfg.BPFFS; dir = filepath.Dir(dir) {
		_ = os.Remove(dir) // not if others are in there
	}
	return nil
}
