package netns

import (
	"bufio"
	"bytes"
	"encoding/json"
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

	"golang.org/x/sys/unix"

	"github.com/bpfwall/bpfwall/internal/lab"
)

// ownerMatches are what the rules of TestOwnersAsIptables count, alone and for packets of these kinds.
var (
	ownerMatches = []string{
		"-m owner --socket-exists", "-m owner ! --socket-exists",
		"-m owner --uid-owner 0", "-m owner --uid-owner 4001", "-m owner ! --uid-owner 4001", "-m owner --uid-owner 4001-4002", "-m owner ! --uid-owner 4000-4009",
		"-m owner --uid-owner 4003-4009", "-m owner --uid-owner 1-4294967294",
		"-m owner --gid-owner 0", "-m owner --gid-owner 5001", "-m owner ! --gid-owner 5001", "-m owner --gid-owner 5001-5002", "-m owner ! --gid-owner 5001-5002",
		"-m owner --uid-owner 4001 --gid-owner 5001", "-m owner --uid-owner 4001 ! --gid-owner 5001", "-m owner ! --uid-owner 4001 ! --gid-owner 5001",
		"-m owner --socket-exists ! --uid-owner 4001", "-m owner ! --socket-exists --uid-owner 4001",
	}
	ownerKinds = []string{
		"", "-p udp", "-p icmp", "-p tcp --syn", "-p tcp --tcp-flags SYN,ACK SYN,ACK", "-p tcp --tcp-flags FIN FIN", "-p tcp --tcp-flags RST RST",
		"-p tcp --tcp-flags SYN,FIN,RST,ACK ACK",
	}
	// Neighbour discovery begins before both firewalls are there.
	ownerKinds6 = []string{"-p tcp", "-p udp", "-p ipv6-icmp --icmpv6-type echo-reply", "-p ipv6-icmp --icmpv6-type 1", "-p tcp --tcp-flags SYN,FIN,RST,ACK RST", "-p tcp --tcp-flags SYN,FIN,RST,ACK ACK"}
)

// ownCgroup makes a control group that goes with the test.
func ownCgroup(t *testing.T, parent, name string) string {
	t.Helper()
	if parent == "" {
		mounts, err := os.ReadFile("/proc/self/mounts")
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(mounts)) {
			if f := strings.Fields(line); len(f) > 2 && f[2] == "cgroup2" {
				parent = f[1]
			}
		}
		if parent == "" {
			t.Skip("cgroup2 is not mounted")
		}
		name = fmt.Sprintf("bpfwall-test-%d-%s", os.Getpid(), name)
	}
	dir := filepath.Join(parent, name)
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Skipf("a control group: %s", err)
	}
	t.Cleanup(func() {
		for range 50 {
			if os.Remove(dir) == nil {
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
		t.Errorf("%s: still there", dir)
	})
	return dir
}

// below is a directory of control groups as rules name it.
func below(dir string) string { return dir[strings.Index(dir, "/bpfwall-test-"):] }

// Every packet that this host sends is counted by the rules of -m owner and -m cgroup that count it in the kernel's OUTPUT: both
// firewalls are there and see the same packets.
func TestOwnersAsIptables(t *testing.T) {
	w := newWorld(t, lab.Options{})
	groups := [2]string{ownCgroup(t, "", "a"), ""}
	groups[1] = ownCgroup(t, groups[0], "b")
	matches := append([]string{}, ownerMatches...)
	for _, g := range groups {
		matches = append(matches, "-m cgroup --path "+below(g), "-m cgroup ! --path "+below(g))
	}
	load := func(n *lab.NS, save4, save6 string) {
		t.Helper()
		if err := lab.Nft.Restore(n, save4, save6); err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		files := []string{filepath.Join(dir, "rules.v4"), filepath.Join(dir, "rules.v6")}
		for i, text := range []string{save4, save6} {
			if err := os.WriteFile(files[i], []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if out, err := n.Bpfwall("apply", "--yes", files[0], files[1]); err != nil {
			t.Fatal(out, err)
		}
	}
	load(w.DUT, countingRules(matches, ownerKinds), countingRules(matches, ownerKinds6))
	trafficOfOwners(t, w, groups)
	time.Sleep(300 * time.Millisecond)
	compareCounts(t, w.DUT)
}

func countingRules(matches, kinds []string) string {
	var b strings.Builder
	fmt.Fprintln(&b, "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]")
	for _, m := range matches {
		for _, k := range kinds {
			fmt.Fprintf(&b, "-A OUTPUT %s\n", strings.TrimSpace(k+" "+m))
		}
	}
	fmt.Fprintln(&b, "COMMIT")
	return b.String()
}

// trafficOfOwners has processes of many owners speak.
func trafficOfOwners(t *testing.T, w *lab.World, groups [2]string) {
	t.Helper()
	far4, far6 := lab.WAN.Far4.Addr(), lab.WAN.Far6.Addr()
	us4 := lab.WAN.DUT4.Addr()
	at := func(a netip.Addr, port uint16) string { return netip.AddrPortFrom(a, port).String() }
	for _, a := range []netip.Addr{far4, far6} {
		serveOn(t, w.Server, netip.AddrPortFrom(a, 7), func(c net.Conn) { _, _ = io.Copy(c, c); c.Close() })
		serveOn(t, w.Server, netip.AddrPortFrom(a, 9), func(c net.Conn) { _, _ = c.Write([]byte("x")); c.Close() })
		echo, err := w.Server.Echo(netip.AddrPortFrom(a, 7))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { echo.Close() })
	}
	talk := []string{"send 3000", "receive", "shutdown", "receive", "close"}
	for _, who := range [][]string{
		{}, {"gid 5001", "uid 4001"}, {"gid 5002", "uid 4001"}, {"gid 5001", "uid 4002"}, {"cgroup " + groups[0], "uid 4009"}, {"cgroup " + groups[1]},
		{"fsuid 4001"},
	} {
		for _, v := range []struct {
			six string
			far netip.Addr
		}{{"4", far4}, {"6", far6}} {
			do := func(lines ...string) {
				t.Helper()
				if said := play(t, w.DUT, append(append([]string{}, who...), lines...)...); said != "" {
					t.Errorf("%v %v: %s", who, lines, said)
				}
			}
			do(append([]string{"tcp" + v.six, "connect " + at(v.far, 7)}, talk...)...)        // we close first: TIME_WAIT here
			do("tcp"+v.six, "connect "+at(v.far, 9), "receive", "receive", "close")           // they do
			do("tcp"+v.six, "connect "+at(v.far, 9), "sleep 50", "close")                     // with data unread: RST
			do("tcp"+v.six, "connect "+at(v.far, 7), "send 9", "linger", "close")             // aborted
			do("tcp"+v.six, "connect "+at(v.far, 7), "send 9", "receive", "close", "sleep 1") // closed before the FIN is answered
			do("udp"+v.six, "sendto "+at(v.far, 7), "sendto "+at(v.far, 7), "receive")
			do("udp"+v.six, "connect "+at(v.far, 7), "send 1400", "receive")
		}
	}
	for _, lines := range [][]string{ // who opened the socket counts, whoever uses it
		append([]string{"tcp4", "gid 5001", "uid 4001", "connect " + at(far4, 7)}, talk...),
		append([]string{"tcp4", "fchown 4001", "connect " + at(far4, 7)}, talk...),
		append([]string{"cgroup " + groups[1], "tcp4", "cgroup " + filepath.Dir(groups[0]), "connect " + at(far4, 7)}, talk...),
		{"ping4", "echo " + far4.String(), "uid 4001", "echo " + far4.String()},
	} {
		if said := play(t, w.DUT, lines...); said != "" {
			t.Errorf("%v: %s", lines, said)
		}
	}
	inherit(t, w.DUT, append([]string{"uid 4002", "inherited 3", "connect " + at(far4, 7)}, talk...)...)
	serveAs(t, w, us4)
	for _, ping := range []netip.Addr{us4, lab.WAN.DUT6.Addr()} { // answers of the kernel
		if err := w.Server.Ping(ping, 64, time.Second); err != nil {
			t.Error(err)
		}
	}
	for _, closed := range []netip.Addr{us4, lab.WAN.DUT6.Addr()} {
		if c, err := w.Server.Dial("tcp", netip.AddrPortFrom(closed, 999), time.Second); err == nil {
			c.Close()
			t.Error("somebody listens")
		}
		if c, err := w.Server.Dial("udp", netip.AddrPortFrom(closed, 999), time.Second); err == nil {
			_, _ = c.Write([]byte("x"))
			c.Close()
		}
	}
}

// serveAs has servers of two users answer: one closes first, one listens no more when the last segments come.
func serveAs(t *testing.T, w *lab.World, us netip.Addr) {
	t.Helper()
	for i, after := range [][]string{{"close"}, {"unlisten", "receive", "send 5", "receive", "close"}, {"linger", "close"}} {
		port := uint16(8000 + i)
		cmd := actorCommand(t, append([]string{"gid 5001", "uid 4001", "tcp4", "listen " + netip.AddrPortFrom(us, port).String(), "accept", "receive", "send 2000"}, after...)...)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := w.DUT.Start(cmd); err != nil {
			t.Fatal(err)
		}
		if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
			t.Fatal(line, err)
		}
		c, err := w.Server.Dial("tcp", netip.AddrPortFrom(us, port), time.Second)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = c.Write([]byte("x"))
		_ = c.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
		_, _ = c.Read(make([]byte, 4096))
		_, _ = c.Write([]byte("y"))
		time.Sleep(20 * time.Millisecond)
		c.Close()
		_ = cmd.Wait()
	}
}

// inherit runs an actor that finds a socket of ours as file 3.
func inherit(t *testing.T, n *lab.NS, lines ...string) {
	t.Helper()
	fd := -1
	if err := n.Do(func() (err error) {
		fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "socket")
	defer f.Close()
	cmd := actorCommand(t, lines...)
	cmd.ExtraFiles = []*os.File{f}
	var out bytes.Buffer
	cmd.Stdout = &out
	if err := n.Start(cmd); err != nil {
		t.Fatal(err)
	}
	if cmd.Wait(); out.Len() > 0 {
		t.Errorf("%v: %s", lines, out.String())
	}
}

func serveOn(t *testing.T, n *lab.NS, at netip.AddrPort, handle func(net.Conn)) {
	t.Helper()
	l, err := n.Serve(at, handle)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
}

var countedRule = regexp.MustCompile(`(?m)^\[(\d+):\d+\] (-A .*)$`)

// compareCounts compares the packets that rules of both firewalls have counted, rule by rule, in order.
func compareCounts(t *testing.T, n *lab.NS) {
	t.Helper()
	v4, v6, err := lab.Nft.Save(n)
	if err != nil {
		t.Fatal(err)
	}
	text, err := n.Bpfwall("show", "rules", "--json")
	if err != nil {
		t.Fatal(err)
	}
	var answer struct {
		Rules []struct {
			Rule, Chain string
			Packets     uint64
		}
	}
	if err := json.Unmarshal([]byte(text), &answer); err != nil {
		t.Fatal(err)
	}
	var ours []string
	for _, r := range answer.Rules {
		if strings.HasPrefix(r.Chain, "OUTPUT") && r.Rule != "" {
			ours = append(ours, fmt.Sprint(r.Packets))
		}
	}
	theirs := countedRule.FindAllStringSubmatch(v4+v6, -1)
	if len(ours) != len(theirs) {
		t.Fatalf("%d rules of ours, %d of iptables\n%.2000s", len(ours), len(theirs), text)
	}
	met := 0
	for i, r := range theirs {
		if r[1] != ours[i] {
			t.Errorf("iptables %s, ours %s: %s", r[1], ours[i], r[2])
		}
		if r[1] != "0" {
			met++
		}
	}
	t.Logf("%d rules, of which %d met packets", len(ours), met)
}

// Sockets that were there before the first apply have owners and control groups like any other; watch tells who sends; and the firewalls
// of two network namespaces do not know of each other.
func TestOwnersFromBefore(t *testing.T) {
	w := newWorld(t, lab.Options{})
	group := ownCgroup(t, "", "before")
	far := netip.AddrPortFrom(lab.WAN.Far4.Addr(), 7)
	serveOn(t, w.Server, far, func(c net.Conn) { _, _ = io.Copy(c, c) })
	cmd := actorCommand(t, "cgroup "+group, "gid 5001", "uid 4001", "tcp4", "connect "+far.String(), "say ready", "wait", "send 10", "receive", "say done", "wait")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	said := bufio.NewReader(out)
	if err := w.DUT.Start(cmd); err != nil {
		t.Fatal(err)
	}
	hear := func(want string) {
		t.Helper()
		if line, err := said.ReadString('\n'); line != want+"\n" {
			t.Fatal(line, err)
		}
	}
	hear("ready")
	policy := fmt.Sprintf(`[defaults]
inbound = "allow"
state = "explicit"
[[outbound]]
name = "owned"
continue = "any"
user = "4001"
group = "5001"
cgroup = %q
[[outbound]]
log_only = "tcp/7"
state = "any"
`, below(group))
	applyPolicy(t, w.DUT, policy)
	applyPolicy(t, w.Server, "[defaults]\ninbound = \"allow\"\nstate = \"explicit\"\n[[outbound]]\nname = \"owned\"\ndrop = \"any\"\nuser = \"4001\"\n")
	watch, err := w.DUT.Command("watch", "--count", "1", "--json")
	if err != nil {
		t.Fatal(err)
	}
	var seen bytes.Buffer
	watch.Stdout = &seen
	if err := watch.Start(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(500 * time.Millisecond)
	_, _ = in.Write([]byte("x"))
	hear("done")
	if n, _ := counter(t, w.DUT, "owned"); n < 2 {
		t.Errorf("%d packets of a socket from before", n)
	}
	if err := watch.Wait(); err != nil || !strings.Contains(seen.String(), `"uid":4001,"gid":5001`) {
		t.Errorf("watch: %v\n%s", err, seen.String())
	}
	watch, err = w.DUT.Command("watch", "--count", "1", "user root")
	if err != nil {
		t.Fatal(err)
	}
	seen.Reset()
	watch.Stdout = &seen
	if err := watch.Start(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(500 * time.Millisecond)
	if said := play(t, w.DUT, "uid 0", "tcp4", "connect "+far.String()); said != "" {
		t.Error(said)
	}
	if err := watch.Wait(); err != nil || !strings.Contains(seen.String(), "user root, "+actorName()) {
		t.Errorf("watch: %v\n%s", err, seen.String())
	}
	if out, err := w.DUT.Bpfwall("disable", "--yes"); err != nil {
		t.Fatal(out, err)
	}
	if said := play(t, w.DUT, "uid 4001", "tcp4", "connect "+far.String()); said != "" {
		t.Errorf("after disable: %s", said)
	}
	if said := play(t, w.Server, "uid 4001", "tcp4", "connect "+netip.AddrPortFrom(lab.WAN.DUT4.Addr(), 80).String()); !strings.HasSuffix(said, "EPERM") {
		t.Errorf("the other firewall went with it: %q", said)
	}
	in.Close()
}

// actorName is what the kernel calls an actor's program: the file that was run, 15 bytes of it.
func actorName() string { return "exe" }
