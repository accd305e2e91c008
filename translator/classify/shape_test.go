package classify

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// A table that takes the place of another one answers for its own rules, and mostly has the shape of that one.
func TestLike(t *testing.T) {
	kept, all := 0, 0
	for i := range 6 {
		for f := IPv4; f <= IPv6; f++ {
			g := generator{rand.New(rand.NewPCG(uint64(i), 100+uint64(f))), f}
			rules := g.rules(60 + 40*i)
			opt := testOptions(f)
			if i%2 == 1 {
				opt.cells = 200 // many subsets
			}
			for change := range 5 {
				table, err := Build(rules, opt)
				if err != nil {
					t.Fatal(err)
				}
				if n := differences(g, rules, table, 300); n > 0 {
					t.Fatalf("set %d, family %d, change %d: %d lookups are wrong", i, f, change, n)
				}
				if opt.Like != nil {
					all++
					if shape := table.Shape(); slices.Equal(shape.Rooms, opt.Like.Rooms) && slices.Equal(shape.First, opt.Like.First) {
						kept++
					}
				}
				if !slices.IsSortedFunc(table.Subsets, func(a, b Subset) int { return int(a.Pass) - int(b.Pass) }) {
					t.Fatalf("set %d, family %d, change %d: passes out of order", i, f, change)
				}
				shape := table.Shape()
				opt.Like = &shape
				at := g.IntN(len(rules))
				switch moved := rules[at]; change % 3 {
				case 0:
					rules = slices.Insert(slices.Delete(slices.Clone(rules), at, at+1), 0, moved)
				case 1:
					rules = rules[1:]
				case 2:
					rules = slices.Insert(slices.Clone(rules), at, g.rule())
				}
			}
		}
	}
	if kept < all/4 {
		t.Errorf("%d of %d tables have the shape of those before", kept, all)
	}
}
