package netns

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bpfwall/bpfwall/internal/lab"
)

var hookFlips = flag.Int("hook-flips", 12, "flips of TestFlipsAcrossHooks")

// applyXDP puts a policy in force with the guard in XDP.
func applyXDP(t *testing.T, n *lab.NS, text string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "policy.toml")
	if err := os.WriteFile(file, []byte("version = 1\n"+text), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := n.Bpfwall("apply", "--yes", "--xdp", "native", file); err != nil {
		t.Fatal(out, err)
	}
}

// One policy with rules for every hook: the guard in XDP, inbound, outbound and forward at tc, users and control groups at connect() and sendmsg(). Processes of two
// users in two control groups meet each of them.
func TestEveryHook(t *testing.T) {
	w := newWorld(t, lab.Options{})
	groups := [2]string{ownCgroup(t, "", "one"), ownCgroup(t, "", "two")}
	us, far := lab.WAN.DUT4.Addr(), lab.WAN.Far4.Addr()
	startServer(t, w.DUT, "uid 4001", "tcp4", "listen "+netip.AddrPortFrom(us, 8001).String())
	startServer(t, w.DUT, "uid 4002", "tcp4", "listen "+netip.AddrPortFrom(us, 8002).String())
	startServer(t, w.DUT, "udp4", "bind "+netip.AddrPortFrom(us, 9).String())
	startServer(t, w.DUT, "udp4", "bind "+netip.AddrPortFrom(us, 10).String())
	for _, port := range []uint16{80, 81, 83} {
		serve(t, w.Server, far, port)
	}
	applyXDP(t, w.DUT, fmt.Sprintf(`
[[guard]]
name = "guarded"
drop = "udp/9"
[[inbound]]
name = "to-user"
allow = "tcp/8000-8099"
user = "4001"
[[inbound]]
name = "to-all"
allow = ["udp/9", "udp/10"]
[[outbound]]
name = "user-at-connect"
drop = "tcp/81"
user = "4001"
[[outbound]]
name = "group-at-send"
reject = "udp/54"
cgroup = %q
[[outbound]]
name = "seen-at-tc"
reject = "tcp/83"
user = "4002"
ttl = "1-255"
[[forward]]
name = "through"
allow = "tcp/80"
in = "lan0"
out = "wan0"
`, below(groups[1])))
	status, err := w.DUT.Bpfwall("status")
	for _, want := range []string{"wan0 guard xdp attached", "wan0 ingress tcx attached", "wan0 egress tcx attached", "connect() cgroup attached", "sendto() cgroup attached"} {
		if err != nil || !strings.Contains(strings.Join(strings.Fields(status), " "), want) {
			t.Errorf("status: no %q\n%s%v", want, status, err)
		}
	}
	for _, c := range []struct {
		what string
		got  bool
		want bool
	}{
		{"guard drops", askServer(w.Server, "udp", netip.AddrPortFrom(us, 9), 5), false},
		{"guard lets be", askServer(w.Server, "udp", netip.AddrPortFrom(us, 10), 5), true},
		{"inbound to the user", askServer(w.Server, "tcp", netip.AddrPortFrom(us, 8001), 5), true},
		{"inbound to another user", askServer(w.Server, "tcp", netip.AddrPortFrom(us, 8002), 5), false},
		{"forward", exchange(w.Client, far, 80) == nil, true},
		{"forward elsewhere", exchange(w.Client, far, 81) == nil, false},
	} {
		if c.got != c.want {
			t.Errorf("%s: %v", c.what, c.got)
		}
	}
	to := func(port uint16) string { return netip.AddrPortFrom(far, port).String() }
	for i, group := range groups {
		for uid := 4001; uid <= 4002; uid++ {
			as := func(steps ...string) string {
				said := play(t, w.DUT, append([]string{"cgroup " + group, fmt.Sprintf("uid %d", uid)}, steps...)...)
				return said[strings.LastIndex(said, " ")+1:]
			}
			for _, c := range []struct{ got, want string }{
				{as("tcp4", "connect "+to(81)), map[int]string{4001: "EPERM"}[uid]},
				{as("tcp4", "connect "+to(83)), map[int]string{4002: "ECONNREFUSED"}[uid]},
				{as("tcp4", "connect "+to(80)), ""},
				{as("udp4", "sendto "+to(54)), map[int]string{1: "ECONNREFUSED"}[i]},
			} {
				if c.got != c.want {
					t.Errorf("user %d, group %d: %q, want %q", uid, i, c.got, c.want)
				}
			}
		}
	}
	for name, want := range map[string]uint64{"guarded": 1, "user-at-connect": 2, "group-at-send": 2, "seen-at-tc": 2} {
		if n, bytes := counter(t, w.DUT, name); n != want || strings.Contains(name, "-at-c") && bytes != 0 {
			t.Errorf("%s has counted %d packets, %d bytes; want %d", name, n, bytes, want)
		}
	}
}

// The two policies of TestFlipsAcrossHooks. They agree about UDP ports 7, which passes, and 9, which does not: the one drops it in XDP and would let it pass at
// tc, the other the other way round. TCP port 85 they both refuse to the user, the one at connect(), the other at tc.
const (
	flipClosed = `
[[guard]]
drop = "icmp"
length = "100"
[[guard]]
name = "in-xdp"
drop = "udp/9"
[[inbound]]
allow = ["udp/7", "udp/9"]
[[outbound]]
drop = ["tcp/81", "tcp/85"]
user = "4001"
[[outbound]]
reject = "tcp/83"
user = "4001"
ttl = "1-255"
`
	flipOpen = `
[[guard]]
drop = "udp/10"
[[inbound]]
name = "at-tc"
drop = "udp/9"
[[inbound]]
allow = "udp/7"
[[outbound]]
reject = "tcp/85"
user = "4001"
ttl = "1-255"
`
)

// One store changes XDP, tc and connect(): a process that asks the three in turn never finds one ahead of the others, and no packet or connection passes
// by meeting the one generation here and the other there.
func TestFlipsAcrossHooks(t *testing.T) {
	w := newWorld(t, lab.Options{})
	us, far := lab.WAN.DUT4.Addr(), lab.WAN.Far4.Addr()
	for _, port := range []uint16{81, 83, 85} {
		serveOn(t, w.Server, netip.AddrPortFrom(far, port), func(c net.Conn) { c.Close() })
	}
	if err := w.DUT.CountPorts("input", 7, 9); err != nil {
		t.Fatal(err)
	}
	applyXDP(t, w.DUT, flipClosed)
	applyXDP(t, w.DUT, flipOpen)
	to := func(port uint16) string { return netip.AddrPortFrom(far, port).String() }
	canary := startReporter(t, w.DUT, "cpu 0", "ping4", "uid 4001", "canary3 "+to(81)+" "+to(83)+" "+far.String())
	never := startReporter(t, w.DUT, "uid 4001", "attempts "+to(85))
	var stop atomic.Bool
	sent := make(chan uint64)
	go func() { sent <- sendProbes(t, w.Server, us, &stop) }()
	for range *hookFlips {
		if out, err := w.DUT.Bpfwall("rollback"); err != nil {
			t.Error(out, err)
		}
		time.Sleep(100 * time.Millisecond)
	}
	stop.Store(true)
	n := <-sent
	var rounds, changes, torn, open, barred, told int
	notes := regexp.MustCompile(`(?m)^#.*\n`)
	said := canary()
	for _, n := range notes.FindAllString(said, -1) {
		t.Log(n)
	}
	if _, err := fmt.Sscan(notes.ReplaceAllString(said, ""), &rounds, &changes, &torn); err != nil || torn > 0 || changes < 2 || rounds < 50 {
		t.Errorf("%d rounds, %d changes seen, %d times one hook was ahead: %v", rounds, changes, torn, err)
	}
	if _, err := fmt.Sscan(never(), &open, &barred, &told); err != nil || open > 0 || barred == 0 || told == 0 {
		t.Errorf("a connection that every generation refuses: %d open, %d EPERM, %d ECONNREFUSED: %v", open, barred, told, err)
	}
	time.Sleep(100 * time.Millisecond)
	got, err := w.DUT.PortCounts()
	if err != nil {
		t.Fatal(err)
	}
	if got[9] != 0 || got[7] != n {
		t.Errorf("of %d datagrams each, %d came to the port that is open and %d to the one that is closed", n, got[7], got[9])
	}
	t.Logf("%d flips: %d rounds, %d changes seen, 0 torn; %d datagrams a port; %d connects refused early, %d at tc", *hookFlips, rounds, changes, n, barred, told)
}

// startReporter starts an actor and returns what ends it and says what it reported.
func startReporter(t *testing.T, n *lab.NS, lines ...string) func() string {
	t.Helper()
	cmd := actorCommand(t, lines...)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	cmd.Stdout = &said
	if err := n.Start(cmd); err != nil {
		t.Fatal(err)
	}
	return func() string { in.Close(); _ = cmd.Wait(); return said.String() }
}

// sendProbes sends datagrams to both ports until it is told to stop, and reports how many to each.
func sendProbes(t *testing.T, from *lab.NS, to netip.Addr, stop *atomic.Bool) (n uint64) {
	var conns []net.Conn
	for _, port := range []uint16{7, 9} {
		c, err := from.Dial("udp", netip.AddrPortFrom(to, port), time.Second)
		if err != nil {
			t.Error(err)
			return 0
		}
		defer c.Close()
		conns = append(conns, c)
	}
	for ; !stop.Load(); time.Sleep(200 * time.Microsecond) {
		for _, c := range conns {
			if _, err := c.Write([]byte("probe")); err != nil {
				t.Error(err)
				return n
			}
		}
		n++
	}
	return n
}

// countFlow counts the packets of a TCP port in the stack, in both directions.
const countFlow = `table inet lab {
	counter sent { }
	counter got { }
	chain o { type filter hook postrouting priority 1000; policy accept; tcp dport 7 counter name sent; }
	chain i { type filter hook prerouting priority -1000; policy accept; tcp sport 7 counter name got; }
}
`

// A connection that cgroup and tc let out is known to what comes back, in XDP and at tc ingress: there is one flow, one rule lets it in, and every packet is counted
// once in it, as the stack counts them.
func TestOneConntrack(t *testing.T) {
	for _, xdp := range []string{"off", "native"} {
		t.Run("xdp "+xdp, func(t *testing.T) { oneConntrack(t, xdp) })
	}
}

func oneConntrack(t *testing.T, xdp string) {
	w := newWorld(t, lab.Options{})
	far := netip.AddrPortFrom(lab.WAN.Far4.Addr(), 7)
	startServer(t, w.Server, "tcp4", "listen "+far.String())
	if _, err := w.DUT.Run(strings.NewReader(countFlow), "nft", "-f", "-"); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "policy.toml")
	policy := `version = 1
[defaults]
outbound = "drop"
[[guard]]
drop = "udp/9"
[[outbound]]
name = "let-out"
allow = "tcp/7"
user = "4001"
`
	if err := os.WriteFile(file, []byte(policy), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := w.DUT.Bpfwall("apply", "--yes", "--xdp", xdp, file); err != nil {
		t.Fatal(out, err)
	}
	if said := play(t, w.DUT, "uid 4002", "tcp4", "connect "+far.String()); !strings.HasSuffix(said, "EPERM") {
		t.Errorf("another user: %q", said)
	}
	steps := []string{"uid 4001", "tcp4", "connect " + far.String()}
	for range 20 {
		steps = append(steps, "send 2000", "receive")
	}
	if said := play(t, w.DUT, append(steps, "shutdown", "receive", "close", "sleep 300")...); said != "" {
		t.Fatal(said)
	}
	flow := onlyFlow(t, w.DUT)
	stack := stackCounts(t, w.DUT)
	if flow.Packets != stack || stack[0] < 20 || stack[1] < 20 {
		t.Errorf("the flow has %v packets, the stack saw %v", flow.Packets, stack)
	}
	if flow.State != "time-wait" || !flow.Assured {
		t.Errorf("%+v", flow)
	}
	out, _ := counter(t, w.DUT, "let-out")
	if all := counterOf(t, w.DUT, "outbound", "established"); out != 1 || out+all != stack[0] {
		t.Errorf("outbound rules counted %d and %d packets, the stack %d", out, all, stack[0])
	}
	if n := counterOf(t, w.DUT, "inbound", "established"); n != stack[1] {
		t.Errorf("inbound rules counted %d packets, the stack %d", n, stack[1])
	}
	t.Logf("one flow: %d packets out, %d in", stack[0], stack[1])
}

// trackedFlow is what `show flows --json` tells.
type trackedFlow struct {
	From, To, State string
	Assured         bool
	Packets         [2]uint64
}

// onlyFlow is the one TCP flow that there is.
func onlyFlow(t *testing.T, n *lab.NS) trackedFlow {
	t.Helper()
	text, err := n.Bpfwall("show", "flows", "--json", "tcp")
	if err != nil {
		t.Fatal(text, err)
	}
	var answer struct{ Flows []trackedFlow }
	if err := json.Unmarshal([]byte(text), &answer); err != nil {
		t.Fatal(err)
	}
	if len(answer.Flows) != 1 {
		t.Fatalf("%d flows, want one\n%s", len(answer.Flows), text)
	}
	return answer.Flows[0]
}

// stackCounts is what countFlow has counted: sent, and received.
func stackCounts(t *testing.T, n *lab.NS) (counts [2]uint64) {
	t.Helper()
	text, err := n.Run(nil, "nft", "-j", "list", "counters", "table", "inet", "lab")
	if err != nil {
		t.Fatal(err)
	}
	var listing struct {
		Nftables []struct {
			Counter *struct {
				Name    string
				Packets uint64
			}
		}
	}
	if err := json.Unmarshal([]byte(text), &listing); err != nil {
		t.Fatal(err)
	}
	for _, o := range listing.Nftables {
		if o.Counter != nil {
			counts[map[string]int{"sent": 0, "got": 1}[o.Counter.Name]] = o.Counter.Packets
		}
	}
	return counts
}

// counterOf is what a rule of a chain has counted.
func counterOf(t *testing.T, n *lab.NS, chain, name string) uint64 {
	t.Helper()
	text, err := n.Bpfwall("show", "rules", "--json", chain)
	if err != nil {
		t.Fatal(text, err)
	}
	var answer struct {
		Rules []struct {
			Name    string
			Packets uint64
		}
	}
	if err := json.Unmarshal([]byte(text), &answer); err != nil {
		t.Fatal(err)
	}
	for _, r := range answer.Rules {
		if r.Name == name {
			return r.Packets
		}
	}
	t.Fatalf("no rule %s in %s", name, chain)
	return 0
}
