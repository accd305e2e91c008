package dataplane

import (
	"context"
	"slices"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/bpfwall/bpfwall/bpf"
	"github.com/bpfwall/bpfwall/ruleset"
)

// TestFlowTablesResize changes the sizes of the tables under an open connection, to larger and to smaller ones, and back by a rollback.
func TestFlowTablesResize(t *testing.T) {
	w := newWorld(t)
	w.echo(80)
	d := w.open()
	w.apply(stateful(80), Options{})
	c := w.dial("80")
	sizes := func(assured, halfOpen uint32) {
		t.Helper()
		for name, want := range map[string]uint32{"ct": assured, "ct_new": halfOpen} {
			m, err := ebpf.LoadPinnedMap(d.at.mapPin(name), nil)
			must(t, err)
			if m.MaxEntries() != want {
				t.Errorf("map %s: %d entries, want %d", name, m.MaxEntries(), want)
			}
			must(t, m.Close())
		}
		if !talks(c) {
			t.Errorf("the connection was cut at %d flows", assured)
		}
	}
	resize := func(ct *ruleset.Conntrack) *Result {
		rs := stateful() // no rule lets a new connection in
		rs.Conntrack = ct
		return w.apply(rs, Options{})
	}
	sizes(262144, 131072)
	for _, n := range []uint32{300_000, 100, 4000} {
		if r := resize(&ruleset.Conntrack{Max: n, HalfOpen: 2 * n}); len(r.Warnings) != 0 {
			t.Errorf("warnings %q", r.Warnings)
		}
		sizes(n, 2*n)
	}
	_, err := d.Rollback(context.Background(), Meta{})
	must(t, err)
	sizes(100, 200)
	resize(nil)
	sizes(262144, 131072)
}

// Flows that do not fit are counted, and the others stay.
func TestFlowTableShrinks(t *testing.T) {
	w := newWorld(t)
	w.apply(stateful(80), Options{})
	d := w.open()
	m, err := ebpf.LoadPinnedMap(d.at.mapPin("ct"), nil)
	must(t, err)
	defer m.Close()
	for port := range uint16(100) {
		must(t, m.Put(bpf.CtKey{Family: 4, Proto: 17, LoPort: port}, bpf.CtAssured{Flow: bpf.CtFlow{Expires: bootTime() + 1e12}}))
	}
	rs := stateful(80)
	rs.Conntrack = &ruleset.Conntrack{Max: 40}
	r := w.apply(rs, Options{})
	if want := []string{"map ct: 60 flows did not fit into 40 entries and are forgotten"}; !slices.Equal(r.Warnings, want) {
		t.Errorf("warnings %q, want %q", r.Warnings, want)
	}
	flows, err := d.Flows()
	must(t, err)
	if len(flows) != 40 {
		t.Errorf("%d flows, want 40", len(flows))
	}
}
