package classify

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
)

// testGroups is the tests' patterns in groups of some.
func testGroups(size int) (out []PatternGroup) {
	for from := 0; from < len(patterns); from += size {
		g := PatternGroup{Mask: (1<<size - 1) << from}
		for v := range uint8(16) {
			g.Values = append(g.Values, met(v)&g.Mask)
		}
		slices.Sort(g.Values)
		g.Values = slices.Compact(g.Values)
		out = append(out, g)
	}
	return out
}

// TestVectors compares bit vectors of random rules with these rules.
func TestVectors(t *testing.T) {
	sets, keys := 24, 1000
	if *long {
		sets, keys = 200, 1_000_000
	}
	for i := range sets {
		for f := IPv4; f <= IPv6; f++ {
			g := generator{rand.New(rand.NewPCG(uint64(i), uint64(f))), f}
			rules := g.rules([]int{1, 2, 64, 65, 200, 1500}[i%6])
			opt := testOptions(f)
			if i%2 == 1 {
				opt.block = 64 << (i % 4)
			}
			v, err := BuildVectors(rules, testGroups([]int{7, 3, 2}[i%3]), opt)
			if err != nil {
				t.Fatal(err)
			}
			if n := differences(g, rules, v, keys); n > 0 {
				t.Fatalf("set %d, family %d: %d of %d lookups are wrong", i, f, n, keys)
			}
		}
	}
}

// TestVectorsRefused: what would take too much memory is refused before it is made, with numbers.
func TestVectorsRefused(t *testing.T) {
	g := generator{rand.New(rand.NewPCG(1, 1)), IPv4}
	opt := testOptions(IPv4)
	opt.MaxBytes = 1 << 16
	_, err := BuildVectors(g.rules(5000), testGroups(7), opt)
	var limit *LimitError
	if !errors.As(err, &limit) {
		t.Fatalf("%v, want a limit", err)
	}
	t.Log(err)
}
