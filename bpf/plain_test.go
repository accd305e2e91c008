package bpf

import (
	"slices"
	"testing"
)

// TestPlainFlows: flows without states of their own live as long as nf_conntrack's, and those that it calls assured are.
func TestPlainFlows(t *testing.T) {
	for _, c := range []struct {
		name           string
		proto          byte
		ask, answer    []byte
		first, replied uint64 // seconds
		assured        int
	}{
		{"udp", protoUDP, udp(5000, 53, 9), udp(53, 5000, 9), 30, 30, 0},
		{"udp-lite", 136, udp(5000, 53, 9), udp(53, 5000, 9), 30, 30, 0},
		{"dccp", 33, slices.Concat(be16(1, 2), make([]byte, 12)), slices.Concat(be16(2, 1), make([]byte, 12)), 600, 600, 0}, // as any other: nf_conntrack knows it no more
		{"gre", protoGRE, make([]byte, 8), make([]byte, 8), 30, 180, 1},
		{"icmp", protoICMP, icmp(8, 0, 7, nil), icmp(0, 0, 7, nil), 30, 30, 0},
		{"timestamp", protoICMP, icmp(13, 0, 7, nil), icmp(14, 0, 7, nil), 30, 30, 0},
		{"esp", 50, make([]byte, 16), make([]byte, 16), 600, 600, 0},
	} {
		b := tracker(t)
		b.expect(c.name, b.send(c.proto, c.ask), isNew)
		b.expectLife(c.name, c.first)
		b.expect(c.name+" answered", b.receive(c.proto, c.answer), established)
		b.expect(c.name+" again", b.send(c.proto, c.ask), established)
		b.expectSizes(c.name, 1-c.assured, c.assured)
		b.expectLife(c.name+" answered", c.replied)
	}
}

// expectLife looks at the seconds that the only flow has left; 0: whatever they are.
func (b *bench) expectLife(what string, seconds uint64) {
	b.Helper()
	var k CtKey
	var open CtFlow
	var assured CtAssured
	if it := b.Maps["ct_new"].Iterate(); !it.Next(&k, &open) {
		if it = b.Maps["ct"].Iterate(); !it.Next(&k, &assured) {
			b.Fatalf("%s: no flow", what)
		}
		open = assured.Flow
	}
	if got := (open.Expires - open.Created + 5e8) / 1e9; seconds > 0 && got != seconds {
		b.Errorf("%s: expires after %d s, want %d", what, got, seconds)
	}
}

// An error about a flow that is over is about none.
func TestRelatedToNothing(t *testing.T) {
	b := tracker(t)
	b.expect("query", b.send(protoUDP, udp(5000, 53, 9)), isNew)
	unreachable := icmp(3, 3, 0, ip4(local4, peer4, protoUDP, 0, nil, udp(5000, 53, 9)))
	b.expect("error", b.receive(protoICMP, unreachable), related)
	var k CtKey
	var f CtFlow
	if !b.Maps["ct_new"].Iterate().Next(&k, &f) {
		t.Fatal("no flow")
	}
	f.Expires = 1
	if err := b.Maps["ct_new"].Put(k, f); err != nil {
		t.Fatal(err)
	}
	b.expect("error about what is over", b.receive(protoICMP, unreachable), invalid)
}
