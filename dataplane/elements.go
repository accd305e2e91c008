package dataplane

import (
	"errors"
	"net/netip"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/bpfwall/bpfwall/ruleset"
	"github.com/bpfwall/bpfwall/settable"
	"github.com/bpfwall/bpfwall/translator"
)

// monotonic is the clock of elements, in ns: the one of bpf_ktime_get_ns.
func monotonic() uint64 {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts)
	return uint64(ts.Nano())
}

func over(e translator.Element, now uint64) bool { return e.Expires != 0 && e.Expires <= now }

// cellOf is an element in the table, which counts seconds: it stays until the end of the one in which its time is over.
func cellOf(e translator.Element) settable.Cell {
	if e.Expires == 0 {
		return settable.Forever
	}
	return settable.Until((e.Expires + uint64(time.Second) - 1) / uint64(time.Second))
}

func keyOf(p netip.Prefix) translator.ElementKey {
	k := translator.ElementKey{Family: uint8(ruleset.FamilyIPv6), Bits: uint8(p.Bits())}
	if p.Addr().Is4() {
		k.Family = uint8(ruleset.FamilyIPv4)
	}
	copy(k.Addr[:], p.Masked().Addr().AsSlice())
	return k
}

func prefixOf(k translator.ElementKey) netip.Prefix {
	if ruleset.Family(k.Family) == ruleset.FamilyIPv4 {
		return netip.PrefixFrom(netip.AddrFrom4([4]byte(k.Addr[:4])), int(k.Bits))
	}
	return netip.PrefixFrom(netip.AddrFrom16(k.Addr), int(k.Bits))
}

// batchSize is how many elements one system call brings.
const batchSize = 4096

// eachElement calls fn for every element, over or not. Those that come and go meanwhile may be there or not.
func eachElement(m *ebpf.Map, fn func(translator.ElementKey, translator.Element) error) error {
	keys, values := make([]translator.ElementKey, batchSize), make([]translator.Element, batchSize)
	var cursor ebpf.MapBatchCursor
	for {
		n, err := m.BatchLookup(&cursor, keys, values, nil)
		last := errors.Is(err, ebpf.ErrKeyNotExist)
		if err != nil && !last {
			return err
		}
		for i := range n {
			if err := fn(keys[i], values[i]); err != nil {
				return err
			}
		}
		if last {
			return nil
		}
	}
}

// put adds elements, or gives those that are there their new time. It returns how many are new.
func (l *liveMaps) put(list []NewElement) (added int, err error) {
	now := monotonic()
	var prefixes []settable.Entry
	var is4 []bool
	shorter := false
	for _, n := range list {
		e, k := n.element(now, l.set.Live), keyOf(n.Prefix)
		var old translator.Element
		there := l.elements.Lookup(k, &old) == nil && !over(old, now)
		if there {
			e.Added, e.Packets, e.Bytes = old.Added, old.Packets, old.Bytes
			shorter = shorter || cellOf(e) < cellOf(old)
		}
		if err := l.store(k, e); err != nil {
			return added, err
		}
		if !there {
			added++
		}
		if !n.Prefix.IsSingleIP() {
			prefixes, is4 = append(prefixes, settable.PrefixEntry(n.Prefix, cellOf(e))), append(is4, n.Prefix.Addr().Is4())
		}
	}
	if err = l.putPrefixes(prefixes, is4, shorter); err != nil {
		for _, n := range list { // what the table has no room for is not in the set
			if !n.Prefix.IsSingleIP() {
				_ = l.elements.Delete(keyOf(n.Prefix))
			}
		}
		return 0, errors.Join(err, l.rebuild())
	}
	return added, nil
}

// has reports whether an element is there and not over.
func (l *liveMaps) has(p netip.Prefix) bool {
	var e translator.Element
	return l.elements.Lookup(keyOf(p), &e) == nil && !over(e, monotonic())
}

// store puts one element into the hash; if that is full, what is over makes room.
func (l *liveMaps) store(k translator.ElementKey, e translator.Element) error {
	err := l.elements.Put(k, e)
	if errors.Is(err, unix.E2BIG) {
		if err := l.dropOver(); err != nil {
			return err
		}
		err = l.elements.Put(k, e)
	}
	if errors.Is(err, unix.E2BIG) {
		return ErrSetFull
	}
	return err
}

// manyPrefixes is how many prefixes it pays to make the table anew for.
const manyPrefixes = 2000

// putPrefixes lets prefixes take part in the table. What has a shorter time now than before is not there in a table that only grows.
func (l *liveMaps) putPrefixes(entries []settable.Entry, is4 []bool, shorter bool) error {
	if len(entries) == 0 {
		return nil
	}
	if shorter || len(entries) > manyPrefixes {
		return l.rebuild()
	}
	err := l.withTable(func(t *settable.Table) error {
		for i, e := range entries {
			at := roots(translator.RootElements4)[is4[i]]
			if err := t.Insert(at.root, e); err != nil {
				return err
			}
		}
		return nil
	})
	if errors.Is(err, settable.ErrFull) {
		return l.rebuild() // without what is over
	}
	return err
}

// dropOver removes elements that are over.
func (l *liveMaps) dropOver() error {
	now := monotonic()
	var gone []netip.Prefix
	err := eachElement(l.elements, func(k translator.ElementKey, e translator.Element) error {
		if over(e, now) {
			gone = append(gone, prefixOf(k))
		}
		return nil
	})
	if err == nil {
		_, err = l.remove(gone)
	}
	return err
}

// remove takes elements out. It returns how many were there.
func (l *liveMaps) remove(list []netip.Prefix) (removed int, err error) {
	ranges := false
	for _, p := range list {
		switch err := l.elements.Delete(keyOf(p)); {
		case err == nil:
			removed++
			ranges = ranges || !p.IsSingleIP()
		case !errors.Is(err, ebpf.ErrKeyNotExist):
			return removed, err
		}
	}
	if ranges {
		err = l.rebuild()
	}
	return removed, err
}
