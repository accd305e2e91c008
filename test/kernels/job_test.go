package main

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/bpfwall/bpfwall/internal/lab"
)

// patience is more than any kernel takes, on emulated hardware too; a refused connection takes as long as what is dropped.
const patience, refused = 10 * time.Second, time.Second

// routerRules are what a small office's router has: state, a limit, a log, a reject, and user chains.
const routerRules = `*filter
:INPUT DROP [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
:WEB - [0:0]
-A INPUT -i lo -j ACCEPT
-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A INPUT -m conntrack --ctstate INVALID -j DROP
-A INPUT -p tcp -m tcp --dport 22 --syn -m comment --comment "ssh" -j ACCEPT
-A INPUT -p udp -m udp --dport 53 -j ACCEPT
-A INPUT -p icmp -m icmp --icmp-type 8 -m limit --limit 100/second -j ACCEPT
-A INPUT -p tcp -m tcp --dport 113 -j REJECT --reject-with tcp-reset
-A INPUT -m limit --limit 5/second -j LOG --log-prefix "input "
-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -i lan0 -o wan0 -p tcp -m multiport --dports 80,443 -g WEB
-A FORWARD -i lan0 -o wan0 -p udp -m udp --dport 53 -j ACCEPT
-A WEB -s 192.0.2.0/24 -j ACCEPT
-A WEB -j DROP
COMMIT
`

// closedRules let go on what has begun.
const closedRules = `*filter
:INPUT DROP [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT
-A FORWARD -m conntrack --ctstate ESTABLISHED -j ACCEPT
COMMIT
`

// guardRules drop before connections are tracked.
const guardRules = `*raw
:PREROUTING ACCEPT [0:0]
-A PREROUTING -i lan0 -p udp -m udp --dport 53 -j DROP
-A PREROUTING -s 203.0.113.0/24 -j DROP
COMMIT
`

// countedRules remember packets.
const countedRules = `*filter
:INPUT ACCEPT [0:0]
-A INPUT -p tcp -m tcp --dport 22 --syn -m recent --name seen --rcheck --seconds 60 --hitcount 3 -j DROP
-A INPUT -p tcp -m tcp --dport 22 --syn -m recent --name seen --set -j ACCEPT
-A INPUT -p udp -m udp --dport 53 -m hashlimit --hashlimit-upto 1/minute --hashlimit-burst 2 --hashlimit-mode srcip --hashlimit-name asked -j ACCEPT
-A INPUT -p udp -m udp --dport 53 -j DROP
COMMIT
`

// router is a router between a client and a server, and what is asked of it.
type router struct {
	*testing.T
	w *lab.World
}

// TestJob is what a firewall is for, by the command line: a file of iptables-save is put in force; traffic passes or not, to the host and
// through it; connections are tracked; counters count; rules are swapped, and rolled back, under an open connection; nothing stays behind.
func TestJob(t *testing.T) {
	j := newRouter(t)
	office, closed := j.file("router.v4", routerRules), j.file("closed.v4", closedRules)

	j.bpfwall("apply", "--yes", office)
	j.traffic()
	open := j.connect(j.w.Client, lab.WAN.Far4.Addr(), 80)
	j.shows("192.0.2.10", "show", "flows", "tcp")
	j.shows("port 22", "show", "rules")

	j.bpfwall("apply", "--yes", closed)
	j.says(open)
	j.refused(j.w.Client, lab.WAN.Far4.Addr(), 80)
	j.bpfwall("rollback")
	j.says(open)
	j.connect(j.w.Client, lab.WAN.Far4.Addr(), 443).Close()

	fmt.Println(j.bpfwall("status"))
	j.bpfwall("disable", "--yes")
	j.connect(j.w.Server, lab.LAN.Far4.Addr(), 8080).Close()
}

// TestGuard: what is dropped before connections are tracked is dropped in XDP, if the interface is told so.
func TestGuard(t *testing.T) {
	j := newRouter(t)
	at := lab.LAN.DUT4.Addr()
	j.bpfwall("apply", "--yes", "--xdp", "native", j.file("guard.v4", guardRules))
	status := strings.Join(strings.Fields(j.bpfwall("status")), " ")
	if !strings.Contains(status, "lan0 guard xdp attached") {
		j.Errorf("not in XDP: %s", status)
	}
	if err := j.ask(j.w.Client, at); err == nil {
		j.Error("UDP: answered")
	}
	j.connect(j.w.Client, at, 22).Close()
	if out := j.bpfwall("show", "rules"); !regexp.MustCompile(`(?m)^ *1 .* port 53`).MatchString(out) {
		j.Errorf("the rule has not counted 1:\n%s", out)
	}
	j.bpfwall("disable", "--yes")
}

// TestCounted: rules that remember addresses and rates by source.
func TestCounted(t *testing.T) {
	j := newRouter(t)
	at := lab.LAN.DUT4.Addr()
	j.bpfwall("apply", "--yes", j.file("counted.v4", countedRules))
	for range 2 {
		if err := j.ask(j.w.Client, at); err != nil {
			j.Errorf("UDP within the rate: %v", err)
		}
	}
	if err := j.ask(j.w.Client, at); err == nil {
		j.Error("UDP beyond the rate: answered")
	}
	for range 3 {
		j.connect(j.w.Client, at, 22).Close()
	}
	j.refused(j.w.Client, at, 22)
	j.bpfwall("disable", "--yes")
}

// newRouter is one between hosts that answer.
func newRouter(t *testing.T) router {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root to make network namespaces")
	}
	w, err := lab.New(lab.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	j := router{t, w}
	j.serve()
	return j
}

// serve has everybody answer.
func (j router) serve() {
	for _, s := range []struct {
		n     *lab.NS
		at    netip.Addr
		ports []uint16
	}{
		{j.w.Server, lab.WAN.Far4.Addr(), []uint16{80, 443, 25}},
		{j.w.Client, lab.LAN.Far4.Addr(), []uint16{8080}},
		{j.w.DUT, lab.LAN.DUT4.Addr(), []uint16{22, 23, 113}},
	} {
		for _, port := range s.ports {
			l, err := s.n.Serve(netip.AddrPortFrom(s.at, port), func(c net.Conn) { _, _ = io.Copy(c, c); c.Close() })
			if err != nil {
				j.Fatal(err)
			}
			j.Cleanup(func() { l.Close() })
		}
		if _, err := s.n.Echo(netip.AddrPortFrom(s.at, 53)); err != nil {
			j.Fatal(err)
		}
	}
}

// traffic tries what the router's rules let pass, and what they do not.
func (j router) traffic() {
	client, server, dut, outside := j.w.Client, lab.WAN.Far4.Addr(), lab.LAN.DUT4.Addr(), j.w.Server
	j.connect(client, server, 80).Close()
	j.connect(client, server, 443).Close()
	j.connect(client, dut, 22).Close()
	j.refused(client, server, 25)
	j.refused(client, dut, 23)
	j.refused(outside, lab.LAN.Far4.Addr(), 8080)
	j.refused(outside, lab.LAN.DUT4.Addr(), 23)
	began := time.Now()
	if c, err := client.Dial("tcp", netip.AddrPortFrom(dut, 113), patience); err == nil || time.Since(began) > patience/2 {
		j.Errorf("port 113 was not reset: %v %v", c, err)
	}
	for _, at := range []netip.Addr{server, dut} {
		if err := j.ask(client, at); err != nil {
			j.Errorf("UDP to %s: %v", at, err)
		}
	}
	if err := client.Ping(dut, 56, patience); err != nil {
		j.Errorf("ping of the router: %v", err)
	}
	if err := client.Ping(server, 56, refused); err == nil {
		j.Error("ping through the router: answered")
	}
	if err := j.ask(outside, lab.LAN.Far4.Addr()); err == nil {
		j.Error("UDP from outside: answered")
	}
}

func (j router) connect(from *lab.NS, to netip.Addr, port uint16) net.Conn {
	j.Helper()
	c, err := from.Dial("tcp", netip.AddrPortFrom(to, port), patience)
	if err != nil {
		j.Fatalf("%s port %d: %v", to, port, err)
	}
	j.Cleanup(func() { c.Close() })
	j.says(c)
	return c
}

// says sends something, and waits to hear it back.
func (j router) says(c net.Conn) {
	j.Helper()
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		j.Fatal(err)
	}
	if _, err := c.Write([]byte("hello")); err != nil {
		j.Errorf("%s: %v", c.RemoteAddr(), err)
		return
	}
	if _, err := io.ReadFull(c, make([]byte, 5)); err != nil {
		j.Errorf("%s: %v", c.RemoteAddr(), err)
	}
}

func (j router) refused(from *lab.NS, to netip.Addr, port uint16) {
	j.Helper()
	if c, err := from.Dial("tcp", netip.AddrPortFrom(to, port), refused); err == nil {
		c.Close()
		j.Errorf("%s port %d: connected", to, port)
	}
}

func (j router) ask(from *lab.NS, to netip.Addr) error {
	c, err := from.Dial("udp", netip.AddrPortFrom(to, 53), refused)
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := c.Write([]byte("who?")); err != nil {
		return err
	}
	if err := c.SetReadDeadline(time.Now().Add(refused)); err != nil {
		return err
	}
	_, err = c.Read(make([]byte, 10))
	return err
}

func (j router) file(name, text string) string {
	path := filepath.Join(j.TempDir(), name)
	if err := os.WriteFile(path, []byte("# Generated by iptables-save v1.8.9\n"+text), 0o600); err != nil {
		j.Fatal(err)
	}
	return path
}

func (j router) bpfwall(args ...string) string {
	j.Helper()
	began := time.Now()
	out, err := j.w.DUT.Bpfwall(args...)
	if err != nil {
		j.Fatal(err)
	}
	j.Logf("%s: %.1f s", strings.Join(args, " "), time.Since(began).Seconds())
	return out
}

func (j router) shows(want string, args ...string) {
	j.Helper()
	if out := j.bpfwall(args...); !strings.Contains(out, want) {
		j.Errorf("%s: no %q in\n%s", strings.Join(args, " "), want, out)
	}
}
