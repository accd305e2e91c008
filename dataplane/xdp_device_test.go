package dataplane

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/bpfwall/bpfwall/bpf"
	"github.com/bpfwall/bpfwall/ruleset"
)

// needsBonds skips a test where the kernel has no bonds.
func needsBonds(tb testing.TB, w *world) {
	tb.Helper()
	err := inNetns(w.peer, func() error { return netlink.LinkAdd(netlink.NewLinkBond(netlink.LinkAttrs{Name: "probe0"})) })
	if errors.Is(err, unix.EOPNOTSUPP) {
		tb.Skip("the kernel has no bonding driver")
	}
	must(tb, err)
}

// bond makes veth0 of the host the port of a bond, which takes over its addresses.
func (w *world) bond(mode netlink.BondMode) {
	w.tb.Helper()
	w.in(w.host, func() error {
		port, err := netlink.LinkByName("veth0")
		if err != nil {
			return err
		}
		if err := netlink.LinkSetDown(port); err != nil {
			return err
		}
		b := netlink.NewLinkBond(netlink.LinkAttrs{Name: "bond0", HardwareAddr: port.Attrs().HardwareAddr})
		b.Mode = mode
		if err := netlink.LinkAdd(b); err != nil {
			return err
		}
		if err := netlink.LinkSetBondSlave(port, b); err != nil {
			return fmt.Errorf("port: %w", err)
		}
		for _, a := range []string{hostAddr + "/24", "fd09::1/64"} {
			addr, err := netlink.ParseAddr(a)
			if err != nil {
				return err
			}
			_ = netlink.AddrDel(port, addr)
		}
		return setUp("bond0", hostAddr+"/24", "fd09::1/64")
	})
}

// TestBondInXDP: the program of a bond runs on its ports, and takes what comes there for what it is, the bond's.
func TestBondInXDP(t *testing.T) {
	w := newWorld(t)
	needsBonds(t, w)
	w.bond(netlink.BOND_MODE_ACTIVE_BACKUP)
	rs := guarded(9)
	byBond := ruleset.Match{Field: ruleset.FieldInIface, Names: []string{"bond0"}}
	for _, r := range rs.Chains[0].Rules {
		r.Matches = append(r.Matches, byBond)
	}
	w.apply(rs, Options{XDP: XDPAuto})
	if got := w.guard("bond0"); got.Mode != usual() || !strings.Contains(got.Why, "port veth0: a veth's frames") {
		t.Errorf("of veths, by default: %+v", got)
	}
	w.apply(rs, Options{XDP: XDPNative})
	if got := w.guard("bond0"); got.Mode != Mode(xdpNative) || !got.Attached {
		t.Fatalf("judged in %+v", got)
	}
	w.until("the bond is up", func() bool { w.say(1, 7); return w.counter("guard/untracked") > 0 })
	tap, dropped, before, tracked := w.tap(), w.counter("guard/dropped"), w.counter("guard/untracked"), w.counter("input/tracked")
	w.say(5, 9, 7, 11)
	if n := w.counter("guard/dropped") - dropped; n != 5 {
		t.Errorf("%d dropped", n)
	}
	if n := w.counter("guard/untracked") - before; n != 5 {
		t.Errorf("%d of 5 let go on, each counted once", n)
	}
	if n := w.counter("input/tracked") - tracked; n != 5 {
		t.Errorf("%d of 5 tracked: NOTRACK of XDP is not heeded at tc", n)
	}
	if n := tap(); n == 0 {
		t.Error("nothing got past XDP")
	}
}

// TestPortInXDP: what comes in by the port of a bond has the bond's name in XDP, and a seal that holds on the bond alone.
func TestPortInXDP(t *testing.T) {
	w := newWorld(t)
	rs := guarded(9)
	rs.Chains[0].Rules[0].Matches = append(rs.Chains[0].Rules[0].Matches, ruleset.Match{Field: ruleset.FieldInIface, Names: []string{"lo"}})
	w.apply(rs, Options{XDP: XDPNative})
	w.say(3, 9, 7)
	if n := w.counter("guard/dropped") + w.counter("guard/untracked")<<8; n != 3<<8 {
		t.Errorf("no port yet: counted %#x", n)
	}
	m, err := ebpf.LoadPinnedMap(w.open().at.mapPin("ifaces"), nil)
	must(t, err)
	defer m.Close()
	var port bpf.Iface
	key := uint32(w.guard("veth0").Ifindex)
	must(t, m.Lookup(key, &port))
	port.Bond = 1 // as if lo were a bond
	must(t, m.Put(key, port))
	w.say(3, 9, 7)
	if n := w.counter("guard/dropped") + w.counter("guard/untracked")<<8; n != 3+9<<8 {
		t.Errorf("counted %#x, want 3 dropped as of the bond, and what is let pass once more at tc, as it did not come to the bond there", n)
	}
}

// TestXDPDevices: where there is XDP by default, and what status says where there is none.
func TestXDPDevices(t *testing.T) {
	w := newWorld(t)
	w.in(w.host, func() error {
		veth, err := netlink.LinkByName("veth0")
		if err != nil {
			return err
		}
		for _, l := range []netlink.Link{
			&netlink.Macvlan{LinkAttrs: netlink.LinkAttrs{Name: "mac0", ParentIndex: veth.Attrs().Index}, Mode: netlink.MACVLAN_MODE_BRIDGE},
			&netlink.Tuntap{LinkAttrs: netlink.LinkAttrs{Name: "tap0"}, Mode: netlink.TUNTAP_MODE_TAP, Flags: netlink.TUNTAP_DEFAULTS},
		} {
			if err := netlink.LinkAdd(l); err != nil {
				return fmt.Errorf("%s: %w", l.Attrs().Name, err)
			}
		}
		return nil
	})
	w.apply(guarded(9), Options{})
	for name, why := range map[string]string{"mac0": "no native XDP: a virtual device (macvlan)", "veth0": "a veth's frames are skbs already"} {
		if got := w.guard(name); got.Mode != usual() || !strings.Contains(got.Why, why) {
			t.Errorf("%s: %+v, want tc as %s", name, got, why)
		}
	}
	if got := w.guard("tap0"); got.Mode != Mode(xdpNative) || got.Why != "" {
		t.Errorf("tap0: %+v", got)
	}
}

// TestJumboInXDP: frames of 9,000 bytes, which are in several buffers, are judged in XDP too.
func TestJumboInXDP(t *testing.T) {
	w := newWorld(t)
	for _, name := range []string{w.host, w.peer} {
		w.in(name, func() error {
			l, err := netlink.LinkByName("veth0")
			if err != nil {
				return err
			}
			return netlink.LinkSetMTU(l, 9000)
		})
	}
	w.apply(guarded(9), Options{XDP: XDPNative})
	if got := w.guard("veth0"); got.Mode != Mode(xdpNative) {
		t.Fatalf("judged in %+v", got)
	}
	w.in(w.peer, func() error {
		for _, port := range []int{9, 7} {
			c, err := net.DialUDP("udp4", nil, &net.UDPAddr{IP: net.ParseIP(hostAddr), Port: port})
			if err != nil {
				return err
			}
			defer c.Close()
			if _, err := c.Write(bytes.Repeat([]byte("jumbo tap?"), 890)); err != nil {
				return err
			}
		}
		return nil
	})
	w.until("both frames are judged", func() bool { return w.counter("guard/dropped") == 1 && w.counter("guard/untracked") == 1 })
	if n := w.stat("xdp-no-room"); n != 0 {
		t.Errorf("%d frames without room for a seal", n)
	}
}
