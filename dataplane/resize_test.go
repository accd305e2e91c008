package dataplane

import (
	"context"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"

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

// An older version may have had the fields of a flow elsewhere: the flow goes on, by the names of its fields.
func TestFlowsOfAnotherVersion(t *testing.T) {
	w := newWorld(t)
	w.echo(80)
	w.apply(stateful(80), Options{})
	c := w.dial("80")
	d := w.open()
	ct, err := ebpf.LoadPinnedMap(d.at.mapPin("ct"), nil)
	must(t, err)
	defer ct.Close()
	older := olderFlows(t, ct)
	defer older.Close()
	must(t, os.Remove(d.at.mapPin("ct")))
	must(t, older.Pin(d.at.mapPin("ct")))

	r := w.apply(stateful(), Options{}) // no rule lets a new connection in
	if len(r.Warnings) != 0 {
		t.Errorf("warnings %q", r.Warnings)
	}
	flows, err := d.Flows()
	must(t, err)
	if len(flows) != 1 || flows[0].State != "established" || flows[0].Age > time.Minute || flows[0].Timeout < time.Hour {
		t.Errorf("%+v", flows)
	}
	if !talks(c) {
		t.Error("the connection was cut")
	}
}

// olderFlows has the entries of a table of flows, in values where the end of a flow and its beginning have changed places.
func olderFlows(t *testing.T, ct *ebpf.Map) *ebpf.Map {
	t.Helper()
	all, err := bpf.LoadClassifier()
	must(t, err)
	spec := all.Maps["ct"].Copy()
	for _, m := range spec.Value.(*btf.Struct).Members {
		if flow, ok := m.Type.(*btf.Struct); ok && m.Name == "flow" {
			for i := range flow.Members {
				switch f := &flow.Members[i]; f.Name {
				case "expires":
					f.Name = "created"
				case "created":
					f.Name = "expires"
				}
			}
		}
	}
	older, err := ebpf.NewMap(spec)
	must(t, err)
	must(t, eachBatch(ct, func(k *bpf.CtKey, v *bpf.CtAssured) bool {
		v.Flow.Expires, v.Flow.Created = v.Flow.Created, v.Flow.Expires
		must(t, older.Put(*k, *v))
		return true
	}))
	return older
}

// Of a table whose keys lack a field no flow is taken: it would be another one.
func TestFlowsWithoutTheirKeys(t *testing.T) {
	w := newWorld(t)
	w.apply(stateful(80), Options{})
	all, err := bpf.LoadClassifier()
	must(t, err)
	spec := all.Maps["ct"].Copy()
	spec.Key.(*btf.Struct).Members[0].Name = "another"
	older, err := ebpf.NewMap(spec)
	must(t, err)
	defer older.Close()
	must(t, older.Put(bpf.CtKey{Family: 4, Proto: 17, LoPort: 7}, bpf.CtAssured{Flow: bpf.CtFlow{Expires: bootTime() + 1e12}}))
	d := w.open()
	must(t, os.Remove(d.at.mapPin("ct")))
	must(t, older.Pin(d.at.mapPin("ct")))

	r := w.apply(stateful(80), Options{})
	if want := []string{"map ct: its fields are elsewhere; it starts without some flows"}; !slices.Equal(r.Warnings, want) {
		t.Errorf("warnings %q, want %q", r.Warnings, want)
	}
	if flows, err := d.Flows(); err != nil || len(flows) != 0 {
		t.Errorf("%+v, %v", flows, err)
	}
}
