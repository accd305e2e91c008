package dataplane

import (
	"context"
	"testing"
	"time"

	"github.com/bpfwall/bpfwall/ruleset"
)

var addressPort = []ruleset.Part{ruleset.PartAddress, ruleset.PartPort}

// tupleOf reads an element of an address and a port.
func tupleOf(tb testing.TB, s string) ruleset.Tuple {
	tb.Helper()
	t, problem := ruleset.ParseTuple(addressPort, s)
	if problem != "" {
		tb.Fatalf("%s: %s", s, problem)
	}
	return t
}

// doors is rules that drop what is in a set of addresses and ports, and put who knocks at a port into it.
func doors(live ruleset.Live) *ruleset.Ruleset {
	live.Dynamic = true
	fields := []ruleset.FieldID{ruleset.FieldSrcAddr, ruleset.FieldDstPort}
	rs := &ruleset.Ruleset{
		Sets: []*ruleset.Set{{Name: "doors", Parts: addressPort, Live: &live}},
		Chains: []*ruleset.Chain{{Name: "in", Hook: ruleset.HookInput, Policy: ruleset.Accept, Rules: []*ruleset.Rule{
			{Matches: []ruleset.Match{{Field: ruleset.FieldElement, Set: "doors", Parts: fields}}, Verdict: ruleset.Verdict{Kind: ruleset.Drop}},
			{Matches: []ruleset.Match{{Field: ruleset.FieldDstPort, Ranges: []ruleset.Range{{From: 7, To: 7}}}},
				Statements: []ruleset.Statement{{Change: &ruleset.SetChange{Set: "doors", Field: ruleset.FieldElement, Parts: fields}}}},
		}}},
	}
	rs.AssignIDs()
	return rs
}

// TestTupleSet: elements of several parts count at once, single ones and networks, until their time is over; they are listed with what is
// said of them, and stay over applies, a resize and a new start.
func TestTupleSet(t *testing.T) {
	w := newWorld(t)
	w.serve(80)
	w.apply(doors(ruleset.Live{Max: 100, Counters: true}), Options{})
	ctx := context.Background()
	add := func(timeout time.Duration, list ...string) {
		t.Helper()
		var elements []NewElement
		for _, s := range list {
			elements = append(elements, NewElement{Tuple: tupleOf(t, s), Timeout: timeout, Comment: "why " + s})
		}
		_, err := w.open().AddElements(ctx, "doors", elements)
		must(t, err)
	}
	find := func(s, want string) {
		t.Helper()
		if where, _, err := w.open().FindElement("doors", tupleOf(t, s)); err != nil || where != want {
			t.Errorf("%s: in %q, want %q, %v", s, where, want, err)
		}
	}
	w.wantReach(true, "empty")
	add(0, peerAddr+",tcp/80", peerAddr+",udp/80", "2001:db8::/32,tcp/80", "192.0.2.0/24,icmp/8/0")
	w.wantReach(false, "the address and port")
	if n, err := w.open().DeleteElements(ctx, "doors", []ruleset.Tuple{tupleOf(t, peerAddr+",tcp/80"), tupleOf(t, peerAddr+",tcp/81")}); n != 1 || err != nil {
		t.Errorf("deleted %d, %v", n, err)
	}
	w.wantReach(true, "deleted")
	add(0, "10.9.0.0/24,tcp/80")
	w.wantReach(false, "a network and the port")
	find(peerAddr+",tcp/80", InElements)
	find(peerAddr+",tcp/81", "")
	find("2001:db8:7::1,tcp/80", InElements)

	w.apply(doors(ruleset.Live{Max: 200, Counters: true}), Options{})
	w.wantReach(false, "resized")
	list, err := w.open().Elements("doors")
	if err != nil || len(list) != 4 || list[0].Comment == "" {
		t.Errorf("elements %+v, %v", list, err)
	}
	if n, err := w.open().SaveSets(ctx); n != 4 || err != nil {
		t.Errorf("saved %d, %v", n, err)
	}
	must(t, w.open().Disable(ctx))
	w.apply(doors(ruleset.Live{Max: 200}), Options{})
	w.wantReach(false, "brought back")
	find("192.0.2.7,icmp/8/0", InElements)
	if n, err := w.open().FlushSet(ctx, "doors"); n != 4 || err != nil {
		t.Errorf("flushed %d, %v", n, err)
	}
	w.wantReach(true, "flushed")
	add(50*time.Millisecond, peerAddr+",tcp/80")
	time.Sleep(60 * time.Millisecond)
	w.wantReach(true, "over")
}

// TestNetworkCounters: packets are counted at the smallest network that holds their sender, and at a single address before all networks.
func TestNetworkCounters(t *testing.T) {
	w := newWorld(t)
	w.serve(80)
	rs := banned(ruleset.Live{Counters: true, Dynamic: true})
	w.apply(rs, Options{})
	counted := func(want string) {
		t.Helper()
		list, err := w.open().Elements(bannedName)
		must(t, err)
		for _, e := range list {
			if (e.Packets > 0) != (e.Prefix.String() == want) || (e.Bytes > 0) != (e.Packets > 0) {
				t.Errorf("%s: %d packets, %d bytes; the packets are of %s", e.Prefix, e.Packets, e.Bytes, want)
			}
		}
	}
	w.add(0, "10.0.0.0/8", "10.9.0.0/21", "10.9.0.0/29", "10.10.0.0/16", "2001:db8::/32")
	w.wantReach(false, "a network")
	counted("10.9.0.0/29")
	w.remove("10.9.0.0/29", "10.0.0.0/8")
	w.wantReach(false, "a larger one")
	counted("10.9.0.0/21")
	w.remove("10.9.0.0/21")
	w.add(0, "10.0.0.0/8", peerAddr+"/32")
	w.wantReach(false, "an address")
	counted(peerAddr + "/32")

	w.apply(doors(ruleset.Live{Counters: true}), Options{})
	_, err := w.open().AddElements(context.Background(), "doors", []NewElement{{Tuple: tupleOf(t, "10.9.0.0/28,tcp/80")}, {Tuple: tupleOf(t, "10.8.0.0/13,tcp/80")}, {Tuple: tupleOf(t, "10.9.0.0/29,udp/80")}})
	must(t, err)
	w.wantReach(false, "a network and a port")
	list, err := w.open().Elements("doors")
	must(t, err)
	for _, e := range list {
		if (e.Packets > 0) != (e.Tuple == tupleOf(t, "10.9.0.0/28,tcp/80")) {
			t.Errorf("%s: %d packets", e.Tuple.Text(addressPort), e.Packets)
		}
	}
}
