package netns

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/features"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/bpfwall/bpfwall/internal/lab"
)

// fragmentCase is what arrives of one or more datagrams.
type fragmentCase struct {
	name   string
	frames func(p lab.Packet) [][]byte
}

const piece = 1448 // bytes of payload in a fragment: a multiple of 8 that fits into an MTU of 1500 in both families

// largest makes fragments of a datagram of 64 KB.
func largest(p lab.Packet) [][]byte {
	p.Payload = make([]byte, 45*piece-8)
	return p.Fragments(piece)
}

// small makes four fragments.
func small(p lab.Packet) [][]byte {
	p.Payload = make([]byte, 4*64-8)
	return p.Fragments(64)
}

func reversed(frames [][]byte) [][]byte {
	slices.Reverse(frames)
	return frames
}

func shuffled(frames [][]byte) [][]byte {
	rand.New(rand.NewPCG(1, 2)).Shuffle(len(frames), func(i, j int) { frames[i], frames[j] = frames[j], frames[i] })
	return frames
}

// another is the same packet, with another identification.
func another(p lab.Packet) lab.Packet {
	p.ID += 5000
	return p
}

// interleaved makes two datagrams, a fragment of each in turn.
func interleaved(p lab.Packet) (out [][]byte) {
	a, b := largest(p), reversed(largest(another(p)))
	for i := range a {
		out = append(out, a[i], b[i])
	}
	return out
}

// overlapped is a datagram with a fragment that writes over the end of the second one.
func overlapped(p lab.Packet) [][]byte {
	good := small(p) // from 0, 64, 128, 192
	p.Payload = make([]byte, 4*64-8)
	bad := p.Fragments(96)[1] // from 96 to 192
	copyIdentity(bad, good[0], p)
	return [][]byte{good[0], good[1], bad, good[2], good[3]}
}

// inFirst is a datagram with a fragment that is a part of the first one.
func inFirst(p lab.Packet) [][]byte {
	good := small(p)
	p.Payload = make([]byte, 4*64-8)
	bad := p.Fragments(32)[1]
	copyIdentity(bad, good[0], p)
	return [][]byte{good[0], bad, good[1], good[2], good[3]}
}

// optionsFirst is an IPv6 datagram whose first fragment ends before the UDP header (RFC 7112); in IPv4 the whole.
func optionsFirst(p lab.Packet) [][]byte {
	if p.Src.Is4() {
		return [][]byte{p.Frame()}
	}
	udp := p.IP()[40:]
	p.Proto, p.Payload = unix.IPPROTO_DSTOPTS, append([]byte{unix.IPPROTO_UDP, 0, 1, 4, 0, 0, 0, 0}, udp...)
	return p.Fragments(8)
}

// copyIdentity gives an IPv6 fragment the identification of another one; IPv4 has it from the packet.
func copyIdentity(to, from []byte, p lab.Packet) {
	if p.Src.Is6() {
		copy(to[14+40+4:14+40+8], from[14+40+4:14+40+8])
	}
}

var fragmentCases = []fragmentCase{
	{"whole", func(p lab.Packet) [][]byte { return [][]byte{p.Frame()} }},
	{"in order", largest},
	{"reversed", func(p lab.Packet) [][]byte { return reversed(largest(p)) }},
	{"shuffled", func(p lab.Packet) [][]byte { return shuffled(largest(p)) }},
	{"four, last first", func(p lab.Packet) [][]byte { return reversed(small(p)) }},
	{"interleaved with another", interleaved},
	{"each twice", func(p lab.Packet) (out [][]byte) {
		for _, f := range small(p) {
			out = append(out, f, f)
		}
		return out
	}},
	{"the first twice", func(p lab.Packet) [][]byte { f := small(p); return append([][]byte{f[0]}, f...) }},
	{"overlap", overlapped},
	{"overlap, first", func(p lab.Packet) [][]byte {
		f := overlapped(p)
		return append([][]byte{f[2]}, append(f[:2], f[3:]...)...)
	}},
	{"a part of the first again", inFirst},
	{"first of options alone", optionsFirst},
	{"first of eight bytes", func(p lab.Packet) [][]byte { p.Payload = make([]byte, 100); return p.Fragments(8) }},
	{"without the first", func(p lab.Packet) [][]byte { return small(p)[1:] }},
	{"without the last", func(p lab.Packet) [][]byte { return small(p)[:3] }},
	{"without one in the middle", func(p lab.Packet) [][]byte { f := small(p); return append(f[:1], f[2:]...) }},
	{"the same identification again, reversed", func(p lab.Packet) [][]byte {
		a, b := largest(p), small(p)
		for i := range b {
			copyIdentity(b[i], a[0], p)
		}
		return append(a, reversed(b)...)
	}},
}

// fragmentRules let UDP to port 1001 pass, as one packet each, and not to port 1002.
func fragmentRules(t *testing.T) []string {
	lines := []string{":INPUT DROP [0:0]", ":FORWARD DROP [0:0]", ":OUTPUT ACCEPT [0:0]"}
	for _, chain := range []string{"INPUT", "FORWARD"} {
		lines = append(lines, "v6 -A "+chain+" -p icmp -j ACCEPT",
			"-A "+chain+" -p udp -m udp --dport 1001 -m conntrack --ctstate NEW,ESTABLISHED -j ACCEPT", "-A "+chain+" -p udp -m udp --dport 1002 -j DROP",
			"-A "+chain+" -p udp -m udp --dport 1003 -j ACCEPT", "-A "+chain+" -p udp -m conntrack --ctstate ESTABLISHED -j ACCEPT")
	}
	return rules(t, lines...)
}

// neighbourRules are the rules that count what the hosts ask each other of their own accord, some seconds after they last did: it is
// not of the datagrams that are compared, and how much there is depends on how long a run takes.
var neighbourRules = []string{"v6 1", "v6 6"}

// TestFragmentsSameAsIptables: fragments in every order make the same datagrams, to the host and through it, as under iptables.
func TestFragmentsSameAsIptables(t *testing.T) {
	if err := features.HaveProgramType(ebpf.Netfilter); errors.Is(err, ebpf.ErrNotSupported) {
		t.Skip("this kernel has no netfilter programs: later fragments are judged by their first one, and dropped in front of it")
	}
	got := map[string]map[string]string{}
	for _, e := range engines {
		t.Run(e.name, func(t *testing.T) {
			w := newWorld(t, lab.Options{})
			if err := e.apply(w.DUT, fragmentRules(t)); err != nil {
				t.Fatal(err)
			}
			got[e.name] = playFragments(t, w)
			playLarge(t, w, got[e.name])
			for rule, matched := range countsByRule(t, w.DUT, e.name) {
				if !slices.Contains(neighbourRules, rule) {
					got[e.name]["rule "+rule] = matched
				}
			}
		})
	}
	if got["iptables"] == nil || got["bpfwall"] == nil {
		t.Fatal("no results to compare")
	}
	for _, what := range slices.Sorted(maps.Keys(got["iptables"])) {
		t.Logf("%-60s iptables: %-32s bpfwall: %s", what, got["iptables"][what], got["bpfwall"][what])
	}
	if diff := cmp.Diff(got["iptables"], got["bpfwall"]); diff != "" {
		t.Errorf("-iptables +bpfwall:\n%s", diff)
	}
}

// TestFragmentsBeforeConntrack: rules of raw see the whole datagram too, be it for the host or for others.
func TestFragmentsBeforeConntrack(t *testing.T) {
	got := map[string]map[string]string{}
	for _, e := range engines {
		t.Run(e.name, func(t *testing.T) {
			w := newWorld(t, lab.Options{})
			files := rules(t, ":INPUT ACCEPT [0:0]", ":FORWARD ACCEPT [0:0]", ":OUTPUT ACCEPT [0:0]",
				"-A INPUT -p udp -m udp --dport 1001 -m conntrack --ctstate UNTRACKED", "-A FORWARD -p udp -m udp --dport 1001 -m conntrack --ctstate UNTRACKED")
			for _, f := range files {
				b, err := os.ReadFile(f)
				if err == nil {
					b = append(b, "*raw\n:PREROUTING ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n-A PREROUTING -i lan0 -p udp -m udp --dport 1001 -j NOTRACK\n-A PREROUTING -i lan0 -p udp -m udp --dport 1002 -j DROP\nCOMMIT\n"...)
					err = os.WriteFile(f, b, 0o600)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			if err := e.apply(w.DUT, files); err != nil {
				t.Fatal(err)
			}
			got[e.name] = playFragments(t, w)
			if e.name == "bpfwall" {
				for rule, counted := range countsByRule(t, w.DUT, e.name) {
					t.Logf("rule %s: %s", rule, counted)
				}
			}
		})
	}
	if diff := cmp.Diff(got["iptables"], got["bpfwall"]); diff != "" {
		t.Errorf("-iptables +bpfwall:\n%s", diff)
	}
}

// onOneCPU runs f on one CPU: a frame waits at the far end of a veth on the CPU of its sender, and overtakes those on another one.
func onOneCPU(t *testing.T, f func()) {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var all, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		t.Fatal(err)
	}
	one.Set(0)
	if err := unix.SchedSetaffinity(0, &one); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.SchedSetaffinity(0, &all) }()
	f()
}

func playFragments(t *testing.T, w *lab.World) (results map[string]string) {
	onOneCPU(t, func() { results = sendFragments(t, w) })
	return results
}

func sendFragments(t *testing.T, w *lab.World) map[string]string {
	results := map[string]string{}
	wire := openPort(t, w.Client.OpenPort, "eth0")
	id := uint32(100)
	for _, f := range families {
		for _, to := range []struct {
			name string
			ns   *lab.NS
			addr netip.Addr
		}{{"to the host", w.DUT, f.lan}, {"through", w.Server, f.server}} {
			allowed, denied := listenUDP(t, to.ns, to.addr, 1001), listenUDP(t, to.ns, to.addr, 1002)
			for _, c := range fragmentCases {
				for _, port := range []uint16{1001, 1002} {
					id++
					p := lab.Packet{SrcMAC: lab.LAN.FarMAC, DstMAC: lab.LAN.DUTMAC, Src: f.client, Dst: to.addr, ID: id, TTL: 64,
						Proto: unix.IPPROTO_UDP, SrcPort: uint16(20000 + id), DstPort: port, Payload: make([]byte, 100)}
					sendAll(t, wire, c.frames(p))
				}
				id++
				sendAll(t, wire, [][]byte{lastDatagram(f.client, to.addr, id)})
				results[fmt.Sprintf("%s, %s: %s", f.name, to.name, c.name)] = fmt.Sprintf("%v of port 1001, %v of port 1002", receivedUntil(t, allowed), atOnce(t, denied))
			}
		}
	}
	return results
}

// playLarge has sockets exchange datagrams that the kernel makes fragments of.
func playLarge(t *testing.T, w *lab.World, results map[string]string) {
	if _, err := w.DUT.Run(nil, "ip", "link", "set", "lo", "mtu", "1500"); err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, c := range []struct {
			what     string
			from, to *lab.NS
			at       netip.Addr
		}{{"client to router", w.Client, w.DUT, f.lan}, {"client to server", w.Client, w.Server, f.server}, {"router to server", w.DUT, w.Server, f.server}, {"router to itself", w.DUT, w.DUT, f.lan}} {
			if c.from == c.to && c.at.Is6() {
				continue // the kernel's own ip6tables sees each fragment on lo, and loses the datagram
			}
			for _, port := range []uint16{1003, 1004} {
				at := netip.AddrPortFrom(c.at, port)
				results[fmt.Sprintf("%s, %s: 8000 bytes and back, port %d", f.name, c.what, port)] = ask(t, c.from, c.to, at, at, 8000)
			}
		}
	}
}

func listenUDP(t *testing.T, n *lab.NS, addr netip.Addr, port uint16) *net.UDPConn {
	t.Helper()
	c, err := n.ListenUDP(netip.AddrPortFrom(addr, port))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func sendAll(t *testing.T, wire *lab.Port, frames [][]byte) {
	t.Helper()
	for _, frame := range frames {
		if err := wire.Send(frame); err != nil {
			t.Fatal(err)
		}
	}
}

// lastDatagram is an empty one to the port that is allowed: when it has come, all that was sent before it has come or never will.
func lastDatagram(from, to netip.Addr, id uint32) []byte {
	p := lab.Packet{SrcMAC: lab.LAN.FarMAC, DstMAC: lab.LAN.DUTMAC, Src: from, Dst: to, ID: id, TTL: 64, Proto: unix.IPPROTO_UDP, SrcPort: 9, DstPort: 1001}
	return p.Frame()
}

// receivedUntil is the lengths of the datagrams that came before the last one.
func receivedUntil(t *testing.T, c *net.UDPConn) []int {
	t.Helper()
	lengths := []int{}
	b := make([]byte, 1<<16)
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
	for {
		n, err := c.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			return lengths
		}
		lengths = append(lengths, n)
	}
}

// atOnce is the lengths of the datagrams that are there.
func atOnce(t *testing.T, c *net.UDPConn) []int {
	t.Helper()
	lengths := []int{}
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	err = raw.Control(func(fd uintptr) {
		for b := make([]byte, 1<<16); ; {
			n, _, err := unix.Recvfrom(int(fd), b, unix.MSG_DONTWAIT)
			if err != nil {
				return
			}
			lengths = append(lengths, n)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return lengths
}

// countsByRule tells of every rule of the files what it counted: packets and bytes.
func countsByRule(t *testing.T, n *lab.NS, engine string) map[string]string {
	t.Helper()
	out := map[string]string{}
	if engine == "iptables" {
		v4, v6, err := lab.Nft.Save(n)
		if err != nil {
			t.Fatal(err)
		}
		for family, text := range map[string]string{"v4": v4, "v6": v6} {
			for i, m := range regexp.MustCompile(`(?m)^\[(\d+):(\d+)\] -A .*$`).FindAllStringSubmatch(text, -1) {
				out[fmt.Sprintf("%s %d", family, i+1)] = m[1] + " packets, " + m[2] + " bytes"
			}
		}
		return out
	}
	text, err := n.Bpfwall("show", "rules", "--json")
	if err != nil {
		t.Fatal(err)
	}
	var listing struct {
		Rules []struct {
			Packets, Bytes uint64
			Pos            struct {
				File string
				Line int
			}
		}
	}
	if err := json.Unmarshal([]byte(text), &listing); err != nil {
		t.Fatal(err)
	}
	for _, r := range listing.Rules {
		if rule := r.Pos.Line - 5; rule > 0 { // behind a comment, the table's name and three policies
			key := fmt.Sprintf("%s %d", strings.TrimPrefix(filepath.Ext(r.Pos.File), "."), rule)
			out[key] = fmt.Sprintf("%d packets, %d bytes", r.Packets, r.Bytes)
		}
	}
	return out
}

// TestFragmentsJudgedWhole: rules of FORWARD and INPUT see the length and the transport header of the whole.
func TestFragmentsJudgedWhole(t *testing.T) {
	got := map[string]map[string]string{}
	lines := []string{":INPUT DROP [0:0]", ":FORWARD DROP [0:0]", ":OUTPUT ACCEPT [0:0]"}
	for _, chain := range []string{"INPUT", "FORWARD"} {
		lines = append(lines, "-A "+chain+" -m conntrack --ctstate INVALID", "-A "+chain+" -p udp -m udp --dport 1001 -m length --length 260:65535 -j ACCEPT", "-A "+chain+" -p udp -m udp --dport 1001 -m length --length 0:100 -j ACCEPT",
			"-A "+chain+" -p tcp -m tcp --dport 1001 --tcp-flags SYN,RST,ACK SYN -j ACCEPT", "-A "+chain+" -p tcp -m tcp --dport 1002 -m tcp --tcp-flags SYN,RST,ACK SYN -j DROP",
			"-A "+chain+" -p udp -m udp --dport 1003 -j REJECT", "v6 -A "+chain+" -p icmp -j ACCEPT")
	}
	for _, e := range engines {
		t.Run(e.name, func(t *testing.T) {
			w := newWorld(t, lab.Options{})
			if err := e.apply(w.DUT, rules(t, lines...)); err != nil {
				t.Fatal(err)
			}
			onOneCPU(t, func() { got[e.name] = sendWholes(t, w) })
			for rule, matched := range countsByRule(t, w.DUT, e.name) {
				if matched != "0 packets, 0 bytes" && rule != "v6 7" && rule != "v6 14" { // those of the neighbours
					got[e.name]["rule "+rule] = matched
				}
			}
		})
	}
	if diff := cmp.Diff(got["iptables"], got["bpfwall"]); diff != "" {
		t.Errorf("-iptables +bpfwall:\n%s", diff)
	}
	t.Log(got["bpfwall"])
}

// sendWholes sends datagrams of two lengths in fragments, segments whose header is cut in two, and twice a datagram that is rejected:
// tells what came, and whether the second one was answered.
func sendWholes(t *testing.T, w *lab.World) map[string]string {
	results, id := map[string]string{}, uint32(500)
	wire := openPort(t, w.Client.OpenPort, "eth0")
	for _, f := range families {
		for _, to := range []struct {
			name string
			ns   *lab.NS
			addr netip.Addr
		}{{"to the host", w.DUT, f.lan}, {"through", w.Server, f.server}} {
			open := listenUDP(t, to.ns, to.addr, 1001)
			send := func(proto uint8, port uint16, bytes, size int) {
				id++
				p := lab.Packet{SrcMAC: lab.LAN.FarMAC, DstMAC: lab.LAN.DUTMAC, Src: f.client, Dst: to.addr, ID: id, TTL: 64,
					Proto: proto, SrcPort: uint16(id), DstPort: port, Payload: make([]byte, bytes), Flags: lab.SYN, Window: 1000}
				sendAll(t, wire, p.Fragments(size))
			}
			send(unix.IPPROTO_UDP, 1001, 300, 64)
			send(unix.IPPROTO_UDP, 1001, 160, 64)
			for _, port := range []uint16{1001, 1002} {
				send(unix.IPPROTO_TCP, port, 100, 24)
				if f.client.Is4() { // in IPv6 the first fragment must have the whole header: RFC 7112
					send(unix.IPPROTO_TCP, port, 100, 8)
					send(unix.IPPROTO_TCP, port, 100, 16)
				}
			}
			id++
			sendAll(t, wire, [][]byte{lastDatagram(f.client, to.addr, id)})
			results[f.name+", "+to.name] = fmt.Sprint(receivedUntil(t, open))
			results[f.name+", "+to.name+": rejected"] = secondAnswer(t, w.Client, netip.AddrPortFrom(to.addr, 1003))
		}
	}
	return results
}

// secondAnswer sends a datagram of 4000 bytes twice to a port that is rejected.
func secondAnswer(t *testing.T, from *lab.NS, to netip.AddrPort) string {
	t.Helper()
	c, err := from.Dial("udp", to, short)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for range 2 {
		_, _ = c.Write(make([]byte, 4000))
		_ = c.SetReadDeadline(time.Now().Add(short))
		if _, err = c.Read(make([]byte, 9)); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			break
		}
	}
	return how(err)
}
