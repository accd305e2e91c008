package dataplane

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/bpfwall/bpfwall/ruleset"
)

func datagramsTo(name string, port uint64, verdict ruleset.VerdictKind, s ...ruleset.Statement) *ruleset.Rule {
	return &ruleset.Rule{
		Name: name,
		Matches: []ruleset.Match{
			{Field: ruleset.FieldProto, Ranges: []ruleset.Range{{From: 17, To: 17}}},
			{Field: ruleset.FieldDstPort, Ranges: []ruleset.Range{{From: port, To: port}}},
		},
		Statements: s,
		Verdict:    ruleset.Verdict{Kind: verdict},
	}
}

// guarded drops datagrams to this port before it tracks connections, does not track those to 7, and lets in everything else.
func guarded(dropped uint64) *ruleset.Ruleset {
	tracked := &ruleset.Rule{
		Name:    "tracked",
		Matches: []ruleset.Match{{Field: ruleset.FieldState, Masked: []ruleset.Masked{{Value: ruleset.StateNew, Mask: ruleset.StateNew}}}},
		Verdict: ruleset.Verdict{Kind: ruleset.Accept},
	}
	return &ruleset.Ruleset{Chains: []*ruleset.Chain{
		{Name: "guard", Hook: ruleset.HookPrerouting, Policy: ruleset.Accept, Rules: []*ruleset.Rule{
			datagramsTo("dropped", dropped, ruleset.Drop),
			datagramsTo("untracked", 7, ruleset.Continue, ruleset.Statement{NoTrack: &ruleset.NoTrack{}}),
		}},
		{Name: "input", Hook: ruleset.HookInput, Policy: ruleset.Accept, Rules: []*ruleset.Rule{tracked}},
	}}
}

// say sends datagrams to ports of the host.
func (w *world) say(n int, ports ...int) {
	w.tb.Helper()
	w.in(w.peer, func() error {
		for _, port := range ports {
			for range n {
				c, err := net.DialUDP("udp4", nil, &net.UDPAddr{IP: net.ParseIP(hostAddr), Port: port})
				if err != nil {
					return err
				}
				_, _ = c.Write([]byte("tap?"))
				_ = c.Close()
			}
		}
		return nil
	})
	time.Sleep(50 * time.Millisecond)
}

// tap counts the datagrams of say that packet sockets of the host see, which is after XDP and before tc.
func (w *world) tap() func() int {
	w.tb.Helper()
	fd := -1
	w.in(w.host, func() (err error) {
		fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0x0300) // ETH_P_ALL
		return err
	})
	w.tb.Cleanup(func() { _ = unix.Close(fd) })
	return func() (n int) {
		b := make([]byte, 2048)
		for {
			got, err := unix.Read(fd, b)
			if err != nil {
				return n
			}
			if bytes.HasSuffix(b[:got], []byte("tap?")) {
				n++
			}
		}
	}
}

// guard is the row of status that says where the prerouting rules of an interface are judged.
func (w *world) guard(iface string) Hook {
	w.tb.Helper()
	s, err := w.open().Status()
	must(w.tb, err)
	for _, h := range s.Hooks {
		if h.Interface == iface && h.Direction == "guard" {
			return h
		}
	}
	w.tb.Fatalf("no guard row of %s in %+v", iface, s.Hooks)
	return Hook{}
}

// TestGuardInXDP: the same rules count the same wherever they are judged, and what XDP drops gets nowhere.
func TestGuardInXDP(t *testing.T) {
	for _, c := range []struct {
		xdp  XDP
		mode Mode
		seen int // of the dropped datagrams
	}{
		{XDPAuto, usual(), 5}, {XDPOff, usual(), 5}, {XDPNative, Mode(xdpNative), 0}, {XDPGeneric, Mode(xdpNative), 0},
	} {
		t.Run(string(c.xdp), func(t *testing.T) {
			w := newWorld(t)
			w.apply(guarded(9), Options{XDP: c.xdp})
			if got := w.guard("veth0"); got.Mode != c.mode || !got.Attached || (got.Why == "") != (c.mode != usual()) {
				t.Errorf("judged in %+v", got)
			}
			tap := w.tap()
			before := w.counter("input/tracked")
			w.say(5, 9)
			if n := tap(); n != c.seen {
				t.Errorf("%d of the dropped datagrams got past XDP, want %d", n, c.seen)
			}
			w.say(5, 7)
			w.say(3, 8)
			for id, want := range map[string]uint64{"guard/dropped": 5, "guard/untracked": 5} {
				if n := w.counter(id); n != want {
					t.Errorf("%s counts %d, want %d", id, n, want)
				}
			}
			if n := w.counter("input/tracked") - before; n != 3 {
				t.Errorf("%d packets were tracked, want 3", n)
			}
			accepted, judged := uint64(0), uint64(1)
			for try := 0; accepted != judged && try < 20; try++ { // the peer's own multicasts may come between
				accepted, judged = w.settled("guard#policy"), w.settled("input#policy")+w.counter("input/tracked")
			}
			if accepted != judged {
				t.Errorf("guard accepts %d packets, and input judges %d", accepted, judged)
			}
		})
	}
}

// TestLogAndLimitInXDP: what a rule in XDP logs comes out, and limits hold there.
func TestLogAndLimitInXDP(t *testing.T) {
	w := newWorld(t)
	rs := guarded(9)
	dropped := rs.Chains[0].Rules[0]
	dropped.Statements = []ruleset.Statement{{Log: &ruleset.Log{Prefix: "guard"}}}
	dropped.Matches = append(dropped.Matches, ruleset.Match{Field: ruleset.FieldLimit, Limit: &ruleset.Limit{Rate: 1, Per: uint64(time.Hour), Burst: 4}})
	w.apply(rs, Options{XDP: XDPNative})
	w.say(10, 9)
	ctx, stop := context.WithTimeout(context.Background(), 2*time.Second)
	defer stop()
	events := 0
	must(t, w.open().Events(ctx, func(e Event) error {
		if p := e.Packet; e.Hook != ruleset.HookPrerouting || p.In != "veth0" || p.DstPort != 9 || e.Point.Prefix != "guard" {
			t.Errorf("event %+v", e)
		}
		if events++; events == 4 {
			stop()
		}
		return nil
	}))
	if n := w.counter("guard/dropped"); events != 4 || n != 4 {
		t.Errorf("%d events, %d dropped, want 4", events, n)
	}
}

// TestFlipInXDP: one store changes XDP and tc, there and back, and a generation without prerouting rules leaves XDP.
func TestFlipInXDP(t *testing.T) {
	w := newWorld(t)
	w.apply(guarded(9), Options{XDP: XDPNative})
	d := w.open()
	tap := w.tap()
	drops := func(port int) bool {
		t.Helper()
		w.say(1, port)
		return tap() == 0
	}
	if !drops(9) || drops(10) {
		t.Error("generation 1")
	}
	w.apply(guarded(10), Options{XDP: XDPNative})
	if drops(9) || !drops(10) {
		t.Error("generation 2")
	}
	_, err := d.Rollback(context.Background(), Meta{})
	must(t, err)
	if !drops(9) || drops(10) || w.guard("veth0").Mode != Mode(xdpNative) {
		t.Error("rolled back")
	}
	pins := func() []string {
		all, _ := filepath.Glob(filepath.Join(d.at.links, "*-xdp*"))
		return all
	}
	w.apply(inputRules(80), Options{XDP: XDPNative})
	if drops(9) || len(pins()) != 0 {
		t.Errorf("without prerouting rules: pins %q", pins())
	}
	_, err = d.Rollback(context.Background(), Meta{})
	must(t, err)
	if !drops(9) || len(pins()) != 1 {
		t.Errorf("with them again: pins %q", pins())
	}
	w.apply(guarded(9), Options{XDP: XDPOff})
	if drops(9) || len(pins()) != 0 {
		t.Errorf("turned off: pins %q", pins())
	}
	w.disable()
	if drops(9) {
		t.Error("disabled")
	}
}

// TestLeftToTC: what stands against XDP on an interface, and that its packets are judged all the same.
func TestLeftToTC(t *testing.T) {
	w := newWorld(t)
	w.in(w.host, func() error {
		for _, l := range []netlink.Link{
			&netlink.Ifb{LinkAttrs: netlink.LinkAttrs{Name: "ifb0"}},
			&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "br0"}},
			&netlink.Tuntap{LinkAttrs: netlink.LinkAttrs{Name: "tun0"}, Mode: netlink.TUNTAP_MODE_TUN, Flags: netlink.TUNTAP_DEFAULTS},
		} {
			if err := netlink.LinkAdd(l); err != nil {
				return fmt.Errorf("%s: %w", l.Attrs().Name, err)
			}
		}
		return nil
	})
	free := w.attachOther("veth0")
	if res := w.apply(guarded(9), Options{XDP: XDPNative}); len(res.Warnings) != 1 || !strings.Contains(res.Warnings[0], "another XDP program") {
		t.Errorf("warnings %q", res.Warnings)
	}
	check := func(iface, why string) {
		t.Helper()
		if got := w.guard(iface); got.Mode != usual() || !strings.Contains(got.Why, why) {
			t.Errorf("%s: %+v, want tc as %s", iface, got, why)
		}
	}
	check("lo", "loopback")
	check("ifb0", "no native XDP: a virtual device (ifb)")
	check("br0", "no native XDP: a virtual device (bridge)")
	check("tun0", "no Ethernet header")
	check("veth0", `, "somebodys")`)
	w.say(3, 9)
	if n := w.counter("guard/dropped"); n != 3 {
		t.Errorf("%d dropped at tc", n)
	}
	free()
	check("veth0", "another XDP program") // as it was found
	w.apply(guarded(9), Options{XDP: XDPGeneric})
	for name, mode := range map[string]Mode{"lo": usual(), "ifb0": Mode(xdpGeneric), "br0": Mode(xdpGeneric), "veth0": Mode(xdpNative)} {
		if got := w.guard(name); got.Mode != mode {
			t.Errorf("generic: %s: %+v, want %s", name, got, mode)
		}
	}
	w.apply(guarded(9), Options{XDP: XDPNative})
	check("br0", "no native XDP")
	free = w.attachOther("ifb0") // ours has gone from there
	free()
	d := w.open()
	_, err := d.Refresh(context.Background())
	must(t, err)
	if got := w.guard("veth0"); got.Mode != Mode(xdpNative) {
		t.Errorf("after the refresh: %+v", got)
	}
}

// attachOther attaches somebody else's XDP program, until it is told to stop.
func (w *world) attachOther(iface string) (stop func()) {
	w.tb.Helper()
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: "somebodys", Type: ebpf.XDP, License: "GPL", Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 2), asm.Return()}, // XDP_PASS
	})
	must(w.tb, err)
	var l link.Link
	w.in(w.host, func() error {
		dev, err := netlink.LinkByName(iface)
		if err != nil {
			return err
		}
		l, err = link.AttachXDP(link.XDPOptions{Program: p, Interface: dev.Attrs().Index})
		return err
	})
	stop = func() { _ = l.Close(); _ = p.Close() }
	w.tb.Cleanup(stop)
	return stop
}

// TestMarksStayAtTC: a rule for marks keeps the prerouting rules at tc, and status says which.
func TestMarksStayAtTC(t *testing.T) {
	w := newWorld(t)
	rs := guarded(9)
	rs.Chains[0].Rules[1].Statements[0] = ruleset.Statement{SetMark: &ruleset.SetMark{Value: 1, Mask: 1}}
	rs.Chains[0].Rules[1].Pos = ruleset.Pos{File: "p.toml", Line: 7}
	w.apply(rs, Options{XDP: XDPNative})
	if got := w.guard("veth0"); got.Mode != usual() || !strings.Contains(got.Why, "p.toml:7") {
		t.Errorf("%+v", got)
	}
}

// TestDetachedXDP: without its XDP program an interface is judged at tc, and a refresh brings it back. So does a change of its MAC.
func TestDetachedXDP(t *testing.T) {
	w := newWorld(t)
	w.apply(guarded(9), Options{XDP: XDPNative})
	d, tap, moved := w.open(), w.tap(), net.HardwareAddr{2, 9, 9, 9, 9, 9}
	must(t, os.Remove(d.at.linkPin(hook{w.guard("veth0").Ifindex, xdpNative})))
	if got := w.guard("veth0"); got.Mode != usual() || !strings.Contains(got.Why, "refresh") {
		t.Errorf("detached: %+v", got)
	}
	w.say(1, 9)
	if n := tap(); n != 1 || w.counter("guard/dropped") != 1 {
		t.Errorf("%d seen", n)
	}
	_, err := d.Refresh(context.Background())
	must(t, err)
	w.say(1, 9)
	if n := tap(); n != 0 || w.counter("guard/dropped") != 2 {
		t.Errorf("%d seen after the refresh", n)
	}
	w.in(w.host, func() error {
		dev, err := netlink.LinkByName("veth0")
		if err != nil {
			return err
		}
		return netlink.LinkSetHardwareAddr(dev, moved)
	})
	s, err := d.Status()
	must(t, err)
	if !slices.ContainsFunc(s.Warnings, func(w string) bool { return strings.Contains(w, "refresh") }) {
		t.Errorf("no word of the new MAC: %q", s.Warnings)
	}
	_, err = d.Refresh(context.Background())
	must(t, err)
	w.in(w.peer, func() error {
		dev, err := netlink.LinkByName("veth0")
		if err != nil {
			return err
		}
		return netlink.NeighSet(&netlink.Neigh{LinkIndex: dev.Attrs().Index, IP: net.ParseIP(hostAddr), HardwareAddr: moved, State: netlink.NUD_PERMANENT})
	})
	tap()
	w.say(1, 9)
	if n := tap(); n != 0 {
		t.Errorf("%d seen with the new MAC", n)
	}
}

func TestXDPRefusals(t *testing.T) {
	i := iface{name: "eth0", kind: "device", mtu: 9000, xdp: 1<<32 - 1}
	got := map[string]string{}
	for name, err := range map[string]error{
		"busy": unix.EBUSY, "other mode": unix.EEXIST, "none": unix.EOPNOTSUPP, "mtu": unix.ERANGE, "odd": fmt.Errorf("attach: %w", unix.EINVAL),
		"else": errors.New("strange"),
	} {
		got[name] = i.xdpRefusal(err)
	}
	want := map[string]string{
		"busy": "another XDP program is attached (id 4294967295)", "other mode": "another XDP program is attached (id 4294967295)",
		"none": "no native XDP: this driver has none", "mtu": "the driver has no XDP at an MTU of 9000",
		"odd": "the driver refuses XDP, with an MTU of 9000 and as its queues are set up", "else": "strange",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for _, c := range []struct {
		iface
		want string
	}{
		{iface{kind: "team", l2: 14}, "ports of the team"}, {iface{kind: "bond", l2: 14}, "no ports"},
		{iface{kind: "bond", l2: 14, ports: []iface{{kind: "device", l2: 14}, {kind: "device", l2: 14, name: "no-such1", vlan: "no-such1.5"}}}, "port no-such1: XDP does not see"},
		{iface{kind: "bond", l2: 14, ports: []iface{{kind: "device", l2: 14}}}, ""}, {iface{kind: "device", l2: 14, name: "no-such0", vlan: "eth0.5"}, "rxvlan off"},
		{iface{kind: "veth", l2: 14}, "skbs already"}, {iface{kind: "ifb", loopback: true, l2: 14}, "loopback"}, {iface{kind: "tun"}, "Ethernet"}, {iface{kind: "device", l2: 14}, ""},
	} {
		if got := c.noXDP(XDPAuto); !strings.Contains(got, c.want) || (got == "") != (c.want == "") {
			t.Errorf("%+v: %q", c.iface, got)
		}
	}
}
