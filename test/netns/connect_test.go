package netns

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bpfwall/bpfwall/internal/lab"
)

// applyPolicy puts a policy in force in a namespace.
func applyPolicy(t *testing.T, n *lab.NS, text string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "policy.toml")
	if err := os.WriteFile(file, []byte("version = 1\n"+text), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := n.Bpfwall("apply", "--yes", file); err != nil {
		t.Fatal(out, err)
	}
}

// A connection that the rules are sure to refuse is refused at once, with the errno that the verdict asks for, and counted once; one
// that they are not sure of is judged at tc. Other network namespaces do not notice.
func TestConnectRefused(t *testing.T) {
	w := newWorld(t, lab.Options{})
	group := ownCgroup(t, "", "refused")
	far, far6 := lab.WAN.Far4.Addr(), lab.WAN.Far6.Addr()
	applyPolicy(t, w.DUT, `
[[outbound]]
name = "nobody"
drop = "any"
user = "4001"
[[outbound]]
name = "closed"
reject = "tcp/81"
unit = "nothing.service"
[[outbound]]
name = "reset"
reject = "tcp/82"
group = "5001"
[[outbound]]
name = "barred"
reject = "tcp/83"
with = "net-unreachable"
cgroup = "`+below(group)+`"
`)
	if out, err := w.DUT.Bpfwall("status"); err != nil || !strings.Contains(words(out), "connect() cgroup attached") {
		t.Fatalf("%s %v", out, err)
	}
	to := func(a netip.Addr, port uint16) string { return "connect " + netip.AddrPortFrom(a, port).String() }
	mapped := netip.AddrFrom16(far.As16())
	for _, c := range []struct{ want, steps string }{
		{"EPERM", "uid 4001; tcp4; " + to(far, 80)},
		{"EPERM", "uid 4001; tcp6; " + to(far6, 80)},
		{"EPERM", "uid 4001; tcp6; " + to(mapped, 80)},
		{"EPERM", "uid 4001; tcp4; uid 4001; " + to(far, 80)},
		{"ECONNREFUSED", "tcp4; uid 4001; " + to(far, 80)}, // opened by root; nobody listens there
		{"ECONNREFUSED", "uid 4001; tcp4; connect 127.0.0.1:80"},
		{"ECONNREFUSED", "uid 4001; tcp6; connect [::1]:80"},
		{"ECONNREFUSED", "uid 4001; tcp4; " + to(lab.WAN.DUT4.Addr(), 80)}, // stays on lo
		{"ECONNREFUSED", "gid 5001; tcp4; " + to(far, 82)},
		{"ENETUNREACH", "cgroup " + group + "; tcp4; " + to(far, 83)},
		{"ECONNREFUSED", "tcp4; " + to(far, 83)},
	} {
		said := play(t, w.DUT, strings.Split(c.steps, "; ")...)
		if got := said[strings.LastIndex(said, " ")+1:]; got != c.want {
			t.Errorf("%s: %q, want %s", c.steps, said, c.want)
		}
	}
	if said := play(t, w.Server, "uid 4001", "tcp4", to(far, 80)); !strings.HasSuffix(said, "ECONNREFUSED") {
		t.Errorf("another network namespace: %s", said)
	}
	for name, want := range map[string]uint64{"nobody": 4, "closed": 0, "reset": 1, "barred": 1} {
		if packets, bytes := counter(t, w.DUT, name); packets != want || bytes != 0 {
			t.Errorf("rule %s has counted %d packets, %d bytes; want %d, 0", name, packets, bytes, want)
		}
	}
}

// words is a table without its columns.
func words(text string) string { return strings.Join(strings.Fields(text), " ") }

// counter is what a rule has counted.
func counter(t *testing.T, n *lab.NS, name string) (packets, bytes uint64) {
	t.Helper()
	text, err := n.Bpfwall("show", "rules", "--json")
	if err != nil {
		t.Fatal(err)
	}
	var answer struct {
		Rules []struct {
			Name           string
			Packets, Bytes uint64
		}
	}
	if err := json.Unmarshal([]byte(text), &answer); err != nil {
		t.Fatal(err)
	}
	for _, r := range answer.Rules {
		if r.Name == name {
			return r.Packets, r.Bytes
		}
	}
	t.Fatalf("no rule %s", name)
	return 0, 0
}

// The rules for connect() know what stays on lo only as long as the routes do not change: an address that comes makes them leave
// everything to tc, until a refresh.
func TestConnectAsRoutesChange(t *testing.T) {
	w := newWorld(t, lab.Options{})
	applyPolicy(t, w.DUT, "[[outbound]]\nname = \"nobody\"\ndrop = \"any\"\nuser = \"4001\"\n")
	far := netip.AddrPortFrom(lab.WAN.Far4.Addr(), 80).String()
	refused := func() bool {
		said := play(t, w.DUT, "uid 4001", "tcp4", "nonblock", "connect "+far)
		if said != "" && !strings.HasSuffix(said, "EPERM") {
			t.Fatal(said)
		}
		return said != ""
	}
	status := func() string {
		out, err := w.DUT.Bpfwall("status")
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	if !refused() {
		t.Error("not refused")
	}
	for _, change := range [][]string{
		{"address", "add", "198.51.100.77/32", "dev", "wan0"}, {"-6", "address", "add", "2001:db8:2::77/128", "dev", "wan0", "nodad"}, {"route", "add", "203.0.113.0/24", "dev", "lan0"},
	} {
		if _, err := w.DUT.Run(nil, "ip", change...); err != nil {
			t.Fatal(err)
		}
		if refused() || !strings.Contains(status(), "routes have changed") {
			t.Errorf("after ip %v: refused all the same\n%s", change, status())
		}
		if said := play(t, w.DUT, "uid 4001", "tcp4", "connect 198.51.100.77:80"); !strings.HasSuffix(said, "ECONNREFUSED") {
			t.Errorf("after ip %v: to the new address: %s", change, said)
		}
		if out, err := w.DUT.Bpfwall("refresh"); err != nil {
			t.Fatal(out, err)
		}
		if !refused() {
			t.Errorf("after ip %v and a refresh: not refused\n%s", change, status())
		}
	}
	if _, err := w.DUT.Run(nil, "ip", "rule", "add", "fwmark", "7", "lookup", "100"); err != nil {
		t.Fatal(err)
	}
	if out, err := w.DUT.Bpfwall("refresh"); err != nil || refused() {
		t.Errorf("with policy routing: refused all the same\n%s%v", out, err)
	}
}

// One store changes tc and connect(): a process that connects all the time, once where the rules refuse early and once where they have to
// see the packet, never finds one of the two ahead of the other, in whichever way generations change.
func TestConnectFlips(t *testing.T) {
	w := newWorld(t, lab.Options{})
	early, late := netip.AddrPortFrom(lab.WAN.Far4.Addr(), 81), netip.AddrPortFrom(lab.WAN.Far4.Addr(), 83)
	for _, at := range []netip.AddrPort{early, late} {
		serveOn(t, w.Server, at, func(c net.Conn) { c.Close() })
	}
	closed := "[[outbound]]\nreject = \"tcp/81\"\nuser = \"4001\"\n[[outbound]]\nreject = \"tcp/83\"\nttl = \"1-255\"\nuser = \"4001\"\n"
	open := "[[outbound]]\ndrop = \"tcp/1\"\nuser = \"4001\"\n"
	applyPolicy(t, w.DUT, closed)
	cmd := actorCommand(t, "uid 4001", "canary "+early.String()+" "+late.String())
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	cmd.Stdout = &said
	if err := w.DUT.Start(cmd); err != nil {
		t.Fatal(err)
	}
	for i := range 4 {
		applyPolicy(t, w.DUT, []string{open, closed}[i%2])
	}
	for range 3 {
		if out, err := w.DUT.Bpfwall("rollback"); err != nil {
			t.Fatal(out, err)
		}
		time.Sleep(300 * time.Millisecond)
	}
	in.Close()
	_ = cmd.Wait()
	var rounds, changes, torn int // there were 7 changes; a process that had to wait misses some
	if _, err := fmt.Sscan(said.String(), &rounds, &changes, &torn); err != nil || changes%2 != 1 || changes < 3 || torn > 0 || rounds < 100 {
		t.Errorf("%s %v", said.String(), err)
	}
	t.Logf("%d rounds, %d changes of generation seen, %d times one hook was ahead", rounds, changes, torn)
}

// Where connections cannot be refused early, status says why, and tc drops their packets all the same.
func TestConnectLeftToTC(t *testing.T) {
	w := newWorld(t, lab.Options{})
	if _, err := w.DUT.Run(strings.NewReader("table ip nat { chain post { type nat hook postrouting priority 100; oifname \"wan0\" masquerade; }; }"), "nft", "-f", "-"); err != nil {
		t.Fatal(err)
	}
	applyPolicy(t, w.DUT, "[[outbound]]\nname = \"nobody\"\ndrop = \"any\"\nuser = \"4001\"\n")
	if out, err := w.DUT.Bpfwall("status"); err != nil || !strings.Contains(out, "left to tc: the kernel translates addresses") {
		t.Errorf("%s %v", out, err)
	}
	said := play(t, w.DUT, "uid 4001", "tcp4", "nonblock", "connect "+netip.AddrPortFrom(lab.WAN.Far4.Addr(), 80).String(), "sleep 50")
	if packets, bytes := counter(t, w.DUT, "nobody"); said != "" || packets == 0 || bytes == 0 {
		t.Errorf("%q, %d packets, %d bytes", said, packets, bytes)
	}
	applyPolicy(t, w.DUT, "[[outbound]]\nname = \"nobody\"\ndrop = \"any\"\nuser = \"4001\"\nsport = \"1-65535\"\n")
	if out, err := w.DUT.Bpfwall("status"); err != nil || !strings.Contains(out, "left to tc: no rule is sure") {
		t.Errorf("%s %v", out, err)
	}
}

// A datagram of a socket that is not connected is refused as connect() is, unless it may belong to a flow that conntrack knows: an answer
// to somebody who asked is judged by tc, whatever address the socket is bound to.
func TestSendRefused(t *testing.T) {
	w := newWorld(t, lab.Options{})
	far, far6, us := lab.WAN.Far4.Addr(), lab.WAN.Far6.Addr(), lab.WAN.DUT4.Addr()
	mapped := netip.AddrFrom16(far.As16())
	applyPolicy(t, w.DUT, `
[[inbound]]
allow = "udp/5000-5999"
[[outbound]]
name = "nobody"
drop = "any"
user = "4001"
[[outbound]]
name = "told"
reject = "udp/54"
user = "4002"
with = "admin-prohibited"
`)
	if out, err := w.DUT.Bpfwall("status"); err != nil || !strings.Contains(words(out), "sendto() cgroup attached") {
		t.Fatalf("%s %v", out, err)
	}
	to := func(a netip.Addr, port uint16) string { return "sendto " + netip.AddrPortFrom(a, port).String() }
	for _, c := range []struct{ want, steps string }{
		{"EPERM", "uid 4001; udp4; " + to(far, 53)},
		{"EPERM", "uid 4001; udp6; " + to(far6, 53)},
		{"EPERM", "uid 4001; udp6; " + to(mapped, 53)},
		{"EPERM", "uid 4001; udp4; bind " + netip.AddrPortFrom(us, 5001).String() + "; " + to(far, 53)},
		{"EHOSTUNREACH", "uid 4002; udp4; " + to(far, 54)},
		{"EACCES", "uid 4002; udp6; " + to(far6, 54)},
		{"", "uid 4002; udp4; " + to(far, 55)},
		{"", "udp4; " + to(far, 53)},
		{"", "uid 4001; udp4; sendto 127.0.0.1:53"},
	} {
		said := play(t, w.DUT, strings.Split(c.steps, "; ")...)
		if got := said[strings.LastIndex(said, " ")+1:]; got != c.want {
			t.Errorf("%s: %q, want %q", c.steps, said, c.want)
		}
	}
	if packets, bytes := counter(t, w.DUT, "nobody"); packets != 4 || bytes != 0 {
		t.Errorf("counted %d packets, %d bytes", packets, bytes)
	}
	for i, bound := range []netip.Addr{us, netip.IPv4Unspecified(), netip.IPv6Unspecified()} {
		answer(t, w, netip.AddrPortFrom(bound, uint16(5100+i)), us)
	}
}

// answer has a user who may send nothing answer a datagram from outside: that is of a flow that was let in.
func answer(t *testing.T, w *lab.World, bound netip.AddrPort, us netip.Addr) {
	t.Helper()
	kind := map[bool]string{true: "udp4", false: "udp6"}[bound.Addr().Is4()]
	cmd := actorCommand(t, "uid 4001", kind, "bind "+bound.String(), "say ready", "answer", "say answered")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := w.DUT.Start(cmd); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(out)
	if line, err := r.ReadString('\n'); line != "ready\n" {
		t.Fatal(line, err)
	}
	c, err := w.Server.Dial("udp", netip.AddrPortFrom(us, bound.Port()), time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, _ = c.Write([]byte("ask"))
	_ = c.SetReadDeadline(time.Now().Add(2 * time.Second))
	if n, err := c.Read(make([]byte, 9)); n != 3 {
		t.Errorf("bound to %s: no answer: %v", bound, err)
	}
	if line, _ := r.ReadString('\n'); line != "answered\n" {
		t.Errorf("bound to %s: %s", bound, line)
	}
	_ = cmd.Wait()
}
