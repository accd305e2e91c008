package netns

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bpfwall/bpfwall/internal/lab"
	"golang.org/x/sys/unix"
)

var (
	packets = flag.Int("packets", 10_000, "packets that TestSameAsIptables compares, at least")
	mutants = flag.Int("mutants", 16, "TestRigNoticesEveryRule tries every n-th rule")
	seed    = flag.Uint64("seed", 1, "seed of the packet generator")
)

// explained are disagreements with iptables that are meant, each with its reason.
var explained = []struct {
	reason string
	is     func(d disagreement) bool
}{
	{"a UDP length beyond the packet's end: untracked packets pass iptables, bpfwall drops what it cannot read to the end", func(d disagreement) bool {
		return d.packet().what == wrongLength && len(d.got) == 0
	}},
	{"the kernel verifies a TCP-like checksum of every protocol it does not know and does not answer where it is wrong (nf_reject_verify_csum)", func(d disagreement) bool {
		return d.packet().pkt.Proto == 253 && len(d.want) == 0 && len(d.got) == 1 && strings.HasPrefix(d.got[0], "answered")
	}},
	{"what OUTPUT rejects is answered in the destination's name, where the kernel uses an address of its own", func(d disagreement) bool {
		return d.packet().at == atDUT && len(d.want) == 1 && len(d.got) == 1 && strings.HasSuffix(d.got[0], " local") && withoutSource(d.want[0]) == withoutSource(d.got[0])
	}},
	{"an answer leaves by the interface that the packet came in by; the kernel routes it, which differs for forged sources", func(d disagreement) bool {
		p := d.packet()
		return p.at != side(p.pkt.Src) && p.at != atDUT && len(d.want) == 1 && len(d.got) == 1 &&
			strings.HasPrefix(d.got[0], "answered") && withoutSource(d.got[0]) == strings.Replace(withoutSource(d.want[0]), side(p.pkt.Src).String(), p.at.String(), 1)
	}},
	{"the kernel's own RST passes OUTPUT, where the office refuses to send to these ports; bpfwall does not judge its answers", func(d disagreement) bool {
		port := d.packet().pkt.SrcPort
		return d.packet().at == atWAN && (port == 25 || port == 465 || port == 587) && len(d.want) == 0 && d.got.String() == "answered tcp RA wan0"
	}},
	{"every fragment of a datagram is judged, and so takes a token of a limit; the kernel judges the whole datagram once", func(d disagreement) bool {
		return d.packet().pkt.DstPort == 1194 && len(d.got) == 0
	}},
	{"fragments for the host are judged at LOCAL_IN, where nothing can be sent: what INPUT rejects is answered from the second datagram on", func(d disagreement) bool {
		return len(d.packet().frames) > 1 && len(d.want) == 1 && strings.HasPrefix(d.want[0], "answered") && len(d.got) == 0
	}},
	{"every fragment of a datagram is judged by its own length", func(d disagreement) bool {
		return len(d.packet().frames) > 1 && strings.Contains(d.flow.aim.rule, "--length")
	}},
	{"a redirect is not answered with an error (RFC 4443, 2.4 e); the kernel does", func(d disagreement) bool {
		p := d.packet().pkt
		return p.Proto == unix.IPPROTO_ICMPV6 && p.Type == 137 && len(d.want) == 1 && strings.HasPrefix(d.want[0], "answered") && len(d.got) == 0
	}},
	{"every UDP-Lite packet is INVALID in the kernel, which checks its checksum as UDP's (nf_conntrack_proto_udp.c); bpfwall tracks it", func(d disagreement) bool {
		return d.packet().pkt.Proto == unix.IPPROTO_UDPLITE
	}},
}

var source = regexp.MustCompile(` from \S+`)

// withoutSource is an outcome that does not tell who answered.
func withoutSource(s string) string { return source.ReplaceAllString(s, "") }

// disagreement is a packet that fared differently.
type disagreement struct {
	flow      flow
	step      int
	want, got outcome
	history   []string
}

// filter is a way to put the office's firewall into a world.
type filter struct {
	name   string
	engine *lab.Engine // nil unless it is iptables
	load   func(t *testing.T, n *lab.NS, v4, v6 string)
}

func iptables(name string, e lab.Engine) filter {
	return filter{name, &e, func(t *testing.T, n *lab.NS, v4, v6 string) {
		if err := e.Restore(n, v4, v6); err != nil {
			t.Fatal(err)
		}
	}}
}

func office(t *testing.T) (v4, v6 string) {
	t.Helper()
	a, err := os.ReadFile("../../demo/office.v4")
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile("../../demo/office.v6")
	if err != nil {
		t.Fatal(err)
	}
	return string(a), string(b)
}

// bpfwall applies the same files with the program under test.
var bpfwall = applied("bpfwall")

// applied is bpfwall, applied with some flags.
func applied(name string, flags ...string) filter {
	return filter{name, nil, func(t *testing.T, n *lab.NS, v4, v6 string) { applyRules(t, n, v4, v6, flags) }}
}

func applyRules(t *testing.T, n *lab.NS, v4, v6 string, flags []string) {
	t.Helper()
	dir := t.TempDir()
	var files []string
	for name, text := range map[string]string{"rules.v4": v4, "rules.v6": v6} {
		if text == "" {
			continue
		}
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		files = append(files, path)
	}
	if err := applyBpfwall(n, append(flags, files...)); err != nil {
		t.Fatal(err)
	}
}

// TestSameAsIptables plays packets of every kind to the office's firewall in the kernel and in bpfwall: each has to fare the same.
func TestSameAsIptables(t *testing.T) {
	r := compare(t, iptables("iptables", lab.Nft), bpfwall, *packets)
	r.report(t)
}

// TestSameAsIptablesInXDP does the same with the raw table's PREROUTING in XDP.
func TestSameAsIptablesInXDP(t *testing.T) {
	r := compare(t, iptables("iptables", lab.Nft), applied("bpfwall with XDP", "--xdp", "native"), *packets/2)
	r.report(t)
}

// TestRig compares iptables with itself: what it finds is wrong with the rig.
func TestRig(t *testing.T) {
	r := compare(t, iptables("iptables-nft", lab.Nft), iptables("iptables-legacy", lab.Legacy), *packets)
	r.report(t)
}

// TestRigNoticesEveryRule takes the office's rules away one by one: the rig must see the difference each makes.
func TestRigNoticesEveryRule(t *testing.T) {
	v4, v6 := office(t)
	count := 0
	for _, file := range []*string{&v4, &v6} {
		whole := *file
		for _, rule := range regexp.MustCompile(`(?m)^-A .*\n`).FindAllString(whole, -1) {
			if noDifference.MatchString(rule) {
				continue
			}
			if count++; count%*mutants != 0 {
				continue
			}
			if n := mutant(t, whole, strings.Replace(whole, rule, "", 1), file == &v6); n == 0 {
				t.Errorf("without it nothing changes: %s", rule)
			}
		}
	}
}

// noDifference are the rules without which another drops or accepts the same packets.
var noDifference = regexp.MustCompile(`log-drop|--pkt-type broadcast|--dst-type MULTICAST|-A OUTPUT -o lo -j ACCEPT`)

// mutant counts the disagreements of two files of one family.
func mutant(t *testing.T, whole, part string, six bool) (n int) {
	t.Run("", func(t *testing.T) {
		rigs := [2]*rig{newRig(t, 0), newRig(t, 1)}
		for i, file := range []string{whole, part} {
			v4, v6 := file, ""
			if six {
				v4, v6 = "", file
			}
			iptables("iptables-nft", lab.Nft).load(t, rigs[i].world.DUT, v4, v6)
		}
		c := newComparison(filter{}, filter{})
		g := newGenerator()
		for turn := range 3 {
			g.aims = append(g.aims, aims(whole, six, turn)...)
		}
		for c.packets < *packets && len(c.differ) == 0 {
			w := g.window(windowFlows)
			got, err := playBoth(rigs, w)
			if err != nil {
				t.Fatal(err)
			}
			c.take(w, got)
		}
		n = len(c.differ)
	})
	return n
}

func newGenerator() *generator { return &generator{rng: rand.New(rand.NewPCG(*seed, 0))} }

// comparison is what a run found.
type comparison struct {
	a, b     filter
	packets  int
	passed   int
	explains map[string]int
	differ   []disagreement
	history  map[string][]string // what each pair of endpoints did before
	strays   map[string]int      // packets that nobody knows
}

// compare plays the same packets to two worlds.
func compare(t *testing.T, a, b filter, n int) *comparison {
	t.Helper()
	v4, v6 := office(t)
	rigs := [2]*rig{newRig(t, 0), newRig(t, 1)}
	for i, f := range []filter{a, b} {
		f.load(t, rigs[i].world.DUT, v4, v6)
	}
	g := newGenerator()
	for turn := range 3 {
		g.aims = append(append(g.aims, aims(v4, false, turn)...), aims(v6, true, turn)...)
	}
	c := newComparison(a, b)
	start := time.Now()
	c.play(t, rigs, g, n)
	if n >= 10_000 {
		for i, f := range []filter{a, b} {
			if f.engine == nil {
				continue
			}
			for _, rule := range unused(t, *f.engine, rigs[i].world.DUT) {
				t.Errorf("%s: no packet met %s", f.name, rule)
			}
		}
	}
	t.Logf("%d packets in %s, seed %d: %d passed somewhere", c.packets, time.Since(start).Round(time.Millisecond), *seed, c.passed)
	return c
}

func newComparison(a, b filter) *comparison {
	return &comparison{a: a, b: b, explains: map[string]int{}, history: map[string][]string{}, strays: map[string]int{}}
}

// play compares n packets more.
func (c *comparison) play(t *testing.T, rigs [2]*rig, g *generator, n int) {
	t.Helper()
	for end := c.packets + n; c.packets < end; {
		w := g.window(windowFlows)
		got, err := playBoth(rigs, w)
		if err != nil {
			t.Fatalf("seed %d: %v", *seed, err)
		}
		c.take(w, got)
		for i, r := range rigs {
			for _, s := range r.strays {
				c.strays[[]string{c.a.name, c.b.name}[i]+": "+s]++
			}
		}
		if len(c.differ) > 200 {
			t.Errorf("more than 200 disagreements: giving up after %d packets", c.packets)
			return
		}
	}
}

// playBoth plays a window into both worlds at once.
func playBoth(rigs [2]*rig, w *window) (out [2][]outcome, err error) {
	done := make(chan error)
	go func() {
		var err error
		out[1], err = rigs[1].play(w)
		done <- err
	}()
	out[0], err = rigs[0].play(w)
	if other := <-done; err == nil {
		err = other
	}
	return out, err
}

// take counts a window's outcomes. After the first disagreement of a flow its later packets are not compared: they depend on it.
func (c *comparison) take(w *window, got [2][]outcome) {
	for _, f := range w.flows {
		pair := endpoints(f.steps[0].pkt)
		for i, s := range f.steps {
			c.packets++
			c.history[pair] = append(c.history[pair], fmt.Sprintf("%s: %s", s, got[0][s.id]))
			x, y := got[0][s.id], got[1][s.id]
			if len(x) > 0 {
				c.passed++
			}
			if x.String() == y.String() {
				continue
			}
			d := disagreement{f, i, x, y, c.history[pair]}
			if why := d.explanation(); why != "" {
				c.explains[why]++
			} else {
				c.differ = append(c.differ, d)
			}
			c.packets += len(f.steps) - i - 1
			break
		}
	}
}

// endpoints names the two ends of a flow, in the same way for both directions.
func endpoints(p lab.Packet) string {
	a, b := netip.AddrPortFrom(p.Src, p.SrcPort).String(), netip.AddrPortFrom(p.Dst, p.DstPort).String()
	return fmt.Sprint(p.Proto, min(a, b), max(a, b))
}

func (d disagreement) packet() step { return d.flow.steps[d.step] }

func (d disagreement) explanation() string {
	for _, e := range explained {
		if e.is(d) {
			return e.reason
		}
	}
	return ""
}

// report prints every kind of disagreement once, with the packets that led to it.
func (c *comparison) report(t *testing.T) {
	t.Helper()
	for why, n := range c.explains {
		t.Logf("%d explained: %s", n, why)
	}
	strays := 0
	for what, n := range c.strays {
		t.Logf("%d strays in %s", n, what)
		strays += n
	}
	if strays > c.packets/1000 { // a few may come late, from a busy machine
		t.Errorf("%d packets that the rig does not know: it is blind", strays)
	}
	kinds := map[string][]disagreement{}
	for _, d := range c.differ {
		s := d.packet()
		k := fmt.Sprintf("%s, packet %d: %s %s, %s %s", s.what, d.step+1, c.a.name, withoutSource(d.want.String()), c.b.name, withoutSource(d.got.String()))
		kinds[k] = append(kinds[k], d)
	}
	keys := make([]string, 0, len(kinds))
	for k := range kinds {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(x, y string) int { return len(kinds[y]) - len(kinds[x]) })
	for _, k := range keys[:min(len(keys), 25)] {
		d := kinds[k][0]
		var text strings.Builder
		for _, line := range d.history[max(0, len(d.history)-20):] {
			fmt.Fprintf(&text, "\n    %s", line)
		}
		t.Errorf("%d times: %s\n    made for %s%s", len(kinds[k]), k, d.flow.aim, text.String())
	}
	if len(keys) > 25 {
		t.Errorf("and %d kinds more", len(keys)-25)
	}
}

var unusedRule = regexp.MustCompile(`(?m)^\[0:0\] (-A .*)$`)

// unused lists the rules that no packet has met.
func unused(t *testing.T, e lab.Engine, n *lab.NS) []string {
	t.Helper()
	v4, v6, err := e.Save(n)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, m := range unusedRule.FindAllStringSubmatch(v4+v6, -1) {
		out = append(out, m[1])
	}
	return out
}
