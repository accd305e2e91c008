package dataplane

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/cilium/ebpf"

	"github.com/bpfwall/bpfwall/bpf"
)

// dispatchMaps belong to the dispatchers, sharedMaps to the programs of every generation. Both are pinned and outlive generations.
// All other maps of a collection are its generation's own.
var (
	dispatchMaps = []string{"gen", "progs_ingress", "progs_egress", "progs_input", "progs_xdp", "progs_connect4", "progs_connect6", "progs_sendmsg4", "progs_sendmsg6", "progs_bind4", "progs_bind6"}
	sharedMaps   = []string{"counters", "limits", "meters", "recents", "ct", "ct_new", "conncounts", "conncount_places", "frags", "ifaces", "addr_types", "cgroups", "epochs", "own_addrs", "sock_owner", "events", "stats"}
)

// nextSuffix marks the pin of a map that takes over from the pinned one at the flip. (Dots are not allowed in the BPF file system.)
const nextSuffix = "-next"

// openMaps opens the maps that generations share, makes those that are not there, and clears the slots of rules that are new.
func (t *transaction) openMaps() error {
	t.shared, t.staged = map[string]*ebpf.Map{}, map[string]*ebpf.Map{}
	for _, name := range sharedMaps {
		spec := t.out.Spec.Maps[name]
		if spec == nil {
			continue
		}
		if err := t.makeRoom(spec); err != nil {
			return err
		}
		m, err := t.openMap(spec)
		if err != nil {
			return fmt.Errorf("map %s: %w", name, errKernel(err))
		}
		t.shared[name] = m
		spec.MaxEntries = m.MaxEntries()
	}
	if err := t.openDispatch(); err != nil {
		return err
	}
	if err := t.openSets(); err != nil {
		return err
	}
	if err := t.clearNewSlots(); err != nil {
		return err
	}
	return t.describeHost()
}

// openDispatch opens the maps of the dispatchers.
func (t *transaction) openDispatch() error {
	if t.dispatch != nil {
		return t.openDispatchStats()
	}
	spec, err := bpf.LoadDispatcher()
	if err != nil {
		return fmt.Errorf("dispatcher: %s", err)
	}
	cgroup, err := bpf.LoadCgroup()
	if err != nil {
		return fmt.Errorf("dispatcher: %s", err)
	}
	for _, h := range slices.Concat(connectHooks, listenHooks) {
		spec.Maps["progs_"+h.name] = cgroup.Maps["progs_"+h.name]
	}
	t.dispatch = map[string]*ebpf.Map{}
	for _, name := range dispatchMaps {
		if t.dispatch[name], err = t.openMap(spec.Maps[name]); err != nil {
			return fmt.Errorf("map %s: %w", name, errKernel(err))
		}
	}
	return t.openDispatchStats()
}

// openDispatchStats takes the map that the programs count in too: the pinned one, until openMaps may have one of another shape made.
func (t *transaction) openDispatchStats() error {
	if m := t.shared["stats"]; m != nil {
		t.dispatch["stats"] = m
		return nil
	}
	m, err := ebpf.LoadPinnedMap(t.d.at.mapPin("stats"), nil)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("map stats: %w", errKernel(err))
	}
	t.atEnd(m.Close)
	t.dispatch["stats"] = m
	return nil
}

// openMap opens the pinned map, or makes and pins one. A pinned map that is too small or of another version's shape is not touched, for
// the live generation uses it: a new one is made that takes over at the flip.
func (t *transaction) openMap(spec *ebpf.MapSpec) (*ebpf.Map, error) {
	spec = spec.Copy()
	pin := t.d.at.mapPin(spec.Name)
	old, err := ebpf.LoadPinnedMap(pin, nil)
	if errors.Is(err, os.ErrNotExist) {
		return t.makeMap(spec, pin)
	}
	if err != nil {
		return nil, err
	}
	t.atEnd(old.Close)
	if !resized(spec, old) {
		spec.MaxEntries = max(spec.MaxEntries, old.MaxEntries())
	}
	layout := sameLayout(spec, old)
	err = cmp.Or(spec.Compatible(old), layout)
	if err == nil {
		return old, nil
	}
	m, makeErr := t.makeMap(spec, pin+nextSuffix)
	if makeErr != nil {
		return nil, makeErr
	}
	t.staged[spec.Name] = old
	size := spec.MaxEntries
	spec.MaxEntries = old.MaxEntries()
	sameShape := cmp.Or(spec.Compatible(old), layout) == nil
	spec.MaxEntries = size
	switch {
	case flowTables[spec.Name] != nil && old.KeySize() == spec.KeySize:
		t.bringFlows(spec, m, old)
		err = nil
	case layout != nil:
		t.startsEmpty(spec.Name, layout)
		err = nil
	case spec.MaxEntries > old.MaxEntries() && spec.Name == "counters":
		t.copied, err = copyEntries[[]bpf.Counter](m, old)
	case spec.MaxEntries > old.MaxEntries() && spec.Name == "limits":
		_, err = copyEntries[bpf.Limit](m, old)
	case sameShape && spec.Name == "conncount_places":
		err = copyPlaces(m, old)
	case spec.Name == "recents" && old.KeySize() == spec.KeySize:
		err = copyRecents(m, old)
	default:
		t.startsEmpty(spec.Name, err)
		err = nil
	}
	return m, err
}

func (t *transaction) startsEmpty(name string, why error) {
	if !slices.Contains(refilled, name) {
		t.warn("map %s: of another shape than this version's (%s); it starts empty", name, why)
	}
}

// refilled are the maps whose contents describeHost knows anyway, and those that fill again by themselves.
var refilled = []string{"ifaces", "addr_types", "conncounts", "conncount_places", "cgroups", "epochs", "own_addrs", "meters"}

// makeRoom makes the map of address types as large as this host needs.
func (t *transaction) makeRoom(spec *ebpf.MapSpec) error {
	if spec.Name != "addr_types" {
		return nil
	}
	addrs, err := localAddresses()
	for uint64(spec.MaxEntries) < 2*uint64(len(addrs)) {
		spec.MaxEntries *= 2
	}
	return err
}

func (t *transaction) makeMap(spec *ebpf.MapSpec, pin string) (*ebpf.Map, error) {
	m, err := ebpf.NewMap(spec)
	if err != nil {
		return nil, err
	}
	t.atEnd(m.Close)
	if err := makeDirs(t.d.at.maps); err != nil {
		return nil, err
	}
	if err := m.Pin(pin); err != nil {
		return nil, err
	}
	t.onError(func() { _ = os.Remove(pin) })
	return m, nil
}

// copyEntries fills a larger array with what the smaller one holds, and returns that.
func copyEntries[V any](to, from *ebpf.Map) ([]V, error) {
	copied := make([]V, from.MaxEntries())
	for slot := range copied {
		if err := from.Lookup(uint32(slot), &copied[slot]); err != nil {
			return nil, err
		}
		if err := to.Put(uint32(slot), copied[slot]); err != nil {
			return nil, err
		}
	}
	return copied, nil
}

// clearNewSlots zeroes the slots of rules and buckets that the live generation does not have. It uses none of these slots, and neither
// does a packet that is still in its programs (translator.Slots).
func (t *transaction) clearNewSlots() error {
	fresh := t.out.Fresh
	t.result.Rules = len(t.next.Slots.Counters)
	t.result.Kept = t.result.Rules - len(fresh.Counters)
	zero := make([]bpf.Counter, ebpf.MustPossibleCPU())
	for _, slot := range fresh.Counters {
		if err := t.shared["counters"].Put(slot, zero); err != nil {
			return fmt.Errorf("counter in slot %d: %w", slot, errKernel(err))
		}
	}
	for _, slot := range fresh.Limits {
		if err := t.shared["limits"].Put(slot, bpf.Limit{}); err != nil {
			return fmt.Errorf("limit in slot %d: %w", slot, errKernel(err))
		}
	}
	return nil
}

// countKept counts the rules and policies whose counters go on.
func (t *transaction) countKept() {
	t.result.Rules = len(t.next.Slots.Counters)
	if t.live == nil {
		return
	}
	for id, slot := range t.next.Slots.Counters {
		if was, ok := t.live.Slots.Counters[id]; ok && was == slot {
			t.result.Kept++
		}
	}
}

// promote gives staged maps the pins of those that they take over from, and adds what the old counters have counted between the copy
// and the flip. What the new ones count on the same rule within the microseconds of one addition is lost.
func (t *transaction) promote() {
	t.promoteSets()
	for name, old := range t.staged {
		if name == "counters" {
			t.addLateCounts(old)
		}
		if flowTables[name] != nil && old.KeySize() == t.shared[name].KeySize() {
			_, _ = flowTables[name](t.shared[name], old, t.out.Spec.Maps[name]) // what has happened since the copy
		}
		pin := t.d.at.mapPin(name)
		if err := os.Rename(pin+nextSuffix, pin); err != nil {
			t.warn("map %s: %s", name, err)
		}
	}
}

// addLateCounts adds what the old counters hold more than the copy that was made of them.
func (t *transaction) addLateCounts(old *ebpf.Map) {
	for _, slot := range t.next.Slots.Counters {
		if int(slot) >= len(t.copied) {
			continue
		}
		var late, sum []bpf.Counter
		if old.Lookup(slot, &late) != nil || slices.Equal(late, t.copied[slot]) || t.shared["counters"].Lookup(slot, &sum) != nil {
			continue
		}
		for cpu, c := range t.copied[slot] {
			sum[cpu].Packets += late[cpu].Packets - c.Packets
			sum[cpu].Bytes += late[cpu].Bytes - c.Bytes
		}
		_ = t.shared["counters"].Put(slot, sum)
	}
}

// makeDirs makes a directory of pins that is for root only.
func makeDirs(path string) error { return os.MkdirAll(path, 0o700) }
