package classify

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// known is a rule that is told apart from others whatever it says.
type known struct {
	Rule
	name int
}

// edited is rules after one of the things that happen to them.
func (g generator) edited(rules []known, fresh int) []known {
	rules = slices.Clone(rules)
	at := g.IntN(len(rules))
	switch moved := rules[at]; g.IntN(5) {
	case 0, 1:
		return slices.Insert(rules, at, known{g.rule(), fresh})
	case 2:
		return slices.Delete(rules, at, at+1)
	case 3: // the same rule says something else
		rules[at].Rule = g.rule()
	case 4:
		rules = slices.Delete(rules, at, at+1)
		return slices.Insert(rules, g.IntN(len(rules)+1), moved)
	}
	return rules
}

func plain(rules []known) (out []Rule) {
	for _, r := range rules {
		out = append(out, r.Rule)
	}
	return out
}

// Tables whose rules are divided as before answer as the rules say, edit after edit; most edits leave the division.
func TestAgain(t *testing.T) {
	again, all := 0, 0
	for i := range 12 {
		f := Family(i % 2)
		g := generator{rand.New(rand.NewPCG(uint64(i), 200)), f}
		opt := testOptions(f)
		if i%4 > 1 {
			opt.cells = 200 // many subsets
		}
		var rules []known
		for n, r := range g.rules(60 + 20*i) {
			rules = append(rules, known{r, n})
		}
		parts := map[int]uint8{}
		for change := range 25 {
			opt.Was = nil
			for _, r := range rules {
				opt.Was = append(opt.Was, parts[r.name])
			}
			table, err := Build(plain(rules), opt)
			if err != nil {
				t.Fatal(err)
			}
			if n := differences(g, plain(rules), table, 150); n > 0 {
				t.Fatalf("set %d, change %d: %d lookups are wrong", i, change, n)
			}
			checkParts(t, rules, table)
			if change > 0 {
				if all++; table.memory.Drift > 0 {
					again++
				}
			}
			shape := table.Shape()
			opt.Like = &shape
			clear(parts)
			for k, r := range rules {
				parts[r.name] = table.Parts[k]
			}
			rules = g.edited(rules, 1000+change)
		}
	}
	if again < all/2 {
		t.Errorf("%d of %d tables are divided as those before", again, all)
	}
}

// checkParts: every rule is in one of the subsets, with others of its pass, and no subset is without.
func checkParts(t *testing.T, rules []known, table *Table) {
	t.Helper()
	count := make([]int, len(table.Subsets))
	for i, k := range table.Parts {
		if k == 0 || int(k) > len(count) || table.Subsets[k-1].Pass != rules[i].Pass {
			t.Fatalf("rule %d of pass %d is in subset %d of %d", i, rules[i].Pass, k, len(count))
		}
		count[k-1]++
	}
	if slices.Contains(count, 0) {
		t.Fatalf("subsets have %d rules", count)
	}
}

// Whatever is said of how the rules were divided, lookups are right.
func TestAgainNonsense(t *testing.T) {
	for i := range 30 {
		f := Family(i % 2)
		g := generator{rand.New(rand.NewPCG(uint64(i), 201)), f}
		rules := g.rules(40 + 5*i)
		opt := testOptions(f)
		n := 1 + g.IntN(5)
		for range rules {
			opt.Was = append(opt.Was, uint8(1+g.IntN(n+i%3/2)))
		}
		opt.Like = &Shape{Family: f, Memory: Memory{Rules: len(rules), Cells: make([]int, n)}}
		if i%3 == 0 { // what came or went is ignored
			opt.Like.Memory.Drift = -len(rules)
		}
		table, err := Build(rules, opt)
		if err != nil {
			t.Fatal(err)
		}
		if n := differences(g, rules, table, 500); n > 0 {
			t.Errorf("set %d: %d lookups are wrong", i, n)
		}
	}
}

// After many edits the rules are divided from scratch, and so they are when a subset has become too large.
func TestAgainEnds(t *testing.T) {
	g := generator{rand.New(rand.NewPCG(1, 202)), IPv4}
	rules := g.rules(200)
	opt := testOptions(IPv4)
	opt.cells = 2000
	table, err := Build(rules, opt)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name   string
		change func(*Shape)
		drift  int
	}{
		{"as it was", func(*Shape) {}, 0},
		{"one rule has gone", func(s *Shape) { s.Memory.Rules++ }, 1},
		{"most that may", func(s *Shape) { s.Memory.Drift = 25 }, 25},
		{"one more", func(s *Shape) { s.Memory.Drift = 26 }, 0},
		{"of another family", func(s *Shape) { s.Family, s.Memory.Drift = IPv6, 1 }, 0},
		{"one subset less", func(s *Shape) { s.Memory.Cells, s.Memory.Drift = s.Memory.Cells[1:], 1 }, 0},
		{"a subset has no rule left", func(s *Shape) { s.Memory.Cells, s.Memory.Drift = append(s.Memory.Cells, 7), 1 }, 0},
	} {
		shape := table.Shape()
		shape.Memory.Cells = slices.Clone(shape.Memory.Cells)
		test.change(&shape)
		opt.Like, opt.Was = &shape, table.Parts
		next, err := Build(rules, opt)
		if err != nil {
			t.Fatal(err)
		}
		if next.memory.Drift != test.drift {
			t.Errorf("%s: %d rules have changed, want %d", test.name, next.memory.Drift, test.drift)
		}
	}
	for i := range rules {
		rules[i].Pass = Ends
	}
	shape := Shape{Family: IPv4, Memory: Memory{Rules: len(rules), Cells: []int{opt.cells}, Drift: 1}}
	opt.Like, opt.Was = &shape, slices.Repeat([]uint8{1}, len(rules))
	next, err := Build(rules, opt)
	if err != nil {
		t.Fatal(err)
	}
	if next.memory.Drift != 0 {
		t.Errorf("%d cells in one subset are kept, more than %d", next.memory.Cells, opt.cells)
	}
}
