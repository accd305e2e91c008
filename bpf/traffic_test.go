package bpf

import (
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// world is three namespaces in a row: a (10.9.1.2) - router (10.9.1.1, 10.9.2.1) - b (10.9.2.2), and the same in fd09::/16.
type world struct {
	testing.TB
	a, router, b netns.NsHandle
}

func newWorld(tb testing.TB) *world {
	tb.Helper()
	needRoot(tb)
	runtime.LockOSThread() // never unlocked
	w := &world{TB: tb}
	for _, ns := range []*netns.NsHandle{&w.a, &w.router, &w.b} {
		h, err := netns.New() // and enters it: the router's is the last but one
		if err != nil {
			tb.Skipf("a network namespace: %s", err)
		}
		*ns = h
		tb.Cleanup(func() { h.Close() })
		if err := sysctl("net/ipv6/conf/default/accept_dad", "0"); err != nil { // link-local addresses at once
			tb.Fatal(err)
		}
	}
	w.join(w.a, 1)
	w.join(w.b, 2)
	for _, ns := range []netns.NsHandle{w.a, w.b, w.router} {
		w.in(ns, func() error { return up("lo") })
	}
	w.in(w.router, func() error {
		return errors.Join(sysctl("net/ipv4/ip_forward", "1"), sysctl("net/ipv6/conf/all/forwarding", "1"))
	})
	return w
}

// in runs f in a namespace and stays there.
func (w *world) in(ns netns.NsHandle, f func() error) {
	w.Helper()
	if err := errors.Join(netns.Set(ns), f()); err != nil {
		w.Fatal(err)
	}
}

// join links end and router by net number n.
func (w *world) join(end netns.NsHandle, n int) {
	w.Helper()
	name := fmt.Sprintf("r%d", n)
	w.in(w.router, func() error {
		v := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name}, PeerName: "eth0", PeerNamespace: netlink.NsFd(end)}
		return errors.Join(netlink.LinkAdd(v), address(name, n, 1), up(name))
	})
	w.in(end, func() error {
		err := errors.Join(address("eth0", n, 2), up("eth0"))
		for _, gw := range []string{fmt.Sprintf("10.9.%d.1", n), fmt.Sprintf("fd09:%d::1", n)} {
			err = errors.Join(err, netlink.RouteAdd(&netlink.Route{Gw: net.ParseIP(gw)}))
		}
		return err
	})
}

func address(dev string, n, host int) error {
	l, err := netlink.LinkByName(dev)
	if err != nil {
		return err
	}
	v4, _ := netlink.ParseAddr(fmt.Sprintf("10.9.%d.%d/24", n, host))
	v6, _ := netlink.ParseAddr(fmt.Sprintf("fd09:%d::%d/64", n, host))
	v6.Flags = unix.IFA_F_NODAD
	return errors.Join(netlink.AddrAdd(l, v4), netlink.AddrAdd(l, v6))
}

func up(dev string) error {
	l, err := netlink.LinkByName(dev)
	if err != nil {
		return err
	}
	return netlink.LinkSetUp(l)
}

// protect attaches a generation to interfaces of the namespace that the thread is in.
func (w *world) protect(coll *ebpf.Collection, devs ...string) {
	w.Helper()
	if _, err := link.QueryPrograms(link.QueryOptions{Target: 1, Attach: ebpf.AttachTCXIngress}); err != nil {
		w.protectOld(coll, devs...)
		return
	}
	for _, dev := range devs {
		l, err := netlink.LinkByName(dev)
		if err != nil {
			w.Fatal(err)
		}
		w.note(coll, l)
		for prog, at := range map[string]ebpf.AttachType{"tc_ingress": ebpf.AttachTCXIngress, "tc_egress": ebpf.AttachTCXEgress} {
			tcx, err := link.AttachTCX(link.TCXOptions{Interface: l.Attrs().Index, Program: coll.Programs[prog], Attach: at})
			if err != nil {
				w.Fatalf("tcx: %s", err)
			}
			w.Cleanup(func() { tcx.Close() })
		}
	}
}

// protectOld does the same with clsact, for kernels before 6.6.
func (w *world) protectOld(coll *ebpf.Collection, devs ...string) {
	w.Helper()
	for _, dev := range devs {
		l, err := netlink.LinkByName(dev)
		if err != nil {
			w.Fatal(err)
		}
		w.note(coll, l)
		at := netlink.QdiscAttrs{LinkIndex: l.Attrs().Index, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_CLSACT}
		if err := netlink.QdiscAdd(&netlink.GenericQdisc{QdiscAttrs: at, QdiscType: "clsact"}); err != nil && !errors.Is(err, unix.EEXIST) {
			w.Skipf("clsact: %s", err)
		}
		for prog, parent := range map[string]uint32{"tc_ingress": netlink.HANDLE_MIN_INGRESS, "tc_egress": netlink.HANDLE_MIN_EGRESS} {
			err := netlink.FilterReplace(&netlink.BpfFilter{
				FilterAttrs:  netlink.FilterAttrs{LinkIndex: l.Attrs().Index, Parent: parent, Handle: 1, Protocol: unix.ETH_P_ALL, Priority: 1},
				Fd:           coll.Programs[prog].FD(),
				Name:         prog,
				DirectAction: true,
			})
			if err != nil {
				w.Fatal(err)
			}
		}
	}
}

// note tells programs that ask for it of an interface that they judge.
func (w *world) note(coll *ebpf.Collection, l netlink.Link) {
	w.Helper()
	if coll.Maps["ifaces"] == nil {
		return
	}
	index := uint32(l.Attrs().Index)
	iface := Iface{Ifindex: index}
	for i, c := range []byte(l.Attrs().Name) {
		iface.Name[i] = int8(c)
	}
	if err := coll.Maps["ifaces"].Put(index&0xffff, iface); err != nil {
		w.Fatal(err)
	}
}

// dial reports how a connection attempt from the current namespace ends.
func dial(network, addr string) error {
	c, err := net.DialTimeout(network, addr, 2*time.Second)
	if err == nil {
		c.Close()
	}
	return err
}

// ask sends a datagram and reports the error that comes back for it.
func ask(addr string) error {
	c, err := net.Dial("udp", addr)
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := c.Write([]byte("?")); err != nil {
		return err
	}
	c.SetReadDeadline(time.Now().Add(2 * time.Second))
	_, err = c.Read(make([]byte, 9))
	return err
}

func (w *world) expectRefused(what string, err error) {
	w.Helper()
	if !errors.Is(err, syscall.ECONNREFUSED) {
		w.Errorf("%s: %v, want connection refused", what, err)
	}
}

// A rejected packet's sender hears of it at once, whoever it is: ourselves, another host, one that we forward for.
func TestRejectTraffic(t *testing.T) {
	for _, c := range []struct {
		hook   string
		attach func(*world, *ebpf.Collection, ...string)
		from   func(*world) netns.NsHandle
		v4, v6 string
	}{
		{"fw_forward", (*world).protectOld, func(w *world) netns.NsHandle { return w.a }, "10.9.2.2", "[fd09:2::2]"},
		{"fw_forward", (*world).protect, func(w *world) netns.NsHandle { return w.a }, "10.9.2.2", "[fd09:2::2]"},
		{"fw_input", (*world).protect, func(w *world) netns.NsHandle { return w.a }, "10.9.1.1", "[fd09:1::1]"},
		{"fw_output", (*world).protect, func(w *world) netns.NsHandle { return w.router }, "10.9.2.2", "[fd09:2::2]"},
		{"fw_input", (*world).protect, func(w *world) netns.NsHandle { return w.router }, "127.0.0.1", "[::1]"},
		{"fw_output", (*world).protect, func(w *world) netns.NsHandle { return w.router }, "127.0.0.1", "[::1]"},
	} {
		t.Run(c.hook+" "+c.v4, func(t *testing.T) {
			w := newWorld(t)
			spec := classifier(t, "cfg_conntrack", "cfg_forwarding", "cfg_checksums")
			for _, p := range spec.Programs {
				p.Instructions = replace(p.Instructions, c.hook, refuseAll()...)
			}
			c.attach(w, load(t, spec), "lo", "r1", "r2")
			w.in(c.from(w), func() error { return nil })
			for _, host := range []string{c.v4, c.v6} {
				w.expectRefused("tcp "+host, dial("tcp", host+":80"))
				w.expectRefused("udp "+host, ask(host+":53"))
			}
		})
	}
}

// refuseAll rejects all TCP and UDP and drops ICMP errors: the answers get through only if they are not judged.
func refuseAll() []asm.Instruction {
	return []asm.Instruction{
		asm.Mov.Imm(asm.R0, 1),
		asm.JEq.Imm(asm.R1, 0, "done"),
		asm.LoadMem(asm.R2, asm.R1, int16(offsetOf("icmp_type")), asm.Half),
		asm.Mov.Imm(asm.R0, 2),
		asm.JEq.Imm(asm.R2, 1, "done"),
		asm.JEq.Imm(asm.R2, 3, "done"),
		asm.Mov.Imm(asm.R0, 1),
		asm.LoadMem(asm.R2, asm.R1, int16(offsetOf("dport")), asm.Word),
		asm.JGT.Imm(asm.R2, 0xffff, "done"),
		asm.Mov.Imm(asm.R0, reject),
		asm.Return().WithSymbol("done"),
	}
}

// offsetOf is where a member of fw_pkt lies.
func offsetOf(member string) uint32 {
	spec, err := LoadClassifier()
	if err != nil {
		return 0
	}
	var s *btf.Struct
	if err := spec.Types.TypeByName("fw_pkt", &s); err != nil {
		return 0
	}
	for _, m := range s.Members {
		if m.Name == member {
			return m.Offset.Bytes()
		}
	}
	return 0
}

func sysctl(name, value string) error {
	return os.WriteFile("/proc/sys/"+name, []byte(value), 0)
}

// shout sends a datagram of some size and waits for it to come back.
func shout(addr string, size int) error {
	c, err := net.Dial("udp", addr)
	if err != nil {
		return err
	}
	defer c.Close()
	b := make([]byte, size)
	if _, err := c.Write(b); err != nil {
		return err
	}
	c.SetReadDeadline(time.Now().Add(2 * time.Second))
	n, err := c.Read(b)
	if err == nil && n != size {
		err = fmt.Errorf("%d bytes of %d", n, size)
	}
	return err
}

// soon is when a packet within one host must have arrived.
func soon() time.Time { return time.Now().Add(300 * time.Millisecond) }
