package dataplane

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/google/go-cmp/cmp"

	"github.com/bpfwall/bpfwall/ruleset"
	"github.com/bpfwall/bpfwall/translator"
)

// banned is rules that drop who is in the set banned, put who asks for port 23 into it, and accept the rest.
func banned(live ruleset.Live, members ...string) *ruleset.Ruleset {
	set := &ruleset.Set{Name: "ba nn/ed.x", Live: &live}
	for _, m := range members {
		set.Members = append(set.Members, ruleset.Prefix(netip.MustParsePrefix(m)))
	}
	in := ruleset.Match{Field: ruleset.FieldSrcAddr, Set: set.Name}
	c := &ruleset.Chain{Name: "input", Hook: ruleset.HookInput, Policy: ruleset.Accept, Rules: []*ruleset.Rule{
		{Name: "banned", Matches: []ruleset.Match{in}, Verdict: ruleset.Verdict{Kind: ruleset.Drop}},
	}}
	if live.Dynamic {
		trap := allowPort(23)
		trap.Verdict.Kind = ruleset.Drop
		trap.Statements = []ruleset.Statement{{Change: &ruleset.SetChange{Set: set.Name, Field: ruleset.FieldSrcAddr}}}
		c.Rules = append(c.Rules, trap)
	}
	return &ruleset.Ruleset{Chains: []*ruleset.Chain{c}, Sets: []*ruleset.Set{set}}
}

const bannedName = "ba nn/ed.x"

func (w *world) add(timeout time.Duration, list ...string) int {
	w.tb.Helper()
	var elements []NewElement
	for _, s := range list {
		elements = append(elements, NewElement{Prefix: netip.MustParsePrefix(s), Timeout: timeout})
	}
	n, err := w.open().AddElements(context.Background(), bannedName, elements)
	must(w.tb, err)
	return n
}

// single is the element that a packet's address is.
func single(s string) ruleset.Tuple {
	a := netip.MustParseAddr(s)
	return ruleset.Tuple{Net: netip.PrefixFrom(a, a.BitLen())}
}

func (w *world) remove(list ...string) int {
	w.tb.Helper()
	var prefixes []ruleset.Tuple
	for _, s := range list {
		prefixes = append(prefixes, ruleset.Tuple{Net: netip.MustParsePrefix(s)})
	}
	n, err := w.open().DeleteElements(context.Background(), bannedName, prefixes)
	must(w.tb, err)
	return n
}

// elements are the prefixes of the set's elements, as text.
func (w *world) elements() []string {
	w.tb.Helper()
	list, err := w.open().Elements(bannedName)
	must(w.tb, err)
	out := []string{}
	for _, e := range list {
		out = append(out, e.Prefix.String())
	}
	return out
}

func (w *world) wantReach(want bool, when string) {
	w.tb.Helper()
	if got := w.reaches(80); got != want {
		w.tb.Errorf("%s: reached %t, want %t", when, got, want)
	}
}

// TestSetChanges: what is added to a set and taken out counts at once, for single addresses and for prefixes that lie in each other.
func TestSetChanges(t *testing.T) {
	w := newWorld(t)
	w.serve(80)
	w.apply(banned(ruleset.Live{Dynamic: true, Counters: true}), Options{})
	w.wantReach(true, "an empty set")
	if n := w.add(0, peerAddr+"/32", "10.9.0.0/24", "192.0.2.0/24", "2001:db8::/32", peerAddr+"/32"); n != 4 {
		t.Errorf("%d were added, want 4", n)
	}
	w.wantReach(false, "in the set")
	w.remove(peerAddr + "/32")
	w.wantReach(false, "a prefix around is in the set")
	w.add(0, "10.0.0.0/8")
	w.remove("10.9.0.0/24")
	w.wantReach(false, "a larger prefix around is in the set")
	if n := w.remove("10.0.0.0/8", "10.1.0.0/16"); n != 1 {
		t.Errorf("%d were removed, want 1", n)
	}
	w.wantReach(true, "out of the set")
	if diff := cmp.Diff([]string{"192.0.2.0/24", "2001:db8::/32"}, w.elements()); diff != "" {
		t.Error(diff)
	}
	if n, err := w.open().FlushSet(context.Background(), bannedName); n != 2 || err != nil {
		t.Errorf("flush: %d %v", n, err)
	}
}

// TestRulesAddToSets: a packet bans its sender, for the set's time.
func TestRulesAddToSets(t *testing.T) {
	w := newWorld(t)
	w.serve(80)
	w.apply(banned(ruleset.Live{Dynamic: true, Timeout: 2, Counters: true}), Options{})
	begin := time.Now()
	_ = w.reaches(23)
	w.wantReach(false, "after port 23")
	list, err := w.open().Elements(bannedName)
	must(t, err)
	if len(list) != 1 || list[0].Prefix.Addr() != addr(peerAddr) || list[0].Packets == 0 || list[0].Left <= 0 || list[0].Left > 2*time.Second {
		t.Fatalf("elements: %+v", list)
	}
	end := time.Now().Add(list[0].Left)
	for last := false; !w.reaches(80); time.Sleep(10 * time.Millisecond) {
		if last {
			t.Fatal("still banned when the time was over")
		}
		last = time.Now().After(end)
	}
	if d := time.Since(begin); d < 2*time.Second {
		t.Errorf("banned for 2 s, reached after %s", d)
	}
}

// TestSetTimeouts: elements with a time are over when it is, single addresses and prefixes.
func TestSetTimeouts(t *testing.T) {
	w := newWorld(t)
	w.serve(80)
	w.apply(banned(ruleset.Live{Dynamic: true, Timeout: 3600}), Options{})
	for _, p := range []string{peerAddr + "/32", "10.9.0.0/16"} {
		w.add(1500*time.Millisecond, p)
		w.wantReach(false, p)
		time.Sleep(2600 * time.Millisecond)
		w.wantReach(true, p+" later")
	}
	if got := w.elements(); len(got) != 0 {
		t.Errorf("still there: %v", got)
	}
	w.add(-1, "10.9.0.0/16")
	w.add(time.Second, "10.9.0.0/16") // a shorter time than before counts too
	time.Sleep(2100 * time.Millisecond)
	w.wantReach(true, "the time was made shorter")
}

// TestSetsOutliveGenerations: elements stay over apply, rollback and a change of the set's size; members are the generation's.
func TestSetsOutliveGenerations(t *testing.T) {
	w := newWorld(t)
	w.serve(80)
	live := ruleset.Live{Dynamic: true}
	w.apply(banned(live, "192.0.2.0/24"), Options{})
	w.add(0, "198.51.100.7/32", "10.9.0.0/16")
	want := []string{"10.9.0.0/16", "198.51.100.7/32"}
	check := func(when string, reach bool) {
		t.Helper()
		if diff := cmp.Diff(want, w.elements()); diff != "" {
			t.Errorf("%s: %s", when, diff)
		}
		w.wantReach(reach, when)
	}
	check("added", false)
	w.apply(banned(live), Options{})
	check("applied again", false)
	w.remove("10.9.0.0/16")
	want = want[1:]
	w.apply(banned(live, "10.9.0.2/32"), Options{})
	check("in the new members", false)
	_, err := w.open().Rollback(context.Background(), Meta{Time: time.Now()})
	must(t, err)
	check("members as before", true)
	live.Max = 1 << 17
	w.apply(banned(live), Options{})
	w.add(0, "10.9.0.0/24")
	want = []string{"10.9.0.0/24", "198.51.100.7/32"}
	check("a larger set", false)
	_, err = w.open().Rollback(context.Background(), Meta{Time: time.Now()})
	must(t, err)
	check("a smaller set again", false)
}

// TestSetErrors: sets that are not there, not dynamic or full.
func TestSetErrors(t *testing.T) {
	w := newWorld(t)
	w.apply(banned(ruleset.Live{Dynamic: true, Max: 2}), Options{})
	d, ctx := w.open(), context.Background()
	one := []NewElement{{Prefix: netip.MustParsePrefix("10.0.0.1/32")}}
	if _, err := d.AddElements(ctx, "nobody", one); !errors.Is(err, ErrNoSet) {
		t.Errorf("unknown set: %v", err)
	}
	w.add(time.Nanosecond, "10.0.0.1/32", "10.0.0.2/32")
	w.add(0, "10.0.0.3/32", "10.0.0.4/32") // those that are over make room
	if _, err := d.AddElements(ctx, bannedName, one); !errors.Is(err, ErrSetFull) {
		t.Errorf("full set: %v", err)
	}
	if err := d.RefreshSet(ctx, bannedName, nil); !errors.Is(err, ErrNoFeed) {
		t.Errorf("no feed: %v", err)
	}
	w.apply(banned(ruleset.Live{Feed: &ruleset.Feed{File: "x"}}), Options{})
	if _, err := d.AddElements(ctx, bannedName, one); !errors.Is(err, ErrNotDynamic) {
		t.Errorf("not dynamic: %v", err)
	}
}

// TestFeed: a list replaces the one before in one moment, and is there again when everything but the disk was lost.
func TestFeed(t *testing.T) {
	w := newWorld(t)
	w.serve(80)
	rs := banned(ruleset.Live{Feed: &ruleset.Feed{URL: "https://lists.example.net/x"}})
	if res := w.apply(rs, Options{}); !slices.ContainsFunc(res.Warnings, func(s string) bool { return len(s) > 0 }) {
		t.Error("no warning of a list that was never fetched")
	}
	w.wantReach(true, "nothing fetched")
	refresh := func(list ...string) {
		var prefixes []netip.Prefix
		for _, p := range list {
			prefixes = append(prefixes, netip.MustParsePrefix(p))
		}
		must(t, w.open().RefreshSet(context.Background(), bannedName, prefixes))
	}
	refresh("10.9.0.0/24", "2001:db8::/32")
	w.wantReach(false, "fetched")
	refresh("192.0.2.0/24")
	w.wantReach(true, "another list")
	refresh("10.9.0.2/32")
	w.disable()
	w.wantReach(true, "turned off")
	w.apply(rs, Options{})
	w.wantReach(false, "turned on")
	where, _, err := w.open().FindElement(bannedName, single(peerAddr))
	if where != InFeed || err != nil {
		t.Errorf("found in %q, %v", where, err)
	}
}

// TestNobodyIsLeftOut adds and removes thousands of neighbours of an address that is in a set all the time, while packets of that address
// come: every one of them is dropped.
func TestNobodyIsLeftOut(t *testing.T) {
	w := newWorld(t)
	rs := banned(ruleset.Live{Dynamic: true})
	w.apply(rs, Options{})
	w.add(0, "10.9.0.0/30", "192.0.2.1/32")
	var stop atomic.Bool
	done := make(chan int, 1)
	go func() {
		n := 0
		defer func() { done <- n }()
		for ; !stop.Load(); n++ {
			for i := range 4 {
				w.add(0, netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 9, byte(n), byte(64 * i)}), 27).String())
			}
			if n%3 == 0 {
				w.remove(netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 9, byte(n), 64}), 27).String())
			}
		}
	}()
	twin, err := w.open().Twin()
	must(t, err)
	defer twin.Close()
	p := &ruleset.Packet{Family: ruleset.FamilyIPv4, Src: addr(peerAddr), Dst: addr(hostAddr), Proto: 17, In: "veth0", State: ruleset.StateNew,
		SrcPort: 1, DstPort: 80, TCPFlags: ruleset.Absent, ICMPType: ruleset.Absent, ICMPCode: ruleset.Absent, TCPMSS: ruleset.Absent}
	runs := 0
	for start := time.Now(); time.Since(start) < 3*time.Second; runs++ {
		all, err := twin.Explain(ruleset.HookInput, p)
		must(t, err)
		if v := all[len(all)-1].Verdict.Kind; v != ruleset.Drop {
			t.Fatalf("run %d: %s", runs, v)
		}
	}
	stop.Store(true)
	t.Logf("%d lookups while %d times four prefixes were added", runs, <-done)
}

// TestSetReaper: elements whose time is over leave the map with no process running, so that rules find room for others.
func TestSetReaper(t *testing.T) {
	needTimers(t)
	w := newWorld(t)
	d := w.open()
	d.reapEvery = 200 * time.Millisecond
	_, err := d.Apply(context.Background(), banned(ruleset.Live{Dynamic: true, Max: 4}), Meta{Time: time.Now()}, Options{})
	must(t, err)
	t.Cleanup(func() { _ = d.Disable(context.Background()) })
	w.add(0, "192.0.2.4/32")
	w.add(time.Millisecond, "192.0.2.1/32", "192.0.2.2/32", "192.0.2.0/24")
	m, err := ebpf.LoadPinnedMap(d.at.setPin(bannedName, elementsMap), nil)
	must(t, err)
	defer m.Close()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		n := 0
		must(t, eachElement(m, func([]byte, translator.Element) error { n++; return nil }))
		if n == 1 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d elements after 10 s, want 1", n)
		}
	}
}

// TestSavedSets: elements are there again after the firewall was turned off, with the time that they have left.
func TestSavedSets(t *testing.T) {
	w := newWorld(t)
	rs := banned(ruleset.Live{Dynamic: true})
	w.apply(rs, Options{})
	w.add(0, "192.0.2.1/32", "2001:db8::/32")
	w.add(time.Hour, "198.51.100.0/24")
	w.add(time.Millisecond, "203.0.113.0/24")
	time.Sleep(5 * time.Millisecond) // until it is over
	n, err := w.open().SaveSets(context.Background())
	must(t, err)
	if n != 3 {
		t.Errorf("%d saved, want 3", n)
	}
	w.remove("192.0.2.1/32")
	w.disable()
	w.apply(rs, Options{})
	if diff := cmp.Diff([]string{"198.51.100.0/24", "2001:db8::/32"}, w.elements()); diff != "" {
		t.Error(diff)
	}
	list, err := w.open().Elements(bannedName)
	must(t, err)
	if left := list[0].Left; left < 59*time.Minute || left > time.Hour {
		t.Errorf("%s left, want an hour", left)
	}
	if where, p, err := w.open().FindElement(bannedName, single("198.51.100.9")); where != InElements || p.Net.Bits() != 24 || err != nil {
		t.Errorf("found in %q by %s, %v", where, p.Text(nil), err)
	}
}

// TestSetTableFull: prefixes that the table has no room for are refused, and those before stay.
func TestSetTableFull(t *testing.T) {
	w := newWorld(t)
	w.serve(80)
	w.apply(banned(ruleset.Live{Dynamic: true, Max: 40_000}), Options{})
	w.add(0, "10.9.0.0/24")
	var many []NewElement
	for i := range 39_000 {
		a := netip.AddrFrom16([16]byte{0: 0x20, 1: byte(i >> 8), 2: byte(i), 3: 1, 5: byte(i), 7: byte(i >> 8), 9: 1, 11: byte(i)})
		many = append(many, NewElement{Prefix: netip.PrefixFrom(a, 112)})
	}
	if _, err := w.open().AddElements(context.Background(), bannedName, many); !errors.Is(err, ErrSetFull) {
		t.Errorf("got %v, want ErrSetFull", err)
	}
	w.wantReach(false, "in the set before")
	if got := w.elements(); len(got) != 1 {
		t.Errorf("%d elements, want 1", len(got))
	}
	if n := w.add(0, "192.0.2.0/24"); n != 1 {
		t.Errorf("%d added", n)
	}
}
