package dataplane

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf/link"
	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"

	"github.com/bpfwall/bpfwall/bpf"
	"github.com/bpfwall/bpfwall/ruleset"
	"github.com/bpfwall/bpfwall/translator"
)

func TestNotLoaded(t *testing.T) {
	w := newWorld(t)
	d := w.open()
	for name, call := range map[string]func() error{
		"status":   func() error { _, err := d.Status(); return err },
		"counters": func() error { _, err := d.Counters(); return err },
		"sets":     func() error { _, err := d.Sets(); return err },
		"live":     func() error { _, _, err := d.Live(); return err },
		"twin":     func() error { _, err := d.Twin(); return err },
		"events":   func() error { return d.Events(context.Background(), nil) },
		"refresh":  func() error { _, err := d.Refresh(context.Background()); return err },
		"confirm":  func() error { _, err := d.Confirm(context.Background()); return err },
		"disable":  func() error { return d.Disable(context.Background()) },
	} {
		if err := call(); !errors.Is(err, ErrNotLoaded) {
			t.Errorf("%s: %v, want ErrNotLoaded", name, err)
		}
	}
	if all, err := d.Flows(); len(all) != 0 || !errors.Is(err, ErrNotLoaded) {
		t.Errorf("flows: %v %v", all, err)
	}
	if all, err := d.History(); len(all) != 0 || err != nil {
		t.Errorf("history: %v %v", all, err)
	}
}

func TestOpenNamespace(t *testing.T) {
	for _, name := range []string{"bpfwall-no-such", "../x", "..", "a/b"} {
		if _, err := Open(Config{Netns: name}); !errors.Is(err, ErrNoNamespace) {
			t.Errorf("%q: %v, want ErrNoNamespace", name, err)
		}
	}
}

// TestStatusAndRefresh detaches a hook behind the firewall's back and adds an interface.
func TestStatusAndRefresh(t *testing.T) {
	w := newWorld(t)
	w.serve(80)
	w.apply(inputRules(81), Options{})
	d := w.open()
	s, err := d.Status()
	must(t, err)
	detached := s.Hooks[2]
	at := hook{detached.Ifindex, direction(detached.Direction)}
	w.in(w.host, func() error {
		if detached.Mode == ModeClsact {
			return clsact{}.detach(at)
		}
		l, err := link.LoadPinnedLink(d.at.linkPin(at), nil)
		if err != nil {
			return err
		}
		return errors.Join(l.Detach(), l.Close())
	})
	w.in(w.host, func() error {
		return netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "new0"}, PeerName: "new1"})
	})
	s, err = d.Status()
	must(t, err)
	var off []string
	for _, h := range s.Hooks {
		if !h.Attached {
			off = append(off, h.Interface+" "+h.Direction)
		}
	}
	want := []string{"new0 egress", "new0 ingress", "new1 egress", "new1 ingress", "veth0 ingress"}
	slices.Sort(off)
	if diff := cmp.Diff(want, off); diff != "" {
		t.Error(diff)
	}
	if !w.reaches(80) {
		t.Error("still judged without a hook?")
	}
	res, err := d.Refresh(context.Background())
	must(t, err)
	if res.Generation != 1 || len(res.Hooks) != 8 {
		t.Errorf("refresh: %+v", res)
	}
	w.whole()
	if w.reaches(80) {
		t.Error("not judged after the refresh")
	}
	w.in(w.host, func() error {
		return netlink.LinkDel(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "new0"}})
	})
	_, err = d.Refresh(context.Background())
	must(t, err)
	if pins, _ := filepath.Glob(filepath.Join(d.at.links, "*")); usual() == ModeTCX && len(pins) != 4 {
		t.Errorf("pins %q, want 4: those of a deleted interface go", pins)
	}
}

// TestLostPins removes the pins of the maps: what is attached then drops everything, and an apply attaches programs that read the new ones.
func TestLostPins(t *testing.T) {
	for _, mode := range hookModes() {
		w := newWorld(t)
		w.serve(81)
		w.apply(inputRules(81), Options{Mode: mode})
		d := w.open()
		must(t, os.RemoveAll(d.at.maps))
		closed := false
		for deadline := time.Now().Add(10 * time.Second); !closed && time.Now().Before(deadline); { // the kernel clears the array later
			closed = !w.reaches(81)
		}
		if !closed {
			t.Errorf("%s: open without pins", mode)
		}
		if _, err := d.Status(); !errors.Is(err, ErrPinsGone) {
			t.Errorf("%s: %v, want ErrPinsGone", mode, err)
		}
		w.apply(inputRules(81), Options{Mode: mode})
		w.whole()
		if !w.reaches(81) {
			t.Errorf("%s: closed after the apply", mode)
		}
	}
}

// TestPortsOfABridge judges what comes to the bridge, and not what its ports hand on.
func TestPortsOfABridge(t *testing.T) {
	w := newWorld(t)
	w.in(w.host, func() error {
		bridge := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "br0"}}
		port := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "port0"}, PeerName: "port1"}
		return errors.Join(netlink.LinkAdd(bridge), netlink.LinkAdd(port), netlink.LinkSetMaster(port, bridge))
	})
	res := w.apply(inputRules(80), Options{})
	judged := map[string]bool{}
	for _, h := range res.Hooks {
		judged[h.Interface] = true
	}
	if !judged["br0"] || !judged["port1"] || judged["port0"] {
		t.Errorf("judged: %v", judged)
	}
	_, err := w.open().Apply(context.Background(), inputRules(80), Meta{}, Options{Interfaces: []string{"port0"}})
	var missing *MissingInterfaceError
	if !errors.As(err, &missing) || !strings.Contains(missing.Why, "bridge br0") {
		t.Errorf("naming a port: %v", err)
	}
}

func TestStatusMissing(t *testing.T) {
	w := newWorld(t)
	w.in(w.host, func() error {
		return netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "new0"}, PeerName: "new1"})
	})
	w.apply(inputRules(80), Options{Interfaces: []string{"veth0", "new0"}})
	w.in(w.host, func() error {
		return netlink.LinkDel(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "new0"}})
	})
	d := w.open()
	s, err := d.Status()
	must(t, err)
	if diff := cmp.Diff([]string{"new0"}, s.Missing); diff != "" {
		t.Error(diff)
	}
	res, err := d.Restore(context.Background(), 1, Meta{})
	must(t, err)
	if len(res.Hooks) != 2 || len(res.Warnings) != 1 {
		t.Errorf("restore with an interface missing: %+v", res)
	}
}

// TestNAT: nat rules that are there are found by apply and by rollback, and those that come later by status.
func TestNAT(t *testing.T) {
	w := newWorld(t)
	if _, err := exec.LookPath("nft"); err != nil {
		t.Skip("needs nft")
	}
	d := w.open()
	check := func(when string, nat bool, warnings int) {
		t.Helper()
		s, err := d.Status()
		must(t, err)
		if s.Generation.NAT != nat || len(s.Warnings) != warnings {
			t.Errorf("%s: nat %t, warnings %q; want %t and %d", when, s.Generation.NAT, s.Warnings, nat, warnings)
		}
	}
	if res := w.apply(inputRules(80), Options{}); len(res.Warnings) != 0 {
		t.Errorf("without nat rules: warnings %q", res.Warnings)
	}
	check("without nat rules", false, 0)
	w.nft(`table ip nat { chain post { type nat hook postrouting priority 100; oifname "x" masquerade; }; chain pre { type nat hook prerouting priority -100; };
		chain in { type filter hook input priority 0; }; chain near { type filter hook input priority -1; }; }`)
	check("nat rules after the apply", false, 1)
	if res := w.apply(inputRules(81), Options{}); len(res.Warnings) != 1 {
		t.Errorf("warnings %q, want one about nat", res.Warnings)
	}
	check("applied again", true, 0)
	_, err := d.Rollback(context.Background(), Meta{})
	must(t, err)
	check("rolled back to rules from before", true, 0)
	w.nft("delete table ip nat")
	w.apply(inputRules(82), Options{BesideNAT: true})
	check("made ready", true, 0)
	must(t, os.Remove(d.at.netfilterPin(netfilterHooks[0])))
	check("a link that is lost", true, 1)
	_, err = d.Refresh(context.Background())
	must(t, err)
	check("refreshed", true, 0)
	w.apply(inputRules(83), Options{})
	check("without nat rules again", false, 0)
}

// nft loads rules into the kernel of the host.
func (w *world) nft(rules string) {
	w.in(w.host, func() error {
		cmd := exec.Command("nft", "-f", "-")
		cmd.Stdin = strings.NewReader(rules)
		out, err := cmd.CombinedOutput()
		if err != nil {
			w.tb.Logf("%s", out)
		}
		return err
	})
}

// TestTwin asks the twin about packets, and looks whether that leaves a trace on the live firewall.
func TestTwin(t *testing.T) {
	w := newWorld(t)
	rs := onlyInput(80)
	rs.Chains = append(rs.Chains, &ruleset.Chain{Name: "raw", Hook: ruleset.HookPrerouting, Policy: ruleset.Accept, Rules: []*ruleset.Rule{{
		Name: "bad", Matches: []ruleset.Match{{Field: ruleset.FieldDstPort, Ranges: []ruleset.Range{{From: 99, To: 99}}}},
		Verdict: ruleset.Verdict{Kind: ruleset.Drop},
	}}})
	w.apply(rs, Options{})
	d := w.open()
	twin, err := d.Twin()
	must(t, err)
	defer twin.Close()
	for _, c := range []struct {
		port    int
		verdict ruleset.VerdictKind
		by      string
		hooks   int
	}{
		{80, ruleset.Accept, "input/port-80", 2}, {81, ruleset.Drop, "input#policy", 2}, {99, ruleset.Drop, "raw/bad", 1},
	} {
		p := &ruleset.Packet{Family: ruleset.FamilyIPv4, Proto: 6, SrcPort: 4000, DstPort: c.port}
		all, err := twin.Explain(ruleset.HookInput, p)
		must(t, err)
		last := all[len(all)-1]
		if len(all) != c.hooks || last.Verdict.Kind != c.verdict || last.By == nil || last.By.ID != c.by {
			t.Errorf("port %d: %+v, want %s by %s", c.port, last, c.verdict, c.by)
		}
		want, _ := rs.Walk(ruleset.HookInput, p, nil)
		if want.Kind != last.Verdict.Kind {
			t.Errorf("port %d: the evaluator says %s", c.port, want)
		}
	}
	p := &ruleset.Packet{Family: ruleset.FamilyIPv4, Malformed: true}
	all, err := twin.Explain(ruleset.HookOutput, p)
	must(t, err)
	if last := all[len(all)-1]; last.Verdict.Kind != ruleset.Accept || last.By != nil || last.Reason == "" {
		t.Errorf("without a chain: %+v", last)
	}
	all, err = twin.Explain(ruleset.HookInput, p)
	must(t, err)
	if last := all[len(all)-1]; last.Verdict.Kind != ruleset.Drop || last.Reason != ruleset.ReasonMalformed {
		t.Errorf("malformed: %+v", last)
	}
	if n := w.counter("raw/bad"); n != 0 {
		t.Errorf("explaining was counted: %d", n)
	}
}

func TestEvents(t *testing.T) {
	w := newWorld(t)
	rs := inputRules(80)
	rs.Chains[0].Rules = append(rs.Chains[0].Rules, &ruleset.Rule{
		Name: "tell", Matches: []ruleset.Match{{Field: ruleset.FieldProto, Ranges: []ruleset.Range{{From: 17, To: 17}}}},
		Statements: []ruleset.Statement{{Log: &ruleset.Log{Prefix: "udp: "}}},
	})
	w.apply(rs, Options{})
	d := w.open()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	go func() {
		for ctx.Err() == nil {
			time.Sleep(50 * time.Millisecond)
			_ = inNetns(w.peer, func() error { return sendUDP(hostAddr + ":5353") })
		}
	}()
	enough := errors.New("enough")
	var got Event
	err := d.Events(ctx, func(e Event) error {
		got = e
		if err := d.Events(ctx, nil); !errors.Is(err, ErrBusy) {
			t.Errorf("second reader: %v, want ErrBusy", err)
		}
		return enough
	})
	if !errors.Is(err, enough) {
		t.Fatalf("no event: %v", err)
	}
	if got.Point.Prefix != "udp: " || got.Point.Rule == nil || got.Point.Rule.Name != "tell" || got.Hook != ruleset.HookInput || got.Generation != 1 {
		t.Errorf("event %+v", got)
	}
	if p := got.Packet; p.Src.String() != peerAddr || p.DstPort != 5353 || p.Proto != 17 || p.TCPFlags != ruleset.Absent {
		t.Errorf("packet %+v", p)
	}
	if age := time.Since(got.Time); age < 0 || age > 5*time.Second {
		t.Errorf("%s old", age)
	}
	cancel()
	if err := d.Events(ctx, func(Event) error { return nil }); err != nil { // one may have come before
		t.Errorf("after cancel: %v", err)
	}
}

func sendUDP(to string) error {
	c, err := net.Dial("udp4", to)
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = c.Write([]byte("x"))
	return err
}

func TestAddressTypes(t *testing.T) {
	w := newWorld(t)
	rs := inputRules()
	rs.Chains[0].Policy = ruleset.Accept
	rs.Chains[0].Rules = []*ruleset.Rule{{
		Name: "broadcast", Matches: []ruleset.Match{{Field: ruleset.FieldDstType, Masked: []ruleset.Masked{{Value: ruleset.AddrBroadcast, Mask: ruleset.AddrBroadcast}}}},
	}, {
		Name: "local", Matches: []ruleset.Match{{Field: ruleset.FieldDstType, Masked: []ruleset.Masked{{Value: ruleset.AddrLocal, Mask: ruleset.AddrLocal}}}},
	}, {
		Name: "from-veth", Matches: []ruleset.Match{{Field: ruleset.FieldInIface, Names: []string{"veth0"}}},
	}}
	w.apply(rs, Options{})
	w.in(w.peer, func() error { return sendUDP(hostAddr + ":9") })
	time.Sleep(50 * time.Millisecond)
	if w.counter("input/local") == 0 || w.counter("input/from-veth") == 0 {
		t.Error("the host's own address is not known as local, or its interface by name")
	}
	d := w.open()
	warnings := func() int {
		s, err := d.Status()
		must(t, err)
		return len(s.Warnings)
	}
	if n := warnings(); n != 0 {
		t.Errorf("%d warnings before anything changed", n)
	}
	for name, change := range map[string]func(netlink.Link) error{
		"address": func(l netlink.Link) error {
			a, _ := netlink.ParseAddr("10.66.0.1/24")
			return netlink.AddrAdd(l, a)
		},
		"interfaces": func(netlink.Link) error {
			return netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "new0"}, PeerName: "new1"})
		},
	} {
		w.in(w.host, func() error {
			l, err := netlink.LinkByName("veth0")
			if err != nil {
				return err
			}
			return change(l)
		})
		if n := warnings(); n != 1 {
			t.Errorf("%d warnings after a change of %s, want 1", n, name)
		}
		_, err := d.Refresh(context.Background())
		must(t, err)
		if n := warnings(); n != 0 {
			t.Errorf("%d warnings after the refresh", n)
		}
	}
	w.in(w.host, func() error {
		types, err := localAddresses()
		if err != nil {
			return err
		}
		var key bpf.AddrKey
		key.Prefixlen, key.Family = 64, 4
		putAddr(&key.Addr, net.ParseIP("10.9.0.255").To4())
		if types[key] != ruleset.AddrBroadcast {
			t.Errorf("10.9.0.255 is %#x, want broadcast; there are %d", types[key], len(types))
		}
		return nil
	})
}

// TestForwardingBegins turns a host into a router after the apply.
func TestForwardingBegins(t *testing.T) {
	w := newWorld(t)
	w.apply(inputRules(80), Options{})
	d := w.open()
	s, err := d.Status()
	must(t, err)
	if len(s.Warnings) != 0 || s.Generation.Forwarding {
		t.Errorf("warnings %q before", s.Warnings)
	}
	w.in(w.host, func() error { return os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0o644) })
	s, err = d.Status()
	must(t, err)
	if len(s.Warnings) != 1 {
		t.Errorf("warnings %q, want one about forwarding", s.Warnings)
	}
	w.apply(inputRules(80), Options{})
	s, err = d.Status()
	must(t, err)
	if len(s.Warnings) != 0 || !s.Generation.Forwarding {
		t.Errorf("warnings %q after an apply", s.Warnings)
	}
}

// TestManyAddresses gives the host more addresses than the map of address types has room for at first.
func TestManyAddresses(t *testing.T) {
	w := newWorld(t)
	rs := inputRules()
	rs.Chains[0].Policy = ruleset.Accept
	rs.Chains[0].Rules = []*ruleset.Rule{{
		Name: "local", Matches: []ruleset.Match{{Field: ruleset.FieldDstType, Masked: []ruleset.Masked{{Value: ruleset.AddrLocal, Mask: ruleset.AddrLocal}}}},
	}}
	w.apply(rs, Options{})
	w.in(w.host, func() error {
		var err error
		for n := range 4200 {
			a := &netlink.Addr{IPNet: &net.IPNet{IP: net.IPv4(10, 77, byte(n>>8), byte(n)), Mask: net.CIDRMask(32, 32)}}
			err = errors.Join(err, netlink.AddrAdd(&netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: 1}}, a))
		}
		return err
	})
	res := w.apply(rs, Options{})
	if len(res.Warnings) != 0 {
		t.Errorf("warnings %q", res.Warnings)
	}
	w.in(w.peer, func() error { return sendUDP(hostAddr + ":9") })
	time.Sleep(50 * time.Millisecond)
	if w.counter("input/local") == 0 {
		t.Error("the host's own address is not known as local")
	}
}

// TestPacketRoundTrip checks that decodePacket is the way back from translator.Pkt.
func TestPacketRoundTrip(t *testing.T) {
	for _, p := range []ruleset.Packet{
		{Family: 4, Src: addr("10.0.0.1"), Dst: addr("10.0.0.2"), Proto: 6, SrcPort: 1, DstPort: 65535, TCPFlags: 2, TCPOptions: []byte{2, 255},
			TCPMSS: 1460, ICMPType: ruleset.Absent, ICMPCode: ruleset.Absent, In: "eth0", SrcMAC: 0xa1b2c3d4e5f6, HasMAC: true, State: 8},
		{Family: 6, Src: addr("fd00::1"), Dst: addr("::2"), Proto: 58, SrcPort: ruleset.Absent, DstPort: ruleset.Absent, TCPFlags: ruleset.Absent,
			TCPMSS: ruleset.Absent, ICMPType: 128, ICMPCode: 0, Out: "a-name-of-15-by", Fragment: true, Mark: 7, TTL: 64, TOS: 3, Length: 80},
	} {
		pkt := translator.Pkt(&p, ruleset.HookInput)
		if diff := cmp.Diff(p, decodePacket(&pkt), cmp.Comparer(sameAddr)); diff != "" {
			t.Error(diff)
		}
	}
}
