package dataplane

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
)

// sweep finds out what is live, and removes what a change that was killed left behind. The generation word decides what that is: all
// that the live generation and the one before it do not need.
func (t *transaction) sweep() error {
	n, err := t.d.liveNumber()
	if err != nil && !errors.Is(err, ErrNotLoaded) {
		return err
	}
	if n != 0 {
		if t.live, err = t.d.at.readGeneration(n); err != nil {
			t.warn("%s: its counters start at zero", err)
			t.live = &Generation{Number: n, Loaded: n}
		}
	}
	t.d.at.dropUnborn(n)
	t.awaitReaders()
	t.sweepPrograms()
	t.sweepMaps()
	return t.sweepSlots()
}

// awaitReaders finds out when no packet is in programs any more that were called before the live generation was live.
func (t *transaction) awaitReaders() {
	t.quiet = make(chan struct{})
	go func() {
		waitForReaders()
		close(t.quiet)
	}()
}

// liveNumber reads the generation word. Returns ErrNotLoaded if there is none, or nothing is in force.
func (d *Dataplane) liveNumber() (uint32, error) {
	m, err := d.openPinned("gen")
	if err != nil {
		return 0, err
	}
	defer m.Close()
	var n uint32
	if err := m.Lookup(uint32(0), &n); err != nil {
		return 0, fmt.Errorf("generation word: %w", errKernel(err))
	}
	if n == 0 {
		return 0, ErrNotLoaded
	}
	return n, nil
}

// dropUnborn removes generations from the disk that were written and never became live.
func (l layout) dropUnborn(live uint32) {
	numbers, _ := l.savedGenerations()
	last := max(live, l.lastGeneration())
	for _, n := range numbers {
		if n > last {
			_ = os.RemoveAll(l.generation(n))
		}
	}
}

// sweepPrograms removes the pins of all generations but the live one and the one before it.
func (t *transaction) sweepPrograms() {
	keep := []string{}
	_ = os.RemoveAll(t.d.at.spare() + nextSuffix)
	if t.live == nil {
		_ = os.RemoveAll(t.d.at.spare())
	}
	if t.live != nil {
		keep = append(keep, t.d.at.programs(t.live.Number), t.d.at.programs(t.live.Previous))
	}
	t.d.at.dropPrograms(keep...)
}

func (l layout) dropPrograms(keep ...string) {
	dirs, _ := filepath.Glob(filepath.Join(l.progs, "gen-*"))
	for _, dir := range dirs {
		if !slices.Contains(keep, dir) {
			_ = os.RemoveAll(dir)
		}
	}
}

// sweepMaps settles staged maps: if the live programs use one, the flip came before the kill, and it gets its pin; if not, it goes.
func (t *transaction) sweepMaps() {
	pins, _ := filepath.Glob(t.d.at.mapPin("*" + nextSuffix))
	used := t.d.usedMaps(t.live)
	for _, pin := range pins {
		m, err := ebpf.LoadPinnedMap(pin, nil)
		if err != nil {
			continue
		}
		if id, ok := mapID(m); ok && slices.Contains(used, id) {
			_ = os.Rename(pin, strings.TrimSuffix(pin, nextSuffix))
		} else {
			_ = os.Remove(pin)
		}
		_ = m.Close()
	}
}

// usedMaps are the maps that a generation's programs use.
func (d *Dataplane) usedMaps(g *Generation) (used []ebpf.MapID) {
	if g == nil {
		return nil
	}
	for _, name := range slotMaps {
		p, err := ebpf.LoadPinnedProgram(filepath.Join(d.at.programs(g.Number), name), nil)
		if err != nil {
			continue
		}
		if info, err := p.Info(); err == nil {
			ids, _ := info.MapIDs()
			used = append(used, ids...)
		}
		_ = p.Close()
	}
	return used
}

func mapID(m *ebpf.Map) (ebpf.MapID, bool) {
	info, err := m.Info()
	if err != nil {
		return 0, false
	}
	return info.ID()
}

// sweepSlots sees to it that the slot that is not live holds the previous generation's programs and nothing else.
func (t *transaction) sweepSlots() error {
	if _, err := os.Stat(t.d.at.mapPin("gen")); err != nil {
		return nil // nothing was ever there
	}
	if err := t.openDispatch(); err != nil {
		return err
	}
	t.restoreSlot()
	return nil
}
