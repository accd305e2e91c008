package dataplane

import (
	"errors"
	"strings"

	"github.com/cilium/ebpf"

	"github.com/bpfwall/bpfwall/bpf"
)

// flowTables are the maps whose size the ruleset decides: a pinned one of another size gives way to a new one, smaller ones included.
var flowTables = map[string]func(to, from *ebpf.Map) (lost int, err error){
	"ct":     copyFlows(func(v *bpf.CtAssured) *bpf.CtFlow { return &v.Flow }),
	"ct_new": copyFlows(func(v *bpf.CtFlow) *bpf.CtFlow { return v }),
}

// copyFlows makes a function that brings the flows of one map into another, and counts those that found no room. A flow that is further on
// in the other map stays as it is there, so that it can be called again for what the first time missed.
func copyFlows[V any](flow func(*V) *bpf.CtFlow) func(to, from *ebpf.Map) (int, error) {
	return func(to, from *ebpf.Map) (lost int, err error) {
		keys, values := make([]bpf.CtKey, flowBatch), make([]V, flowBatch)
		now := bootTime()
		for at := new(ebpf.MapBatchCursor); ; {
			n, batchErr := from.BatchLookup(at, keys, values, nil)
			for i := range n {
				var there V
				f := flow(&values[i])
				if f.Expires <= now || to.Lookup(keys[i], &there) == nil && packetsOf(flow(&there)) >= packetsOf(f) {
					continue
				}
				if to.Put(keys[i], values[i]) != nil {
					lost++
				}
			}
			if errors.Is(batchErr, ebpf.ErrKeyNotExist) {
				return lost, nil // that was the last batch
			}
			if batchErr != nil {
				return lost, batchErr
			}
		}
	}
}

func packetsOf(f *bpf.CtFlow) uint64 { return f.Packets[0] + f.Packets[1] }

// resized reports whether a pinned map whose size the ruleset decides has another one than it wants.
func resized(spec *ebpf.MapSpec, old *ebpf.Map) bool {
	sized := flowTables[spec.Name] != nil || strings.HasPrefix(spec.Name, "conncount")
	return sized && spec.MaxEntries != old.MaxEntries()
}

// copyPlaces brings the places of flows that are counted into another map.
func copyPlaces(to, from *ebpf.Map) error {
	keys, values := make([]bpf.PlaceKey, flowBatch), make([]bpf.Place, flowBatch)
	for at := new(ebpf.MapBatchCursor); ; {
		n, err := from.BatchLookup(at, keys, values, nil)
		for i := range n {
			if err := to.Put(keys[i], values[i]); err != nil {
				return err
			}
		}
		switch {
		case errors.Is(err, ebpf.ErrKeyNotExist):
			return nil // that was the last batch
		case err != nil:
			return err
		}
	}
}

// bringFlows copies the flows of a table into the one that takes over from it, before the flip; promote brings what happens meanwhile.
func (t *transaction) bringFlows(name string, to, from *ebpf.Map) {
	lost, err := flowTables[name](to, from)
	if err != nil {
		t.warn("map %s: %s; it starts without some flows", name, err)
	}
	if lost > 0 {
		t.warn("map %s: %d flows did not fit into %d entries and are forgotten", name, lost, to.MaxEntries())
	}
}
