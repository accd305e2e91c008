package classify

import (
	"math/rand/v2"
	"testing"
)

// mutations break what a table's exactness rests on, each in a way that a mistake in the builder could. TestMutations checks that
// comparing lookups with the rules finds every one of them.
var mutations = []struct {
	name   string
	rules  int
	option func(*Options)
	table  func(*Table)
}{
	{"cells are found by their place alone", 300, nil, func(t *Table) {
		for _, s := range t.Subsets {
			for i := range int(s.Size) {
				if cell := s.Cells + 8*i; order.Uint32(t.Data[cell+4:]) == none && i > 0 {
					copy(t.Data[cell:cell+8], t.Data[cell-8:cell])
				}
			}
		}
		spoilOwners(t)
	}},
	{"rules of narrower patterns shadow those of wider ones", 300, func(o *Options) {
		for i := range patterns {
			o.Covers[i] = ^uint64(0)
		}
	}, nil},
	{"ports choose the neighbouring row", 300, nil, func(t *Table) {
		p := t.Ports
		rotate(t.Data[p.Rows:p.Rows+4*p.RowsSize], 4)
	}},
	{"an address belongs to the interval in front", 300, nil, func(t *Table) {
		s := t.Src
		if h := s.Hosts; h != nil {
			rotate(t.Data[s.Records:s.Records+s.Record*int(h.N)], s.Record)
			return
		}
		for i := int(s.Starts) - 1; i > 0; i-- {
			copy(t.Data[s.Records+s.Record*i:][:4*len(t.Subsets)], t.Data[s.Records+s.Record*(i-1):])
		}
	}},
	{"a subset is left out", 300, func(o *Options) { o.cells = 200 }, func(t *Table) { t.Subsets[len(t.Subsets)-1].Size = 0 }},
	{"subsets stop too early", 300, func(o *Options) { o.cells = 200 }, func(t *Table) {
		for i := range t.Subsets {
			t.Subsets[i].First += 20
		}
	}},
	{"lists end after their first rule", 300, nil, func(t *Table) {
		for i := range t.Units / itemUnits {
			t.Data[t.Items+ItemSize*i+LastOffset] = 1
		}
	}},
}

// spoilOwners lets every source's word own every cell of its row's width.
func spoilOwners(t *Table) {
	for _, s := range t.Subsets {
		owner := none
		for i := range int(s.Size) {
			cell := s.Cells + 8*i + 4
			if own := order.Uint32(t.Data[cell:]); own != none && i%3 == 0 {
				owner = own
			}
			order.PutUint32(t.Data[cell:], owner)
		}
	}
}

// rotate moves elements of n bytes by one place.
func rotate(b []byte, n int) {
	last := append([]byte{}, b[len(b)-n:]...)
	copy(b[n:], b[:len(b)-n])
	copy(b, last)
}

func TestMutations(t *testing.T) {
	for _, m := range mutations {
		t.Run(m.name, func(t *testing.T) {
			found := 0
			for seed := range uint64(6) {
				g := generator{rand.New(rand.NewPCG(seed, 99)), Family(seed % 2)}
				opt := testOptions(g.family)
				if m.option != nil {
					m.option(&opt)
				}
				rules := g.rules(m.rules)
				table, err := Build(rules, opt)
				if err != nil {
					t.Fatal(err)
				}
				if m.table != nil && (m.name != "ports choose the neighbouring row" || table.Ports != nil) {
					m.table(table)
				}
				found += differences(g, rules, table, 3000)
			}
			if found == 0 {
				t.Error("nothing was noticed")
			}
		})
	}
}

// differences is how many of n lookups say something else than the rules.
func differences(g generator, rules []Rule, table *Table, n int) (count int) {
	for range n {
		k, _ := g.key()
		want, matches := first(rules, k)
		if got, ok := table.Lookup(k, order); ok != matches || ok && got != want {
			count++
		}
	}
	return count
}
