package dataplane

import (
	"testing"
	"time"

	"github.com/cilium/ebpf"

	"github.com/bpfwall/bpfwall/bpf"
)

// TestReaper puts flows that are over into the map and waits for the kernel to clear them away, with both ways of doing it.
func TestReaper(t *testing.T) {
	needTimers(t)
	w := newWorld(t)
	w.apply(stateful(80), Options{})
	d := w.open()
	d.reapEvery = 50 * time.Millisecond
	ct, err := ebpf.LoadPinnedMap(d.at.mapPin("ct"), nil)
	must(t, err)
	defer ct.Close()
	must(t, d.startReaper())
	w.expire(ct)
	d.reapEvery = time.Hour
	must(t, d.startReaper()) // the one of before must stop
	now := bootTime()
	must(t, ct.Put(bpf.CtKey{Family: 4, LoPort: 7}, bpf.CtAssured{Flow: bpf.CtFlow{Expires: now - 1}}))
	time.Sleep(200 * time.Millisecond)
	if left := ports(ct); len(left) != 2 {
		t.Errorf("entries %d, want 2: the first reaper is still there", left)
	}
	d.reapEvery = 50 * time.Millisecond
	lacking(t, withoutKfuncs)
	coll, err := d.loadReaper()
	must(t, err)
	defer coll.Close()
	must(t, coll.Maps["reaper"].Pin(d.at.mapPin("reaper2")))
	_, err = coll.Programs["reaper_start"].Run(&ebpf.RunOptions{Data: make([]byte, 64)})
	must(t, err)
	w.expire(ct)
}

// expire adds entries that are over and one that is not, and waits until only the latter is there.
func (w *world) expire(ct *ebpf.Map) {
	w.tb.Helper()
	now := bootTime()
	for port := range uint16(100) {
		flow := bpf.CtFlow{Expires: now - 1}
		if port == 50 {
			flow.Expires = now + uint64(time.Hour)
		}
		must(w.tb, ct.Put(bpf.CtKey{Family: 4, LoPort: port}, bpf.CtAssured{Flow: flow}))
	}
	for deadline := time.Now().Add(3 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		left := ports(ct)
		if len(left) == 1 && left[0] == 50 {
			return
		}
		if time.Now().After(deadline) {
			w.tb.Fatalf("entries %d are left, want 50", left)
		}
	}
}

// ports are those of all entries.
func ports(ct *ebpf.Map) (all []uint16) {
	var key bpf.CtKey
	var v bpf.CtAssured
	for it := ct.Iterate(); it.Next(&key, &v); {
		all = append(all, key.LoPort)
	}
	return all
}
