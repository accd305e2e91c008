package translator

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/bpfwall/bpfwall/bpf"
	"github.com/bpfwall/bpfwall/internal/random"
	"github.com/bpfwall/bpfwall/ruleset"
)

var (
	long = flag.Bool("long", false, "run many more random rulesets")
	seed = flag.Uint64("seed", 0, "seed of the first random ruleset; 0: a new one")
)

// gen is the source of random rulesets and packets, with what tests here add to it.
type gen struct{ random.Gen }

func newGen(seed uint64) gen { return gen{random.New(seed)} }

func pick[T any](g gen, from ...T) T { return random.Pick(g.Gen, from...) }

// TestRandom compares the evaluator and the compiled program on random rulesets and packets: verdicts, marks, who decided, and in
// the end all counters.
func TestRandom(t *testing.T) {
	first, n := *seed, 60
	if first == 0 {
		first = rand.Uint64N(1 << 32)
	}
	if *long {
		n = 2000
	}
	refused := 0
	for i := range n {
		s := first + uint64(i)
		for _, e := range []Engine{EngineAuto, EngineForks, EngineClassifiers, EngineVectors} {
			t.Run(fmt.Sprintf("seed=%d,engine=%d", s, e), func(t *testing.T) { refused += compareRandom(t, newGen(s), e) })
		}
		if t.Failed() {
			return
		}
	}
	if refused > 1+n/20 {
		t.Errorf("engines that were forced refused %d of %d rulesets", refused, n)
	}
}

// compareRandom judges random packets by a random ruleset. A forced engine may refuse it, for which 1 is returned; that of our choice may not.
func compareRandom(t *testing.T, g gen, engine Engine) (refused int) {
	rs := g.Ruleset()
	out, err := Options{Engine: engine}.Translate(rs, Slots{})
	var limit *LimitError
	switch {
	case engine != EngineAuto && errors.As(err, &limit):
		return 1
	case err != nil:
		t.Fatal(err)
	}
	j := judgeBy(t, out)
	want := map[string]bpf.Counter{}
	for range 60 {
		p, h := g.Packet(), pick(g, ruleset.Hooks...)
		j.agree(t, rs, &p, h, nil)
		expect(want, rs, h, &p)
	}
	j.counted(t, rs, want)
	return 0
}
