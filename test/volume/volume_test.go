package volume

import (
	"errors"
	"flag"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/bpfwall/bpfwall/internal/random"
	"github.com/bpfwall/bpfwall/ruleset"
)

var (
	frames = flag.Int("frames", 200_000, "how many frames TestWhole puts through the programs")
	each   = flag.Int("each", 8000, "frames for each ruleset")
	seed   = flag.Uint64("seed", 0, "of the first ruleset; 0: a new one")
)

// sums is what a run did.
type sums struct {
	frames, notTaken, rulesets, stateful, routers int
	fates                                         map[ruleset.VerdictKind]int
	unjudged                                      int
	kernel, oracle                                time.Duration
}

// TestWhole puts random frames through the whole programs of random rulesets: what becomes of each, who decided and what mark it has
// after that are as packet.Decode and ruleset.Eval say.
func TestWhole(t *testing.T) {
	m := newMachine(t)
	defer m.close()
	s := *seed
	if s == 0 {
		s = rand.Uint64N(1 << 32)
	}
	t.Logf("seed %d", s)
	sum := &sums{fates: map[ruleset.VerdictKind]int{}}
	start := time.Now()
	for ; sum.frames < *frames && !t.Failed(); s++ {
		compareOne(t, m, s, sum)
	}
	t.Logf("%d frames (%d not taken) by %d rulesets (%d with conntrack, %d routers) in %s: %v, %d of them not judged", sum.frames, sum.notTaken, sum.rulesets, sum.stateful, sum.routers,
		time.Since(start).Round(time.Millisecond), sum.fates, sum.unjudged)
	t.Logf("programs %.0f frames/s, Go %.0f frames/s", float64(sum.frames)/sum.kernel.Seconds(), float64(sum.frames)/sum.oracle.Seconds())
}

// compareOne puts frames through the programs of one ruleset.
func compareOne(t *testing.T, m *machine, seed uint64, sum *sums) {
	g := random.New(seed)
	rs := g.Ruleset()
	if g.IntN(3) > 0 {
		stateless(rs)
	}
	m.router = !rs.UsesConntrack() && g.IntN(2) == 0
	if err := m.load(rs); err != nil {
		t.Fatalf("seed %d: %s", seed, err)
	}
	sum.rulesets++
	if rs.UsesConntrack() {
		sum.stateful++
	}
	if m.router {
		sum.routers++
	}
	valid, ways := validFrames(g, 200), waysOf(rs)
	batch := make([]frame, 64)
	for done := 0; done < *each; done += len(batch) {
		for i := range batch {
			batch[i].random(g, valid, ways)
		}
		if i, diff := compareBatch(m, rs, batch, sum); diff != "" {
			report(t, m, rs, &batch[i], seed, diff)
			return
		}
	}
}

// stateless takes out the rules that read the conntrack state.
func stateless(rs *ruleset.Ruleset) {
	for _, c := range rs.Chains {
		c.Rules = slices.DeleteFunc(c.Rules, func(r *ruleset.Rule) bool {
			return slices.ContainsFunc(r.Matches, func(m ruleset.Match) bool { return m.Field == ruleset.FieldState })
		})
	}
	random.Checked(rs) // other rules may be reached now
}

// way is from where to where a frame goes.
type way struct {
	egress    bool
	forwarded bool // at egress: came in by another interface
}

// waysOf is the ways on which packets are judged, and any.
func waysOf(rs *ruleset.Ruleset) []way {
	all := []way{{}, {egress: true}, {egress: true, forwarded: true}}
	out := slices.Clone(all)
	for i, hooks := range [][]ruleset.Hook{{ruleset.HookPrerouting, ruleset.HookInput}, {ruleset.HookRawOutput, ruleset.HookOutput}, {ruleset.HookForward}} {
		for _, c := range rs.Chains {
			if slices.Contains(hooks, c.Hook) {
				out = append(out, all[i], all[i], all[i], all[i])
			}
		}
	}
	return out
}

// random makes a frame of one of some valid ones.
func (f *frame) random(g random.Gen, valid [][]byte, ways []way) {
	f.data, f.way = mutate(g, f.data, valid[g.IntN(len(valid))]), ways[g.IntN(len(ways))]
	f.dev, f.from, f.mark = g.IntN(len(names)), g.IntN(len(names)), random.Pick(g, 0, 0, 1, g.Uint32())
}

// compareBatch compares frame by frame, and tells which differs first and how.
func compareBatch(m *machine, rs *ruleset.Ruleset, batch []frame, sum *sums) (int, string) {
	for i := range batch {
		start := time.Now()
		ret, err := m.verdict(&batch[i])
		ran := time.Now()
		sum.kernel += ran.Sub(start)
		sum.frames++
		if errors.Is(err, errNotTaken) {
			sum.notTaken++
			continue
		}
		if err != nil {
			return i, err.Error()
		}
		want := m.expected(rs, &batch[i])
		sum.oracle += time.Since(ran)
		sum.fates[want.verdict]++
		if !want.judged {
			sum.unjudged++
		}
		if diff := m.agrees(want, ret); diff != "" {
			return i, diff
		}
	}
	return 0, ""
}
