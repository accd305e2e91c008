package dataplane

import (
	"cmp"
	"encoding/binary"
	"strings"

	"github.com/cilium/ebpf"

	"github.com/bpfwall/bpfwall/bpf"
)

// flowTables are the maps whose size the ruleset decides: a pinned one of another size gives way to a new one, smaller ones included.
var flowTables = map[string]func(to, from *ebpf.Map, spec *ebpf.MapSpec) (lost int, err error){
	"ct":     copyFlows(func(v *bpf.CtAssured) *bpf.CtFlow { return &v.Flow }),
	"ct_new": copyFlows(func(v *bpf.CtFlow) *bpf.CtFlow { return v }),
}

// copyFlows makes a function that brings the flows of one map into another, and counts those that found no room. A flow that is further on
// in the other map stays as it is there, so that it can be called again for what the first time missed.
func copyFlows[V any](flow func(*V) *bpf.CtFlow) func(to, from *ebpf.Map, spec *ebpf.MapSpec) (int, error) {
	return func(to, from *ebpf.Map, spec *ebpf.MapSpec) (lost int, err error) {
		now := bootTime()
		bring := func(k *bpf.CtKey, v *V) bool {
			var there V
			f := flow(v)
			if f.Expires <= now || to.Lookup(*k, &there) == nil && packetsOf(flow(&there)) >= packetsOf(f) {
				return true
			}
			if to.Put(*k, *v) != nil {
				lost++
			}
			return true
		}
		switch other := sameLayout(spec, from); other {
		case nil:
			err = eachBatch(from, bring)
		case errLayout:
			err = eachReshaped(from, spec, bring)
		default:
			err = other
		}
		return lost, err
	}
}

// eachReshaped goes through the entries of a map that another version made, and shows them as this one has them.
func eachReshaped[K, V any](m *ebpf.Map, spec *ebpf.MapSpec, fn func(*K, *V) bool) error {
	keys, values, err := layoutsOf(m, spec.Key, spec.Value)
	if err != nil {
		return err
	}
	if !holds(keys, spec.Key) {
		return errLayout // without all of its key it would be another flow
	}
	var rawKey, rawValue []byte
	entries := m.Iterate()
	for entries.Next(&rawKey, &rawValue) {
		var k K
		var v V
		if _, err := binary.Decode(reshape(rawKey, keys, spec.Key), binary.NativeEndian, &k); err != nil {
			return err
		}
		if _, err := binary.Decode(reshape(rawValue, values, spec.Value), binary.NativeEndian, &v); err != nil {
			return err
		}
		if !fn(&k, &v) {
			return nil
		}
	}
	return entries.Err()
}

func packetsOf(f *bpf.CtFlow) uint64 { return f.Packets[0] + f.Packets[1] }

// resized reports whether a pinned map whose size the ruleset decides has another one than it wants.
func resized(spec *ebpf.MapSpec, old *ebpf.Map) bool {
	sized := flowTables[spec.Name] != nil || strings.HasPrefix(spec.Name, "conncount")
	return sized && spec.MaxEntries != old.MaxEntries()
}

// copyPlaces brings the places of flows that are counted into another map.
func copyPlaces(to, from *ebpf.Map) error {
	var failed error
	err := eachBatch(from, func(k *bpf.PlaceKey, v *bpf.Place) bool {
		failed = to.Put(*k, *v)
		return failed == nil
	})
	return cmp.Or(err, failed)
}

// bringFlows copies the flows of a table into the one that takes over from it, before the flip; promote brings what happens meanwhile.
func (t *transaction) bringFlows(spec *ebpf.MapSpec, to, from *ebpf.Map) {
	name := spec.Name
	lost, err := flowTables[name](to, from, spec)
	if err != nil {
		t.warn("map %s: %s; it starts without some flows", name, err)
	}
	if lost > 0 {
		t.warn("map %s: %d flows did not fit into %d entries and are forgotten", name, lost, to.MaxEntries())
	}
}
