package stateless

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bpfwall/bpfwall/internal/lab"
)

var (
	rulesets = flag.Int("rulesets", 6, "random rulesets of TestStateless")
	packets  = flag.Int("packets", 120_000, "packets for all of them, at most 130,000 for each")
	seed     = flag.Uint64("seed", 0, "of the first ruleset; 0: a new one")
)

// explained are the disagreements with iptables that docs/semantics.md lists.
var explained = []struct {
	reason string
	is     func(d *disagreement) bool
}{
	{"a transport header cut short, or lengths that lie: dropped where some rule reads transport headers", func(d *disagreement) bool {
		return d.probe.malformed() && d.got == outcome{}
	}},
	{"a wrong transport checksum: the kernel does not answer it (nf_reject_verify_csum); of protocols that it does not know it takes one for granted, and of a first fragment it is never right", func(d *disagreement) bool {
		k := d.probe.pkt
		return (k.Malform.BadChecksum || d.probe.fragment == first || d.probe.fragment == all || k.Proto == 253 || k.Proto == unix.IPPROTO_DCCP) && d.want.answer == "" && d.want.seen == d.got.seen
	}},
	{"a frame with two priority tags is not answered", func(d *disagreement) bool {
		return d.probe.tags == 2 && d.want.answer != "" && d.got == outcome{}
	}},
	{"a later fragment and --mss: iptables-legacy drops it", func(d *disagreement) bool {
		return d.engine == "legacy" && d.probe.pkt.Proto == unix.IPPROTO_TCP && (d.probe.fragment == later || d.probe.fragment == all)
	}},
	{"IPv4 fragments to this host are put together before INPUT: -f, --length and --mss look at the whole, here at each", func(d *disagreement) bool {
		k := d.probe.pkt
		return d.probe.fragment == all && k.Src.Is4() && side(k.Dst) == atDUT
	}},
	{"a later fragment and a negated port: iptables-nft reads what is not there", func(d *disagreement) bool {
		return d.engine == "nft" && (d.probe.fragment == later || d.probe.fragment == all)
	}},
}

// malformed reports whether the transport header is cut short or lies.
func (p *probe) malformed() bool {
	m := p.pkt.Malform
	return m.Cut > 0 || m.DataOffset > 0 || m.UDPLength > 0
}

// disagreement is a packet that fared differently.
type disagreement struct {
	seed      uint64
	engine    string
	rules     [2]*family
	ipsets    string
	probe     *probe
	want, got outcome
}

func (d *disagreement) explanation() string {
	for _, e := range explained {
		if e.is(d) {
			return e.reason
		}
	}
	return ""
}

// sums is what a run did.
type sums struct {
	rulesets, rules, met           int
	packets, repeated, answered    int
	lost, strays                   int
	passed                         [2]int
	explained                      map[string]int
	making, loading, playing, rest time.Duration
}

// TestStateless plays random packets to random rulesets that read no state: in the kernel's iptables, nft and legacy by turns, and in
// bpfwall every packet has to fare the same.
func TestStateless(t *testing.T) {
	engines := []struct {
		name string
		lab.Engine
	}{{"nft", lab.Nft}, {"legacy", lab.Legacy}}
	rigs := [2]*rig{newRig(t, 0, nil), newRig(t, 1, loadBpfwall)}
	first := firstSeed(t)
	sum := &sums{explained: map[string]int{}}
	start := time.Now()
	for s := first; sum.rulesets < *rulesets && !t.Failed(); s++ {
		e := engines[s%2]
		rigs[0].load = loadKernel(e.Engine)
		compare(t, rigs, s, e.name, e.Engine, sum)
	}
	sum.report(t, time.Since(start))
}

// TestOneHook does the same with rules for one hook alone, where bpfwall is attached at one hook of tc only. What a neighbour has put into
// its packets' tc_index makes no difference.
func TestOneHook(t *testing.T) {
	for _, c := range []struct {
		only, idle string
		tcIndex    int32
	}{
		{"FORWARD", "ingress", 0}, {"FORWARD", "ingress", 0x1100}, {"FORWARD", "ingress", 0xffff},
		{"OUTPUT", "ingress", 0x2000}, {"INPUT", "egress", 0xffff},
	} {
		t.Run(fmt.Sprintf("%s %#x", c.only, c.tcIndex), func(t *testing.T) {
			rigs := [2]*rig{newRig(t, 0, loadKernel(lab.Nft)), newRig(t, 1, loadBpfwall)}
			rigs[1].only = c.only
			for _, far := range []*lab.NS{rigs[1].world.Client, rigs[1].world.Server} {
				if err := rigs[1].watch.forge(far, c.tcIndex); err != nil {
					t.Fatal(err)
				}
			}
			sum := &sums{explained: map[string]int{}}
			start, first := time.Now(), firstSeed(t)
			for s := first; sum.rulesets < max(1, *rulesets/3) && !t.Failed(); s++ {
				compare(t, rigs, s, "nft", lab.Nft, sum)
			}
			sum.report(t, time.Since(start))
			status, err := rigs[1].world.DUT.Bpfwall("status", "--json")
			if err != nil || !strings.Contains(strings.Join(strings.Fields(status), ""), `"idle":["`+c.idle+`"]`) {
				t.Errorf("%v: %s not idle: %s", err, c.idle, status)
			}
		})
	}
}

// firstSeed is -seed, or a new one.
func firstSeed(t *testing.T) uint64 {
	t.Helper()
	first := *seed
	if first == 0 {
		first = rand.Uint64N(1 << 32)
	}
	t.Logf("seed %d", first)
	return first
}

// compare plays one ruleset's packets.
func compare(t *testing.T, rigs [2]*rig, seed uint64, engine string, e lab.Engine, sum *sums) {
	start := time.Now()
	g := &generator{rng: rand.New(rand.NewPCG(seed, 2))}
	g.only = rigs[1].only
	rules := newRules(g, 50<<g.rng.IntN(4)+g.rng.IntN(50))
	each := min(*packets / *rulesets, 130_000) / 2
	probes := append(g.probes(rules[0], each), g.probes(rules[1], each)...)
	n := newRound(probes)
	made := time.Now()
	ipsets := g.ipsets()
	if err := loadBoth(rigs, rules, ipsets); err != nil {
		t.Fatalf("seed %d: %v", seed, err)
	}
	loaded := time.Now()
	results, err := playBoth(rigs, n)
	if err != nil {
		t.Fatalf("seed %d: %v", seed, err)
	}
	played := time.Now()
	sum.count(n, results, rules)
	sum.rulesMet(t, e, rigs[0].world.DUT)
	var found []*disagreement
	for _, d := range confirm(t, rigs, n, results, sum) {
		d.seed, d.engine, d.rules, d.ipsets = seed, engine, rules, ipsets
		if why := d.explanation(); why != "" {
			sum.explained[why]++
		} else {
			found = append(found, d)
		}
	}
	sum.making += made.Sub(start)
	sum.loading += loaded.Sub(made)
	sum.playing += played.Sub(loaded)
	sum.rest += time.Since(played)
	if len(found) > 0 {
		reportAll(t, rigs, found)
	}
}

// loadBoth and playBoth do the same in both worlds at once.
func loadBoth(rigs [2]*rig, rules [2]*family, ipsets string) error {
	return both(func(i int) error { return rigs[i].load(rigs[i], [2]string{rules[0].text, rules[1].text}, ipsets) })
}

func playBoth(rigs [2]*rig, n *round) (out [2]*result, err error) {
	err = both(func(i int) (err error) {
		out[i], err = rigs[i].play(n)
		return err
	})
	return out, err
}

func both(f func(i int) error) error {
	done := make(chan error)
	go func() { done <- f(1) }()
	err := f(0)
	if other := <-done; err == nil {
		err = other
	}
	return err
}

// confirm plays what differs again, alone: a busy machine may lose a packet, but not the same one three times.
func confirm(t *testing.T, rigs [2]*rig, n *round, results [2]*result, sum *sums) []*disagreement {
	for range 3 {
		var again []*probe
		for _, p := range n.probes {
			if results[0].of(p) != results[1].of(p) {
				again = append(again, p)
			}
		}
		if n = newRound(again); len(again) == 0 {
			return nil
		}
		sum.repeated += len(again)
		var err error
		if results, err = playBoth(rigs, n); err != nil {
			t.Fatal(err)
		}
	}
	var out []*disagreement
	for _, p := range n.probes {
		if a, b := results[0].of(p), results[1].of(p); a != b {
			out = append(out, &disagreement{probe: p, want: a, got: b})
		}
	}
	return out
}

func (s *sums) count(n *round, results [2]*result, rules [2]*family) {
	s.rulesets++
	s.packets += len(n.probes)
	for i, r := range results {
		s.lost += n.lost(r)
		s.strays += r.strays
		for _, p := range n.probes {
			if o := r.of(p); o.seen != [3]uint8{} {
				s.passed[i]++
			}
		}
	}
	s.answered += len(results[0].answers)
	for _, f := range rules {
		for _, c := range f.chains {
			s.rules += len(c.rules)
		}
	}
}

var unusedRule = regexp.MustCompile(`(?m)^\[0:0\] -A `)

// rulesMet counts the rules that packets have met.
func (s *sums) rulesMet(t *testing.T, e lab.Engine, n *lab.NS) {
	v4, v6, err := e.Save(n)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{v4, v6} {
		s.met += strings.Count(text, "] -A ") - len(unusedRule.FindAllString(text, -1))
	}
}

func (s *sums) report(t *testing.T, took time.Duration) {
	t.Logf("%d packets by %d rulesets of %d rules (%d met) in %s: %d passed the kernel, %d bpfwall, %d were answered; %d played again, %d lost, %d strays",
		s.packets, s.rulesets, s.rules, s.met, took.Round(time.Millisecond), s.passed[0], s.passed[1], s.answered, s.repeated, s.lost, s.strays)
	t.Logf("%s making, %s loading, %s playing, %s comparing", s.making.Round(time.Millisecond), s.loading.Round(time.Millisecond), s.playing.Round(time.Millisecond), s.rest.Round(time.Millisecond))
	for why, n := range s.explained {
		t.Logf("%d explained: %s", n, why)
	}
	if s.lost+s.strays > s.packets/1000 {
		t.Errorf("%d packets lost, %d strays: the rig is blind", s.lost, s.strays)
	}
	if s.passed[0] < s.packets/10 {
		t.Errorf("only %d packets pass", s.passed[0])
	}
}

// reportAll prints each kind of disagreement once.
func reportAll(t *testing.T, rigs [2]*rig, found []*disagreement) {
	kinds := map[string][]*disagreement{}
	for _, d := range found {
		k := fmt.Sprintf("v6 %t, protocol %d, malformed %t, fragment %d: %s, bpfwall %s", d.probe.pkt.Src.Is6(), d.probe.pkt.Proto, d.probe.malformed(), d.probe.fragment, d.want, d.got)
		kinds[k] = append(kinds[k], d)
	}
	var keys []string
	for k := range kinds {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b string) int { return len(kinds[b]) - len(kinds[a]) })
	for i, k := range keys {
		d := kinds[k][0]
		text := ""
		if i < 3 {
			text = "\n" + d.shrink(rigs)
		}
		if i < 15 {
			t.Errorf("seed %d, %d times: %s %s\n%s%s", d.seed, len(kinds[k]), d.engine, k, d.probe, text)
		}
	}
	t.Errorf("%d disagreements of %d kinds", len(found), len(keys))
}
