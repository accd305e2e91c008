package dataplane

import (
	"fmt"

	"github.com/cilium/ebpf"

	"github.com/bpfwall/bpfwall/bpf"
	"github.com/bpfwall/bpfwall/ruleset"
)

// startReaper has a kernel timer remove flows that are over from the map of assured flows, with no process running. It works on the map
// that is pinned now; the reaper that was there before ends with its pin.
func (d *Dataplane) startReaper() error {
	if err := timers.missing(ruleset.Pos{}); err != nil {
		return err
	}
	coll, err := d.loadReaper()
	if err != nil {
		return fmt.Errorf("reaper: %w", errKernel(err))
	}
	defer coll.Close()
	if err := startTimer(coll.Maps["reaper"], coll.Programs["reaper_start"], d.at.mapPin("reaper")); err != nil {
		return fmt.Errorf("reaper: %w", err)
	}
	return nil
}

// loadReaper loads it to work in a kernel thread, or before Linux 6.10 in the timer's soft interrupt, where 262,144 flows hold a CPU up for 60 ms.
func (d *Dataplane) loadReaper() (*ebpf.Collection, error) {
	spec, err := bpf.LoadReaper()
	if err != nil {
		return nil, err
	}
	flows, err := ebpf.LoadPinnedMap(d.at.mapPin("ct"), nil)
	if err != nil {
		return nil, err
	}
	defer flows.Close()
	for name, value := range map[string]any{"in_thread": workQueue(spec), "period": uint64(d.reapEvery)} {
		if err := spec.Variables[name].Set(value); err != nil {
			return nil, err
		}
	}
	spec.Maps["ct"].MaxEntries = flows.MaxEntries()
	return load(spec, map[string]*ebpf.Map{"ct": flows})
}
