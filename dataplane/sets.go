package dataplane

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/bpfwall/bpfwall/ruleset"
	"github.com/bpfwall/bpfwall/settable"
	"github.com/bpfwall/bpfwall/translator"
)

// The maps of live sets are pinned by the set's name and outlive generations, as the shared ones do. A map whose size the new rules
// change is replaced at the flip, with what was in it.

// The two maps of a set, as their pins are called.
const (
	tableMap    = "table"
	elementsMap = "elements"
)

const setPinPrefix = "set-"

// setPin is where a map of a set is pinned.
func (l layout) setPin(set, kind string) string {
	return l.mapPin(setPinPrefix + escapeName(set) + "-" + kind)
}

// escapeName makes any name fit for a file name.
func escapeName(name string) string {
	var b strings.Builder
	for _, c := range []byte(name) {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// liveRefs are the maps of a set: the kind, and the name that programs know it by.
func liveRefs(s *translator.LiveSet) map[string]string {
	refs := map[string]string{tableMap: s.TableRef()}
	if s.Set.Live.Dynamic {
		refs[elementsMap] = s.ElementsRef()
	}
	return refs
}

// takenOver is a map of a set that another one takes over from at the flip.
type takenOver struct {
	pin      string
	old, new *ebpf.Map
}

// openSets opens the maps of the live sets, and makes those that are not there.
func (t *transaction) openSets() error {
	for _, s := range t.out.Live {
		fresh := false
		for kind, ref := range liveRefs(s) {
			made, err := t.openSetMap(s.Set.Name, kind, ref)
			if err != nil {
				return fmt.Errorf("set %q: %w", s.Set.Name, errKernel(err))
			}
			fresh = fresh || made
		}
		if !fresh {
			continue
		}
		if err := t.fillSet(s); err != nil {
			return err
		}
	}
	return nil
}

// openSetMap opens a map of a set. It reports whether there is a new one.
func (t *transaction) openSetMap(set, kind, ref string) (made bool, err error) {
	spec, pin := t.out.Spec.Maps[ref], t.d.at.setPin(set, kind)
	old, err := ebpf.LoadPinnedMap(pin, nil)
	if errors.Is(err, os.ErrNotExist) {
		t.shared[ref], err = t.makeMap(spec, pin)
		if err == nil && kind == elementsMap {
			t.restoreSet(t.rs.Set(set), t.shared[ref])
		}
		return true, err
	}
	if err != nil {
		return false, err
	}
	t.atEnd(old.Close)
	if spec.Compatible(old) == nil && named(old, spec.Name) {
		t.shared[ref] = old
		return false, nil
	}
	m, err := t.makeMap(spec, pin+nextSuffix)
	if err != nil {
		return false, err
	}
	t.shared[ref] = m
	t.taken = append(t.taken, takenOver{pin, old, m})
	if kind == elementsMap {
		err = copyElements(m, old)
	}
	return true, err
}

// named reports whether a map has a name, which stands for the layout of what is in it.
func named(m *ebpf.Map, name string) bool {
	info, err := m.Info()
	return err == nil && info.Name == name
}

// copyElements copies what is not there yet, as far as there is room.
func copyElements(to, from *ebpf.Map) error {
	return eachElement(from, func(k []byte, e translator.Element) error {
		err := to.Update(k, e, ebpf.UpdateNoExist)
		if errors.Is(err, ebpf.ErrKeyExist) || errors.Is(err, unix.E2BIG) {
			return nil
		}
		return err
	})
}

// fillSet puts into a set's new maps what is not there yet: the feed's last list, and the prefixes among the elements.
func (t *transaction) fillSet(s *translator.LiveSet) error {
	lists := &liveMaps{set: s.Set, table: t.shared[s.TableRef()], elements: t.shared[s.ElementsRef()]}
	if err := lists.rebuild(); err != nil {
		return fmt.Errorf("set %q: %w", s.Set.Name, errKernel(err))
	}
	if s.Set.Live.Feed == nil {
		return nil
	}
	list, err := t.d.at.readFeed(s.Set.Name)
	if errors.Is(err, os.ErrNotExist) {
		t.warn("set %q: its list was never fetched, so that it is empty: run bpfwall set refresh %s", s.Set.Name, s.Set.Name)
		return nil
	}
	if err == nil {
		err = lists.replaceFeed(list)
	}
	if err != nil {
		return fmt.Errorf("set %q: %w", s.Set.Name, errKernel(err))
	}
	return nil
}

// promoteSets gives new maps the pins of those that they take over from, with what was added since the copy, and removes the pins of
// sets that neither the live nor the previous generation has.
func (t *transaction) promoteSets() {
	for _, m := range t.taken {
		if strings.HasSuffix(m.pin, elementsMap) {
			_ = copyElements(m.new, m.old)
		}
		if err := os.Rename(m.pin+nextSuffix, m.pin); err != nil {
			t.warn("%s: %s", m.pin, err)
		}
	}
	pins, _ := filepath.Glob(t.d.at.mapPin(setPinPrefix + "*"))
	if len(pins) == 0 {
		return // as most often: the rules of before need not be read
	}
	keep := map[string]bool{}
	for _, n := range []uint32{t.next.Number, t.next.Previous} {
		if rs, err := t.d.at.readRuleset(n); err == nil {
			for _, s := range rs.Sets {
				for _, kind := range []string{tableMap, elementsMap, timerMap} {
					keep[t.d.at.setPin(s.Name, kind)] = true
				}
			}
		}
	}
	for _, pin := range pins {
		if !keep[strings.TrimSuffix(pin, nextSuffix)] {
			_ = os.Remove(pin)
		}
	}
}

// checkSetMaps checks that the programs of a generation use the maps of sets that are pinned now.
func (t *transaction) checkSetMaps(rs *ruleset.Ruleset, used []ebpf.MapID) error {
	for _, s := range rs.Sets {
		if s.Live == nil {
			continue
		}
		kinds := []string{tableMap}
		if s.Live.Dynamic {
			kinds = append(kinds, elementsMap)
		}
		for _, kind := range kinds {
			m, err := ebpf.LoadPinnedMap(t.d.at.setPin(s.Name, kind), nil)
			if err != nil {
				return errNotReusable
			}
			id, ok := mapID(m)
			_ = m.Close()
			if rs.UsesSet(s.Name) && (!ok || !slices.Contains(used, id)) {
				return errNotReusable
			}
		}
	}
	return nil
}

// liveMaps is a set with its maps.
type liveMaps struct {
	set      *ruleset.Set
	table    *ebpf.Map
	elements *ebpf.Map // nil: not dynamic
}

// withTable runs fn on the table in the map's memory.
func (l *liveMaps) withTable(fn func(*settable.Table) error) error {
	mem, err := unix.Mmap(l.table.FD(), 0, int(l.table.ValueSize()), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("mmap: %w", err)
	}
	defer func() { _ = unix.Munmap(mem) }()
	t, err := settable.Open(mem, waitForReaders)
	if err != nil {
		return err
	}
	return fn(t)
}

// membarrierGlobal is MEMBARRIER_CMD_GLOBAL of linux/membarrier.h, which is synchronize_rcu: BPF programs are RCU readers.
const membarrierGlobal = 1

func waitForReaders() {
	if _, _, errno := unix.Syscall(unix.SYS_MEMBARRIER, membarrierGlobal, 0, 0); errno != 0 {
		time.Sleep(time.Second) // not with nohz_full; no program runs that long
	}
}

// replaceFeed makes a list all that the feed's part of the table holds.
func (l *liveMaps) replaceFeed(list []netip.Prefix) error {
	if n := int(l.set.Live.Size()); len(list) > n {
		return fmt.Errorf("%w: %d entries, and max is %d", ErrSetFull, len(list), n)
	}
	var entries tableEntries
	for _, p := range list {
		entries.add(nil, ruleset.Tuple{Net: p}, settable.Forever)
	}
	return l.replace(translator.RootFeed4, &entries)
}

// tableEntries are what two roots of a table are to hold, that for IPv4 and for no addresses, and that for IPv6.
type tableEntries struct {
	roots [2]struct {
		list   []settable.Entry
		levels int
	}
	lengths translator.Lengths
}

func (t *tableEntries) add(parts []ruleset.Part, element ruleset.Tuple, c settable.Cell) {
	e, levels, second := translator.Entry(parts, element, c)
	at := &t.roots[rootOf(0, second)]
	at.list, at.levels = append(at.list, e), levels
	t.lengths.Add(element)
}

// rootOf is the number of a root: the first one, or the one for IPv6 behind it.
func rootOf(first int, second bool) int {
	if second {
		return first + 1
	}
	return first
}

func (l *liveMaps) replace(first int, entries *tableEntries) error {
	return l.withTable(func(t *settable.Table) error {
		for i, at := range entries.roots {
			if err := t.Replace(first+i, at.levels, at.list); err != nil {
				return fmt.Errorf("%w: %w", ErrSetFull, err)
			}
		}
		if first == translator.RootElements4 {
			entries.lengths.Write(t)
		}
		return nil
	})
}

// rebuild makes the elements that are prefixes all that the other part of the table holds.
func (l *liveMaps) rebuild() error {
	if l.elements == nil {
		return nil
	}
	var entries tableEntries
	now := monotonic()
	err := eachElement(l.elements, func(k []byte, e translator.Element) error {
		if t := l.tuple(k); !t.Single() && !over(e, now) {
			entries.add(l.set.Parts, t, cellOf(e))
		}
		return nil
	})
	if err != nil {
		return err
	}
	return l.replace(translator.RootElements4, &entries)
}
