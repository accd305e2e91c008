package translator

import (
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/bpfwall/bpfwall/bpf"
	"github.com/bpfwall/bpfwall/internal/classbench"
	"github.com/bpfwall/bpfwall/internal/random"
	"github.com/bpfwall/bpfwall/ruleset"
)

var agreePackets = flag.Int("packets", bulk, "packets of each ruleset that all engines are tried with")

// allEngines are what every ruleset is tried under.
var allEngines = []Engine{EngineCode, EngineForks, EngineClassifiers, EngineVectors}

// subject is a ruleset under an engine, which judges packets in bulk at INPUT.
type subject struct {
	name   string
	judge  *judge
	replay *classbench.Replay
	ids    map[uint32]string // by slot
}

// bulk is how many packets go through a program at a time.
const bulk = 1 << 12

func newSubject(tb testing.TB, rs *ruleset.Ruleset, e Engine) *subject {
	tb.Helper()
	o, err := Options{Engine: e}.Translate(rs, Slots{})
	if err != nil {
		tb.Fatalf("%s: %v", engineNames[e], err)
	}
	maps.DeleteFunc(o.Spec.Programs, func(name string, _ *ebpf.ProgramSpec) bool { return name != "fw_judge" })
	classbench.Prepare(o.Spec, "fw_input", bulk)
	s := &subject{name: engineNames[e], judge: load(tb, o, 16), ids: map[uint32]string{}}
	s.replay = classbench.NewReplay(s.judge.coll)
	for id, slot := range o.Slots.Counters {
		s.ids[slot] = id
	}
	return s
}

// judgeAll is what becomes of packets.
func (s *subject) judgeAll(tb testing.TB, packets []ruleset.Packet) []result {
	tb.Helper()
	pkts := make([]bpf.Pkt, bulk)
	for i := range packets {
		pkts[i] = s.judge.out.Pkt(&packets[i], ruleset.HookInput)
	}
	codes, err := s.replay.Run(pkts)
	if err != nil {
		tb.Fatal(err)
	}
	out := make([]result, len(packets))
	for i := range out {
		v := ruleset.Verdict{Kind: ruleset.VerdictKind(codes[i] & 0xff), With: ruleset.RejectWith(codes[i] >> 8)}
		out[i] = result{Verdict: v.String(), Mark: pkts[i].Mark, NoTrack: pkts[i].Notrack != 0, Synned: pkts[i].Synproxy != 0, Rule: s.ids[pkts[i].Rule]}
	}
	return out
}

// agreement compares engines with a reference, and reports how many packets were judged.
type agreement struct {
	rules     *ruleset.Ruleset
	packet    func() ruleset.Packet
	reference func(p *ruleset.Packet) result
	ends      func(t *testing.T, s *subject) // after all packets
}

func (a *agreement) run(t *testing.T, packets int) {
	var all []*subject
	for _, e := range allEngines {
		all = append(all, newSubject(t, a.rules, e))
	}
	n := 0
	for ; n < packets; n += bulk {
		batch, want := make([]ruleset.Packet, bulk), make([]result, bulk)
		for i := range batch {
			batch[i] = a.packet()
			want[i] = a.reference(&batch[i])
		}
		for _, s := range all {
			got := s.judgeAll(t, batch)
			for i := range got {
				if got[i] != want[i] {
					t.Fatalf("%s: %+v, want %+v\npacket %+v\n%s", s.name, got[i], want[i], batch[i], shrunk(t, a.rules, batch[i], s.name))
				}
			}
		}
	}
	for _, s := range all {
		if a.ends != nil {
			a.ends(t, s)
		}
	}
	t.Logf("%d packets under each of %d engines, no difference", n, len(all))
}

// shrunk is the fewest rules with which an engine still judges a packet unlike the evaluator.
func shrunk(t *testing.T, rs *ruleset.Ruleset, p ruleset.Packet, engine string) *ruleset.Ruleset {
	e, err := ParseEngine(engine)
	if err != nil {
		t.Fatal(err)
	}
	differs := func() bool {
		if rs.Check() != nil {
			return false
		}
		q := p
		return newSubject(t, rs, e).judgeAll(t, []ruleset.Packet{p})[0] != eval(rs, &q, ruleset.HookInput, nil)
	}
	for size := 256; size > 0; size /= 2 {
		for _, c := range rs.Chains {
			for at := 0; at+size <= len(c.Rules); {
				before := c.Rules
				c.Rules = slices.Delete(slices.Clone(before), at, at+size)
				if !differs() {
					c.Rules = before
					at += size
				}
			}
		}
	}
	return rs
}

// TestEnginesAgree compares every engine with the evaluator on rules that overlap: verdicts, marks, who decided, and all counters.
func TestEnginesAgree(t *testing.T) {
	first := *seed
	if first == 0 {
		first = rand.Uint64N(1 << 32)
	}
	for i := range 10 {
		s := first + uint64(i)
		f, n := []ruleset.Family{ruleset.FamilyIPv4, ruleset.FamilyIPv6, ruleset.FamilyAny}[i%3], []int{40, 100, 300}[i/3%3]
		t.Run(fmt.Sprintf("seed=%d,%s,%d", s, f, n), func(t *testing.T) {
			g := newGen(s)
			rs := g.overlapping(f, n)
			want := map[string]bpf.Counter{}
			a := agreement{rules: rs, packet: g.Packet,
				reference: func(p *ruleset.Packet) result {
					q := *p
					expect(want, rs, ruleset.HookInput, &q)
					return eval(rs, p, ruleset.HookInput, nil)
				},
				ends: func(t *testing.T, s *subject) { s.judge.counted(t, rs, want) }}
			a.run(t, *agreePackets)
		})
	}
}

// TestEnginesAgreeOnHostile compares every engine on hostile rules with the evaluator, and with what these rules mean as boxes.
func TestEnginesAgreeOnHostile(t *testing.T) {
	n := 300
	if *long {
		n = 1500
	}
	for kind, h := range random.Hostile {
		for _, f := range []ruleset.Family{ruleset.FamilyIPv4, ruleset.FamilyIPv6} {
			t.Run(fmt.Sprintf("%s, %s", h.Name, f), func(t *testing.T) {
				g := random.New(uint64(kind) + *seed)
				boxes := g.Boxes(kind, n)
				rs := random.HostileRules(f, boxes)
				var points []random.Point
				judged := 0
				a := agreement{rules: rs,
					packet: func() ruleset.Packet {
						points = append(points, g.Point(boxes))
						return points[len(points)-1].Packet(f)
					},
					reference: func(p *ruleset.Packet) result {
						r := boxResult(rs, boxes, &points[len(points)-1])
						if judged++; judged%16 == 0 && eval(rs, p, ruleset.HookInput, nil) != r {
							t.Fatalf("%+v: the boxes say %+v", p, r)
						}
						points = points[:0]
						return r
					}}
				a.run(t, *agreePackets)
			})
		}
	}
}

// boxResult is what rules of boxes say of a packet.
func boxResult(rs *ruleset.Ruleset, boxes []random.Box, p *random.Point) result {
	c := rs.Chains[0]
	i := random.FirstBox(boxes, p)
	if i < 0 {
		return result{Verdict: c.Policy.String(), Rule: c.PolicyID()}
	}
	return result{Verdict: c.Rules[i].Verdict.String(), Rule: c.Rules[i].ID}
}
