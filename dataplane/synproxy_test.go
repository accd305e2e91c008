package dataplane

import (
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/bpfwall/bpfwall/packet"
	"github.com/bpfwall/bpfwall/ruleset"
)

// proxied has SYNs to port 80 answered with cookies, and lets in new connections to ports 80 and 81.
func proxied(ct *ruleset.Conntrack) *ruleset.Ruleset {
	proxy := allowPort(80)
	proxy.Name, proxy.Verdict = "proxy", ruleset.Verdict{}
	proxy.Statements = []ruleset.Statement{{SynProxy: &ruleset.SynProxy{}}}
	state := func(states uint64, v ruleset.VerdictKind) *ruleset.Rule {
		return &ruleset.Rule{Verdict: ruleset.Verdict{Kind: v},
			Matches: []ruleset.Match{{Field: ruleset.FieldState, Masked: []ruleset.Masked{{Value: states, Mask: states}}}}}
	}
	rs := inputRules(80, 81)
	in := rs.Chains[0]
	in.Rules = append([]*ruleset.Rule{state(ruleset.StateEstablished, ruleset.Accept), state(ruleset.StateInvalid, ruleset.Drop)}, in.Rules...)
	in.Rules = append(in.Rules, &ruleset.Rule{Name: "icmpv6", Verdict: ruleset.Verdict{Kind: ruleset.Accept},
		Matches: []ruleset.Match{{Field: ruleset.FieldProto, Ranges: []ruleset.Range{{From: 58, To: 58}}}}})
	rs.Chains = append(rs.Chains, &ruleset.Chain{Name: "guard", Hook: ruleset.HookPrerouting, Policy: ruleset.Accept, Rules: []*ruleset.Rule{proxy}})
	rs.Conntrack = ct
	return rs
}

// sysctl sets one of the host's settings of TCP.
func (w *world) sysctl(name, value string) {
	w.tb.Helper()
	w.in(w.host, func() error { return os.WriteFile("/proc/sys/net/ipv4/"+name, []byte(value), 0) })
}

// countBytes has the host take connections of both families to a port, and tell each how many bytes came. It returns the listeners'
// connections one by one.
func (w *world) countBytes(port int) <-chan *net.TCPConn {
	w.tb.Helper()
	conns := make(chan *net.TCPConn, 16)
	w.in(w.host, func() error {
		l, err := net.Listen("tcp", fmt.Sprintf(":%d", port))
		if err != nil {
			return err
		}
		w.tb.Cleanup(func() { _ = l.Close() })
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				conns <- c.(*net.TCPConn)
				go func() { n, _ := io.Copy(io.Discard, c); fmt.Fprint(c, n); _ = c.Close() }()
			}
		}()
		return nil
	})
	return conns
}

// connect makes a connection from the peer.
func (w *world) connect(addr string) (c *net.TCPConn, err error) {
	w.tb.Helper()
	w.in(w.peer, func() error {
		var d net.Conn
		if d, err = net.DialTimeout("tcp", addr, 5*time.Second); err == nil {
			c = d.(*net.TCPConn)
			w.tb.Cleanup(func() { _ = c.Close() })
		}
		return nil
	})
	return c, err
}

// transfer sends a megabyte and hears how much has come.
func transfer(c *net.TCPConn) error {
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := c.Write(make([]byte, 1<<20)); err != nil {
		return err
	}
	if err := c.CloseWrite(); err != nil {
		return err
	}
	said, err := io.ReadAll(c)
	if string(said) != "1048576" {
		return fmt.Errorf("%q came: %v", said, err)
	}
	return nil
}

// agreed is what the two ends have agreed on: options of TCP_INFO, and the window scale of one end as the other knows it.
func agreed(t *testing.T, c *net.TCPConn) (options, out, in uint8) {
	t.Helper()
	raw, err := c.SyscallConn()
	must(t, err)
	var info *unix.TCPInfo
	must(t, raw.Control(func(fd uintptr) { info, err = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO) }))
	must(t, err)
	scales := (*[8]byte)(unsafe.Pointer(info))[6] // tcpi_snd_wscale, tcpi_rcv_wscale: bit fields
	return info.Options & 7, scales >> 4, scales & 15
}

// flood sends segments from sources that nobody has. change makes each another one.
func (w *world) flood(n int, family ruleset.Family, flags string) {
	w.tb.Helper()
	l, err := packet.Parse(fmt.Sprintf("tcp 198.51.100.1:1024 -> %s:80 in veth0 flags %s", hostAddr, flags))
	if family == ruleset.FamilyIPv6 {
		l, err = packet.Parse("tcp [2001:db8::1]:1024 -> [fd09::1]:80 in veth0 flags " + flags)
	}
	must(w.tb, err)
	var mac net.HardwareAddr
	w.in(w.host, func() error {
		dev, err := netlink.LinkByName("veth0")
		if err == nil {
			mac = dev.Attrs().HardwareAddr
		}
		return err
	})
	w.in(w.peer, func() error {
		dev, err := netlink.LinkByName("veth0")
		if err != nil {
			return err
		}
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		for i := range n {
			l.SrcPort = 1024 + i%60000
			frame, err := packet.Frame(&l.Packet)
			if err != nil {
				return err
			}
			copy(frame, mac)
			if err := unix.Sendto(fd, frame, 0, &unix.SockaddrLinklayer{Ifindex: dev.Attrs().Index}); err != nil {
				return err
			}
		}
		return nil
	})
}

// halfOpen is how many connections the host's sockets have begun and not finished.
func (w *world) halfOpen() (n int) {
	w.tb.Helper()
	w.in(w.host, func() error {
		for _, name := range []string{"tcp", "tcp6"} {
			b, err := os.ReadFile("/proc/thread-self/net/" + name)
			if err != nil {
				return err
			}
			for line := range strings.Lines(string(b)) {
				if f := strings.Fields(line); len(f) > 3 && f[3] == "03" {
					n++
				}
			}
		}
		return nil
	})
	return n
}

// stat is one of the counters beside the rules.
func (w *world) stat(name string) uint64 {
	w.tb.Helper()
	s, err := w.open().Status()
	must(w.tb, err)
	return s.Stats[name]
}

// peerTakesXDP makes the peer's end of the veth one that takes what XDP of the host sends: it must have a program, too.
func (w *world) peerTakesXDP() {
	w.tb.Helper()
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type: ebpf.XDP, License: "GPL", Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 2), asm.Return()}, // XDP_PASS
	})
	must(w.tb, err)
	w.in(w.peer, func() error {
		dev, err := netlink.LinkByName("veth0")
		if err != nil {
			return err
		}
		l, err := link.AttachXDP(link.XDPOptions{Program: p, Interface: dev.Attrs().Index, Flags: link.XDPDriverMode})
		w.tb.Cleanup(func() { _ = l.Close(); _ = p.Close() })
		return err
	})
}

// TestSynProxy: connections of both families work through it, at tc and in XDP; a flood leaves neither flows nor half-open connections, and
// segments that answer no cookie get nowhere.
func TestSynProxy(t *testing.T) {
	for _, c := range []struct {
		name   string
		xdp    XDP
		stamps string
		ct     *ruleset.Conntrack
	}{
		{"tc", XDPOff, "2", nil}, {"XDP", XDPNative, "2", nil}, {"no options", XDPOff, "1", nil}, {"strict", XDPNative, "2", &ruleset.Conntrack{Strict: true}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.sysctl("tcp_syncookies", "2")
			w.sysctl("tcp_timestamps", c.stamps)
			conns := w.countBytes(80)
			if c.xdp == XDPNative {
				w.peerTakesXDP()
			}
			res := w.apply(proxied(c.ct), Options{XDP: c.xdp})
			if warned := slices.ContainsFunc(res.Warnings, func(s string) bool { return strings.Contains(s, "tcp_timestamps") }); warned != (c.stamps == "1") {
				t.Errorf("warnings %q", res.Warnings)
			}
			if inXDP := w.guard("veth0").Mode == Mode(xdpNative); inXDP != (c.xdp == XDPNative) {
				t.Errorf("in XDP: %t", inXDP)
			}
			for _, addr := range []string{hostAddr + ":80", "[fd09::1]:80"} {
				client, err := w.connect(addr)
				if err != nil {
					t.Fatalf("%s: %v", addr, err)
				}
				server := <-conns
				options, scaleOut, scaleIn := agreed(t, client)
				options2, scaleOut2, scaleIn2 := agreed(t, server)
				if options != options2 || scaleOut != scaleIn2 || scaleIn != scaleOut2 || (options != 0) != (c.stamps == "2") {
					t.Errorf("%s: the ends disagree: %x %d %d, %x %d %d", addr, options, scaleOut, scaleIn, options2, scaleOut2, scaleIn2)
				}
				if err := transfer(client); err != nil {
					t.Errorf("%s: %v", addr, err)
				}
			}
			if n := w.stat("syn-accepted"); n != 2 {
				t.Errorf("%d cookies answered", n)
			}
			flows := w.flows()
			w.flood(500, ruleset.FamilyIPv4, "syn")
			w.flood(500, ruleset.FamilyIPv6, "syn")
			w.flood(100, ruleset.FamilyIPv4, "ack")
			w.flood(100, ruleset.FamilyIPv6, "ack,psh")
			w.until("the flood is over", func() bool { return w.stat("syn-cookies") >= 1002 && w.stat("syn-refused") >= 200 })
			if n := w.flows(); n > flows {
				t.Errorf("%d flows, %d before", n, flows)
			}
			if n := w.halfOpen(); n != 0 {
				t.Errorf("%d half-open connections", n)
			}
		})
	}
}

// flows is how many there are.
func (w *world) flows() int {
	w.tb.Helper()
	s, err := w.open().Status()
	must(w.tb, err)
	return s.Flows
}

// until waits for something that is bound to happen.
func (w *world) until(what string, done func() bool) {
	w.tb.Helper()
	for deadline := time.Now().Add(20 * time.Second); !done(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			w.tb.Errorf("not in 20 s: %s", what)
			return
		}
	}
}

// TestSynProxyLeaves: ports without a rule or a listening socket, connections that were there before, and everything while the kernel
// makes no cookies, go their usual way.
func TestSynProxyLeaves(t *testing.T) {
	w := newWorld(t)
	w.sysctl("tcp_syncookies", "1")
	w.countBytes(81)
	before := w.countBytes(80)
	old, err := w.connect(hostAddr + ":80")
	must(t, err)
	<-before
	res := w.apply(proxied(nil), Options{})
	if !slices.ContainsFunc(res.Warnings, func(s string) bool { return strings.Contains(s, "tcp_syncookies is 1") }) {
		t.Errorf("warnings %q", res.Warnings)
	}
	if _, err := w.connect(hostAddr + ":80"); err != nil || w.stat("syn-cookies") != 0 {
		t.Errorf("without cookies: %v", err)
	}
	w.sysctl("tcp_syncookies", "2")
	if _, err := w.connect(hostAddr + ":81"); err != nil || w.stat("syn-cookies") != 0 {
		t.Errorf("a port without a rule: %v", err)
	}
	if err := transfer(old); err != nil {
		t.Errorf("the connection from before: %v", err)
	}
	if _, err := w.connect(hostAddr + ":80"); err != nil || w.stat("syn-cookies") != 1 {
		t.Errorf("with cookies: %v", err)
	}
}

// TestSynProxyOwnWindow: a socket whose buffer its program has chosen answers for itself, as its windows are scaled in its own way.
func TestSynProxyOwnWindow(t *testing.T) {
	w := newWorld(t)
	w.sysctl("tcp_syncookies", "2")
	w.sysctl("tcp_timestamps", "2")
	w.in(w.host, func() error {
		config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) (err error) {
			_ = c.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, 1<<15) })
			return err
		}}
		l, err := config.Listen(t.Context(), "tcp", ":80")
		if err == nil {
			t.Cleanup(func() { _ = l.Close() })
		}
		return err
	})
	w.apply(proxied(nil), Options{})
	if _, err := w.connect(hostAddr + ":80"); err != nil || w.stat("syn-cookies") != 0 {
		t.Errorf("%v, %d cookies", err, w.stat("syn-cookies"))
	}
}
