package netns

import (
	"bufio"
	"bytes"
	"fmt"
	"net/netip"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/bpfwall/bpfwall/internal/lab"
)

// startServer starts an actor that serves, and waits until it does.
func startServer(t *testing.T, n *lab.NS, lines ...string) *exec.Cmd {
	t.Helper()
	cmd := actorCommand(t, append(lines, "say ready", "serve")...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Start(cmd); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		t.Fatal(lines, line, err)
	}
	t.Cleanup(func() { in.Close(); _ = cmd.Wait() })
	return cmd
}

// askServer sends a few bytes to a server and reports whether it answers.
func askServer(n *lab.NS, network string, to netip.AddrPort, size int) bool {
	c, err := n.Dial(network, to, short)
	if err != nil {
		return false
	}
	defer c.Close()
	_, _ = c.Write(make([]byte, size))
	_ = c.SetReadDeadline(time.Now().Add(short))
	got, _ := c.Read(make([]byte, 1))
	return got == 1
}

// Inbound rules ask for whoever will get a packet: who opened the listening socket, or the one that is bound, and its control group. That was
// opened before the rules, takes IPv4 on an IPv6 socket, or gets its datagrams in pieces.
func TestReceivers(t *testing.T) {
	w := newWorld(t, lab.Options{})
	group := ownCgroup(t, "", "receiver")
	us4, us6 := lab.WAN.DUT4.Addr(), lab.WAN.DUT6.Addr()
	any6 := netip.IPv6Unspecified()
	for _, s := range []string{
		"gid 5001; uid 4001; tcp4; listen " + netip.AddrPortFrom(us4, 8001).String(),
		"uid 4001; tcp6; dual; listen " + netip.AddrPortFrom(any6, 8002).String(),
		"uid 4002; tcp6; dual; listen " + netip.AddrPortFrom(any6, 8003).String(),
		"cgroup " + group + "; tcp6; dual; listen " + netip.AddrPortFrom(any6, 8004).String(),
		"uid 4001; udp6; dual; bind " + netip.AddrPortFrom(any6, 8002).String(),
		"uid 4002; udp6; dual; bind " + netip.AddrPortFrom(any6, 8003).String(),
		"cgroup " + group + "; udp4; bind " + netip.AddrPortFrom(us4, 8004).String(),
	} {
		startServer(t, w.DUT, strings.Split(s, "; ")...)
	}
	rules := fmt.Sprintf(`
[[inbound]]
name = "barred"
drop = "any"
cgroup = %q
[[inbound]]
name = "users"
allow = ["tcp/8000-8099", "udp/8000-8099"]
user = "4001"
[[inbound]]
name = "told"
reject = "tcp/8003"
socket = true
[[inbound]]
log_only = "tcp/8003"
user = "4002"
`, below(group))
	check := func(t *testing.T) {
		t.Helper()
		for _, c := range []struct {
			network string
			to      netip.Addr
			port    uint16
			want    bool
		}{
			{"tcp", us4, 8001, true}, {"tcp", us4, 8002, true}, {"tcp", us6, 8002, true}, {"tcp", us4, 8003, false}, {"tcp", us6, 8003, false},
			{"tcp", us4, 8004, false}, {"tcp", us6, 8004, false}, {"tcp", us4, 8005, false},
			{"udp", us4, 8002, true}, {"udp", us6, 8002, true}, {"udp", us4, 8003, false}, {"udp", us4, 8004, false},
		} {
			for _, size := range []int{5, 4000} {
				if got := askServer(w.Server, c.network, netip.AddrPortFrom(c.to, c.port), size); got != c.want {
					t.Errorf("%s to %s port %d, %d bytes: %v, want %v", c.network, c.to, c.port, size, got, c.want)
				}
			}
		}
	}
	t.Run("automatic states", func(t *testing.T) {
		applyPolicy(t, w.DUT, rules)
		check(t)
		if n, _ := counter(t, w.DUT, "barred"); n == 0 {
			t.Error("nothing was dropped by control group")
		}
	})
	t.Run("without states", func(t *testing.T) {
		applyPolicy(t, w.DUT, "[defaults]\nstate = \"explicit\"\n"+rules)
		check(t)
	})
	t.Run("beside NAT", func(t *testing.T) {
		nat := "table ip nat { chain pre { type nat hook prerouting priority -100; tcp dport 9001 redirect to :8001; }; }"
		if _, err := w.DUT.Run(strings.NewReader(nat), "nft", "-f", "-"); err != nil {
			t.Fatal(err)
		}
		applyPolicy(t, w.DUT, rules)
		check(t)
		if askServer(w.Server, "tcp", netip.AddrPortFrom(us4, 9001), 5) {
			t.Error("the receiver of a translated connection is known")
		}
	})
}

// A connection that nobody has accepted yet is the listener's; and the port of a connection that only waits can be used again.
func TestReceiversOfWaiting(t *testing.T) {
	w := newWorld(t, lab.Options{})
	us := netip.AddrPortFrom(lab.WAN.DUT4.Addr(), 8001)
	cmd := actorCommand(t, "uid 4001", "tcp4", "listen "+us.String(), "wait", "accept", "receive", "say accepted", "close", "relisten", "accept", "receive", "say again", "close", "wait")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := w.DUT.Start(cmd); err != nil {
		t.Fatal(err)
	}
	hear := bufio.NewReader(out)
	want := func(text string) {
		t.Helper()
		if line, err := hear.ReadString('\n'); line != text+"\n" {
			t.Fatal(line, err)
		}
	}
	want("ready")
	applyPolicy(t, w.DUT, "[defaults]\nstate = \"explicit\"\n[[inbound]]\nname = \"taken\"\nallow = \"tcp/8001\"\nuser = \"4001\"\n")
	from := netip.AddrPortFrom(lab.WAN.Far4.Addr(), 40001).String()
	client := func() {
		t.Helper()
		said := play(t, w.Server, "tcp4", "reuse", "bind "+from, "connect "+us.String(), "send 9", "sleep 200", "receive")
		if said != "" && !strings.HasSuffix(said, "ECONNRESET") {
			t.Errorf("client: %s", said)
		}
	}
	done := make(chan bool)
	go func() { client(); close(done) }()
	for n := uint64(0); n < 3; n, _ = counter(t, w.DUT, "taken") { // SYN, ACK, data
		time.Sleep(20 * time.Millisecond)
	}
	_, _ = in.Write([]byte("x"))
	want("accepted")
	<-done
	client()
	want("again")
	in.Close()
	_ = cmd.Wait()
}

// Logs name the program that will get a packet, where rules ask for receivers.
func TestReceiversInLogs(t *testing.T) {
	w := newWorld(t, lab.Options{})
	applyPolicy(t, w.DUT, "[[inbound]]\nlog_only = \"tcp/8001\"\nsocket = true\n")
	us := netip.AddrPortFrom(lab.WAN.DUT4.Addr(), 8001)
	startServer(t, w.DUT, "gid 5001", "uid 4001", "tcp4", "listen "+us.String())
	watch, err := w.DUT.Command("watch", "--count", "1")
	if err != nil {
		t.Fatal(err)
	}
	var seen bytes.Buffer
	watch.Stdout = &seen
	if err := watch.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- watch.Wait() }()
	for range 50 {
		_ = askServer(w.Server, "tcp", us, 1)
		select {
		case err := <-ended:
			if err != nil || !strings.Contains(seen.String(), "user 4001, "+actorName()) {
				t.Errorf("%v %s", err, seen.String())
			}
			return
		default:
		}
	}
	_ = watch.Process.Kill()
	t.Error("nothing was logged")
}

// Who may listen: bind() to a port fails with EPERM where the rules say so, whatever address or family is bound; port 0 and other network namespaces
// are let be.
func TestListen(t *testing.T) {
	w := newWorld(t, lab.Options{})
	group := ownCgroup(t, "", "listen")
	us, any6 := lab.WAN.DUT4.Addr(), netip.IPv6Unspecified()
	mapped := netip.AddrFrom16(us.As16())
	applyPolicy(t, w.DUT, fmt.Sprintf(`
[[listen]]
name = "web"
allow = ["tcp/80", "tcp/443"]
user = "4001"
[[listen]]
name = "kept"
drop = ["tcp/1-1023", "udp/53"]
[[listen]]
name = "nobody"
drop = "any"
cgroup = %q
`, below(group)))
	if out, err := w.DUT.Bpfwall("status"); err != nil || !strings.Contains(strings.Join(strings.Fields(out), " "), "bind() cgroup attached") {
		t.Fatalf("%s %v", out, err)
	}
	at := func(a netip.Addr, port uint16) string { return "bind " + netip.AddrPortFrom(a, port).String() }
	for _, c := range []struct{ want, steps string }{
		{"", "tcp4; uid 4001; " + at(us, 8080)},
		{"EPERM", "tcp4; " + at(us, 80)}, // opened by root
		{"EPERM", "tcp4; " + at(netip.IPv4Unspecified(), 80)},
		{"EPERM", "tcp6; " + at(any6, 443)},
		{"EPERM", "tcp6; " + at(mapped, 443)},
		{"", "fsuid 4001; tcp4; fsuid 0; " + at(us, 80)},
		{"", "fsuid 4001; tcp6; fsuid 0; " + at(any6, 443)},
		{"EPERM", "fsuid 4001; tcp4; fsuid 0; " + at(us, 22)},
		{"EPERM", "udp6; " + at(any6, 53)},
		{"", "udp4; " + at(us, 54)},
		{"EPERM", "cgroup " + group + "; tcp4; " + at(us, 8080)},
		{"", "cgroup " + group + "; tcp4; " + at(us, 0)},
	} {
		said := play(t, w.DUT, strings.Split(c.steps, "; ")...)
		if got := said[strings.LastIndex(said, " ")+1:]; got != c.want {
			t.Errorf("%s: %q, want %q", c.steps, said, c.want)
		}
	}
	if said := play(t, w.Server, "tcp4", at(lab.WAN.Far4.Addr(), 80)); said != "" {
		t.Errorf("another network namespace: %s", said)
	}
	// Of tcp: udp/53 makes a rule of its own.
	for name, want := range map[string]uint64{"web": 2, "kept": 5, "nobody": 1} {
		if packets, _ := counter(t, w.DUT, name); packets != want {
			t.Errorf("rule %s has counted %d, want %d", name, packets, want)
		}
	}
	if out, err := w.DUT.Bpfwall("explain", "tcp", "to", ":80", "hook", "listen", "uid", "4002"); err != nil || !strings.Contains(out, "verdict DROP") {
		t.Errorf("%s %v", out, err)
	}
	applyPolicy(t, w.DUT, "[[inbound]]\nallow = \"ssh\"\n")
	if said := play(t, w.DUT, "tcp4", at(us, 80)); said != "" {
		t.Errorf("without such rules: %s", said)
	}
}
