package dataplane

import (
	"fmt"
	"os"

	"github.com/cilium/ebpf"

	"github.com/bpfwall/bpfwall/bpf"
	"github.com/bpfwall/bpfwall/ruleset"
)

// timerMap is the pin of a set's timer, beside tableMap and elementsMap.
const timerMap = "timer"

// startSetReapers has a kernel timer for each dynamic set take out elements that are over, with no process running.
func (t *transaction) startSetReapers() {
	for _, s := range t.rs.Sets {
		if s.Live == nil || !s.Live.Dynamic {
			continue
		}
		if err := t.d.startSetReaper(s.Name); err != nil {
			t.warn("set %q: elements whose time is over are removed by bpfwall set only: %s", s.Name, err)
		}
	}
}

func (d *Dataplane) startSetReaper(set string) error {
	if err := timers.missing(ruleset.Pos{}); err != nil {
		return err
	}
	coll, err := d.loadSetReaper(set)
	if err != nil {
		return errKernel(err)
	}
	defer coll.Close()
	return startTimer(coll.Maps["set_timer"], coll.Programs["set_reaper_start"], d.at.setPin(set, timerMap))
}

// startTimer pins the map of a timer in place of the one before, and starts it. A map without a pin runs no timer.
func startTimer(m *ebpf.Map, start *ebpf.Program, pin string) error {
	_ = os.Remove(pin + nextSuffix)
	if err := m.Pin(pin + nextSuffix); err != nil {
		return errKernel(err)
	}
	rc, err := start.Run(&ebpf.RunOptions{Data: make([]byte, 64)})
	if err == nil && rc != 0 {
		err = fmt.Errorf("timer: error %d", int32(rc))
	}
	if err != nil {
		_ = os.Remove(pin + nextSuffix)
		return errKernel(err)
	}
	return os.Rename(pin+nextSuffix, pin)
}

func (d *Dataplane) loadSetReaper(set string) (*ebpf.Collection, error) {
	spec, err := bpf.LoadSetReaper()
	if err != nil {
		return nil, err
	}
	m, err := ebpf.LoadPinnedMap(d.at.setPin(set, elementsMap), nil)
	if err != nil {
		return nil, err
	}
	defer m.Close()
	for name, value := range map[string]any{"in_thread": workQueue(spec), "period": uint64(d.reapEvery)} {
		if err := spec.Variables[name].Set(value); err != nil {
			return nil, err
		}
	}
	elements := spec.Maps["elements"]
	elements.MaxEntries, elements.KeySize, elements.Key = m.MaxEntries(), m.KeySize(), nil
	return load(spec, map[string]*ebpf.Map{"elements": m})
}
