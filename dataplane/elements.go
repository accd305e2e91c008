package dataplane

import (
	"errors"
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

// key is an element's key in the hash.
func (l *liveMaps) key(t ruleset.Tuple) []byte { return translator.KeyOf(l.set.Parts, t) }

func (l *liveMaps) tuple(key []byte) ruleset.Tuple { return translator.TupleOf(l.set.Parts, key) }

// batchSize is how many elements one system call brings.
const batchSize = 4096

// eachElement calls fn for every element, over or not. Those that come and go meanwhile may be there or not.
func eachElement(m *ebpf.Map, fn func(key []byte, e translator.Element) error) error {
	if m.KeySize() != addressKey {
		return eachTuple(m, fn)
	}
	keys, values := make([][addressKey]byte, batchSize), make([]translator.Element, batchSize)
	var cursor ebpf.MapBatchCursor
	for {
		n, err := m.BatchLookup(&cursor, keys, values, nil)
		last := errors.Is(err, ebpf.ErrKeyNotExist)
		if err != nil && !last {
			return err
		}
		for i := range n {
			if err := fn(keys[i][:], values[i]); err != nil {
				return err
			}
		}
		if last {
			return nil
		}
	}
}

// addressKey is the length of keys of sets of addresses, which are the large ones.
const addressKey = 20

// eachTuple is eachElement for keys of any length, one by one.
func eachTuple(m *ebpf.Map, fn func(key []byte, e translator.Element) error) error {
	var key []byte
	var e translator.Element
	all := m.Iterate()
	for all.Next(&key, &e) {
		if err := fn(key, e); err != nil {
			return err
		}
	}
	if err := all.Err(); !errors.Is(err, ebpf.ErrIterationAborted) {
		return err
	}
	return nil // so much came and went meanwhile
}

// put adds elements, or gives those that are there their new time. It returns how many are new.
func (l *liveMaps) put(list []NewElement) (added int, err error) {
	now := monotonic()
	var networks []ruleset.Tuple
	shorter := false
	cells := map[ruleset.Tuple]settable.Cell{}
	for _, n := range list {
		t := n.tuple()
		e, k := n.element(now, l.set.Live), l.key(t)
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
		if !t.Single() {
			networks = append(networks, t)
			cells[t] = cellOf(e)
		}
	}
	if err = l.putNetworks(networks, cells, shorter); err != nil {
		for _, t := range networks { // what the table has no room for is not in the set
			_ = l.elements.Delete(l.key(t))
		}
		return 0, errors.Join(err, l.rebuild())
	}
	return added, nil
}

// has reports whether an element is there and not over.
func (l *liveMaps) has(t ruleset.Tuple) bool {
	var e translator.Element
	return l.elements.Lookup(l.key(t), &e) == nil && !over(e, monotonic())
}

// store puts one element into the hash; if that is full, what is over makes room.
func (l *liveMaps) store(k []byte, e translator.Element) error {
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

// putNetworks lets networks take part in the table. What has a shorter time now than before is not there in a table that only grows.
func (l *liveMaps) putNetworks(networks []ruleset.Tuple, cells map[ruleset.Tuple]settable.Cell, shorter bool) error {
	if len(networks) == 0 {
		return nil
	}
	if shorter || len(networks) > manyPrefixes {
		return l.rebuild()
	}
	err := l.withTable(func(t *settable.Table) error {
		lengths := translator.ReadLengths(t)
		for _, n := range networks {
			lengths.Add(n)
		}
		lengths.Write(t)
		for _, n := range networks {
			e, _, second := translator.Entry(l.set.Parts, n, cells[n])
			if err := t.Insert(rootOf(translator.RootElements4, second), e); err != nil {
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
	var gone []ruleset.Tuple
	err := eachElement(l.elements, func(k []byte, e translator.Element) error {
		if over(e, now) {
			gone = append(gone, l.tuple(k))
		}
		return nil
	})
	if err == nil {
		_, err = l.remove(gone)
	}
	return err
}

// remove takes elements out. It returns how many were there.
func (l *liveMaps) remove(list []ruleset.Tuple) (removed int, err error) {
	ranges := false
	for _, t := range list {
		switch err := l.elements.Delete(l.key(t)); {
		case err == nil:
			removed++
			ranges = ranges || !t.Single()
		case !errors.Is(err, ebpf.ErrKeyNotExist):
			return removed, err
		}
	}
	if ranges {
		err = l.rebuild()
	}
	return removed, err
}
