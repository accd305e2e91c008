package netns

import (
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/bpfwall/bpfwall/internal/lab"
)

// engines are the firewalls that the tests of this file run with: the one under test, and the one that says what is right.
var engines = []struct {
	name  string
	apply func(n *lab.NS, files []string) error
}{{"iptables", applyIptables}, {"bpfwall", applyBpfwall}}

// rules makes an IPv4 and an IPv6 file of lines that both have; "v4 " and "v6 " in front make a line that one has.
func rules(t *testing.T, lines ...string) []string {
	t.Helper()
	dir := t.TempDir()
	var out []string
	for _, family := range []string{"v4", "v6"} {
		text := "*filter\n"
		for _, l := range lines {
			if only, rest, ok := strings.Cut(l, " "); ok && (only == "v4" || only == "v6") {
				if only != family {
					continue
				}
				l = rest
			}
			if family == "v6" {
				l = strings.NewReplacer("-p icmp ", "-p ipv6-icmp ").Replace(l)
			}
			text += l + "\n"
		}
		path := filepath.Join(dir, "rules."+family)
		if err := os.WriteFile(path, []byte(text+"COMMIT\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		out = append(out, path)
	}
	return out
}

// stateful is a policy that lets the client out and nothing in.
func stateful(t *testing.T) []string {
	return rules(t, ":INPUT DROP [0:0]", ":FORWARD DROP [0:0]", ":OUTPUT DROP [0:0]",
		"-A INPUT -i lo -j ACCEPT", "-A OUTPUT -o lo -j ACCEPT",
		"-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT", "-A INPUT -m conntrack --ctstate INVALID -j DROP",
		"v6 -A INPUT -p icmp -m icmp6 --icmpv6-type 135 -j ACCEPT", "v6 -A INPUT -p icmp -m icmp6 --icmpv6-type 136 -j ACCEPT",
		"v6 -A OUTPUT -p icmp -m icmp6 --icmpv6-type 135 -j ACCEPT", "v6 -A OUTPUT -p icmp -m icmp6 --icmpv6-type 136 -j ACCEPT",
		"-A OUTPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
		"-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT", "-A FORWARD -m conntrack --ctstate INVALID -j DROP",
		"-A FORWARD -i lan0 -o wan0 -j ACCEPT")
}

// forEngines runs a test in a world of its own for each engine.
func forEngines(t *testing.T, o lab.Options, f func(t *testing.T, w *lab.World, apply func(files []string))) {
	t.Helper()
	for _, e := range engines {
		t.Run(e.name, func(t *testing.T) {
			w := newWorld(t, o)
			f(t, w, func(files []string) {
				t.Helper()
				if err := e.apply(w.DUT, files); err != nil {
					t.Fatal(err)
				}
			})
		})
	}
}

// families are the server's, the client's and the dut's addresses.
var families = []struct {
	name                     string
	client, server, lan, wan netip.Addr
}{
	{"ipv4", lab.LAN.Far4.Addr(), lab.WAN.Far4.Addr(), lab.LAN.DUT4.Addr(), lab.WAN.DUT4.Addr()},
	{"ipv6", lab.LAN.Far6.Addr(), lab.WAN.Far6.Addr(), lab.LAN.DUT6.Addr(), lab.WAN.DUT6.Addr()},
}

const short = 300 * time.Millisecond

func TestStatefulRouter(t *testing.T) {
	forEngines(t, lab.Options{}, func(t *testing.T, w *lab.World, apply func([]string)) {
		apply(stateful(t))
		for _, f := range families {
			serve(t, w.Server, f.server, 80)
			serve(t, w.Client, f.client, 80)
			serve(t, w.DUT, f.lan, 80)
			if err := exchange(w.Client, f.server, 80); err != nil {
				t.Errorf("%s: client to server: %v", f.name, err)
			}
			if err := exchange(w.Server, f.client, 80); err == nil {
				t.Errorf("%s: server to client: connected", f.name)
			}
			if err := exchange(w.Client, f.lan, 80); err == nil {
				t.Errorf("%s: client to dut: connected", f.name)
			}
			for _, size := range []int{56, 1400, 4000} {
				if err := w.Client.Ping(f.server, size, time.Second); err != nil {
					t.Errorf("%s: %d bytes: %v", f.name, size, err)
				}
			}
			if err := w.Server.Ping(f.client, 56, short); err == nil {
				t.Errorf("%s: server pings client", f.name)
			}
			for _, size := range []int{100, 8000} {
				if err := askUDP(t, w.Client, w.Server, netip.AddrPortFrom(f.server, 53), size); err != nil {
					t.Errorf("%s: UDP, %d bytes: %v", f.name, size, err)
				}
			}
			if err := askUDP(t, w.Server, w.Client, netip.AddrPortFrom(f.client, 53), 100); err == nil {
				t.Errorf("%s: UDP from server to client", f.name)
			}
		}
	})
}

// serve answers every line on a port with itself.
func serve(t *testing.T, n *lab.NS, at netip.Addr, port uint16) {
	t.Helper()
	l, err := n.Serve(netip.AddrPortFrom(at, port), func(c net.Conn) { _, _ = io.Copy(c, c); c.Close() })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
}

// exchange connects, says something and waits to hear it back.
func exchange(n *lab.NS, to netip.Addr, port uint16) error {
	c, err := n.Dial("tcp", netip.AddrPortFrom(to, port), short)
	if err != nil {
		return err
	}
	defer c.Close()
	return say(c)
}

func say(c net.Conn) error {
	if err := c.SetDeadline(time.Now().Add(2 * time.Second)); err != nil {
		return err
	}
	if _, err := c.Write([]byte("hello")); err != nil {
		return err
	}
	_, err := io.ReadFull(c, make([]byte, 5))
	return err
}

// askUDP sends a datagram to an echo server and waits for the answer.
func askUDP(t *testing.T, from, to *lab.NS, at netip.AddrPort, size int) error {
	t.Helper()
	server, err := to.Echo(at)
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	c, err := from.Dial("udp", at, short)
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := c.Write(make([]byte, size)); err != nil {
		return err
	}
	if err := c.SetReadDeadline(time.Now().Add(short)); err != nil {
		return err
	}
	n, err := c.Read(make([]byte, size+1))
	if err == nil && n != size {
		return fmt.Errorf("%d bytes came back, %d were sent", n, size)
	}
	return err
}

// TestEstablishedSurvivesSwap: a connection lives on under rules that would not let it begin.
func TestEstablishedSurvivesSwap(t *testing.T) {
	forEngines(t, lab.Options{}, func(t *testing.T, w *lab.World, apply func([]string)) {
		apply(stateful(t))
		var conns []net.Conn
		for _, f := range families {
			serve(t, w.Server, f.server, 80)
			c, err := w.Client.Dial("tcp", netip.AddrPortFrom(f.server, 80), short)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			conns = append(conns, c)
			if err := say(c); err != nil {
				t.Fatal(err)
			}
		}
		apply(rules(t, ":INPUT DROP [0:0]", ":FORWARD DROP [0:0]", ":OUTPUT ACCEPT [0:0]", "-A FORWARD -m conntrack --ctstate ESTABLISHED -j ACCEPT"))
		for i, f := range families {
			if err := say(conns[i]); err != nil {
				t.Errorf("%s: %v", f.name, err)
			}
			if err := exchange(w.Client, f.server, 80); err == nil {
				t.Errorf("%s: a new connection under rules that forbid it", f.name)
			}
		}
	})
}

// rejects are the answers that REJECT can give.
var rejects = []struct{ with4, with6 string }{
	{"tcp-reset", "tcp-reset"},
	{"icmp-port-unreachable", "icmp6-port-unreachable"},
	{"icmp-host-unreachable", "icmp6-addr-unreachable"},
	{"icmp-net-unreachable", "icmp6-no-route"},
	{"icmp-proto-unreachable", "icmp6-policy-fail"},
	{"icmp-net-prohibited", "icmp6-reject-route"},
	{"icmp-host-prohibited", "icmp6-policy-fail"},
	{"icmp-admin-prohibited", "icmp6-adm-prohibited"},
}

// TestRejectSeenBySockets: connect fails with the same error as under iptables, whichever hook rejects.
func TestRejectSeenBySockets(t *testing.T) {
	var lines []string
	for _, chain := range []string{"INPUT", "FORWARD", "OUTPUT"} {
		for i, r := range rejects {
			lines = append(lines, fmt.Sprintf("v4 -A %s -p tcp -m tcp --dport %d -j REJECT --reject-with %s", chain, 8000+i, r.with4),
				fmt.Sprintf("v6 -A %s -p tcp -m tcp --dport %d -j REJECT --reject-with %s", chain, 8000+i, r.with6))
		}
	}
	results := map[string]map[string]string{}
	for _, e := range engines {
		t.Run(e.name, func(t *testing.T) {
			w := newWorld(t, lab.Options{})
			if err := e.apply(w.DUT, rules(t, append([]string{":INPUT ACCEPT [0:0]", ":FORWARD ACCEPT [0:0]", ":OUTPUT ACCEPT [0:0]"}, lines...)...)); err != nil {
				t.Fatal(err)
			}
			results[e.name] = refusals(w)
		})
	}
	for what, want := range results["iptables"] {
		if got, ok := results["bpfwall"][what]; ok && got != want {
			t.Errorf("%s: got %q, iptables gives %q", what, got, want)
		}
	}
}

// refusals tries to connect in every way at once and tells how each fails.
func refusals(w *lab.World) map[string]string {
	type answer struct{ what, how string }
	answers := make(chan answer)
	n := 0
	for i, r := range rejects {
		for _, f := range families {
			kind := r.with4
			if f.name == "ipv6" {
				kind = r.with6
			}
			for _, way := range []struct {
				name string
				from *lab.NS
				to   netip.Addr
			}{{"input", w.Client, f.lan}, {"forward", w.Client, f.server}, {"output", w.DUT, f.server}} {
				n++
				go func() {
					answers <- answer{fmt.Sprintf("%s %s %s", f.name, way.name, kind), refusal(way.from, netip.AddrPortFrom(way.to, uint16(8000+i)))}
				}()
			}
		}
	}
	out := map[string]string{}
	for range n {
		a := <-answers
		out[a.what] = a.how
	}
	return out
}

// refusal is how a connection attempt fails. An ICMP error that comes while connect(2) still holds the socket, as it does where a
// packet travels in its sender's own system call, only counts when the SYN is sent again, after a second.
func refusal(from *lab.NS, to netip.AddrPort) string {
	c, err := from.Dial("tcp", to, 1500*time.Millisecond)
	if err == nil {
		c.Close()
		return "connected"
	}
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno.Error()
	}
	return "nothing came back"
}

// TestLimit: a burst passes, then what the rate allows.
func TestLimit(t *testing.T) {
	forEngines(t, lab.Options{}, func(t *testing.T, w *lab.World, apply func([]string)) {
		if err := w.Server.CountPorts("prerouting", 1001, 1002); err != nil {
			t.Fatal(err)
		}
		apply(rules(t, ":FORWARD DROP [0:0]", "-A FORWARD -p udp -m udp --dport 1001 -m limit --limit 1/hour --limit-burst 7 -j ACCEPT",
			"-A FORWARD -p udp -m udp --dport 1002 -m limit --limit 20/second --limit-burst 3 -j ACCEPT"))
		begin := time.Now()
		for range 60 {
			for _, f := range families {
				for _, port := range []uint16{1001, 1002} {
					c, err := w.Client.Dial("udp", netip.AddrPortFrom(f.server, port), short)
					if err != nil {
						t.Fatal(err)
					}
					_, _ = c.Write([]byte("x"))
					c.Close()
				}
			}
			time.Sleep(10 * time.Millisecond)
		}
		took := time.Since(begin).Seconds()
		counts, err := w.Server.PortCounts()
		if err != nil {
			t.Fatal(err)
		}
		if got := counts[1001]; got != 2*7 {
			t.Errorf("burst 7: %d packets of both families passed, want 14", got)
		}
		want := 2 * (3 + 20*took)
		if got := float64(counts[1002]); got < want*0.8 || got > want*1.2 {
			t.Errorf("20/second for %.2f s after a burst of 3: %.0f packets of both families passed, want about %.0f", took, got, want)
		}
	})
}

// TestPathMTU: a transfer gets through a narrow link behind the router; the dut's own ICMP errors say how wide it is.
func TestPathMTU(t *testing.T) {
	forEngines(t, lab.Options{MTU: 1280}, func(t *testing.T, w *lab.World, apply func([]string)) {
		apply(stateful(t))
		for _, f := range families {
			if err := bulk(t, w.Client, w.Server, netip.AddrPortFrom(f.server, 7000), 5<<20); err != nil {
				t.Errorf("%s: %v", f.name, err)
			}
		}
	})
}

// TestBulk: large transfers with and without offloads.
func TestBulk(t *testing.T) {
	for _, offloads := range []bool{false, true} {
		t.Run(fmt.Sprintf("offloads=%v", offloads), func(t *testing.T) {
			forEngines(t, lab.Options{Offloads: offloads}, func(t *testing.T, w *lab.World, apply func([]string)) {
				apply(stateful(t))
				for _, f := range families {
					if err := bulk(t, w.Client, w.Server, netip.AddrPortFrom(f.server, 7000), 64<<20); err != nil {
						t.Errorf("%s: %v", f.name, err)
					}
				}
			})
		})
	}
}

// bulk sends size random bytes and compares what arrives.
func bulk(t *testing.T, from, to *lab.NS, at netip.AddrPort, size int64) error {
	t.Helper()
	got := make(chan sum, 1)
	l, err := to.Serve(at, func(c net.Conn) {
		h := sha256.New()
		n, err := io.Copy(h, c)
		c.Close()
		got <- sum{[sha256.Size]byte(h.Sum(nil)), n, err}
	})
	if err != nil {
		return err
	}
	defer l.Close()
	c, err := from.Dial("tcp", at, time.Second)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		return err
	}
	begin := time.Now()
	block := make([]byte, 1<<20)
	_, _ = rand.Read(block)
	h := sha256.New()
	for n := int64(0); n < size; n += int64(len(block)) {
		if _, err := io.MultiWriter(c, h).Write(block); err != nil {
			return fmt.Errorf("after %d bytes: %w", n, err)
		}
	}
	c.Close()
	s := <-got
	if s.err != nil {
		return s.err
	}
	if want := [sha256.Size]byte(h.Sum(nil)); s.hash != want || s.n != size {
		return fmt.Errorf("%d bytes sent, %d arrived, or other ones", size, s.n)
	}
	t.Logf("%s: %d MB at %.0f Mbit/s", at, size>>20, float64(size)*8e-6/time.Since(begin).Seconds())
	return nil
}
