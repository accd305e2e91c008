package classify

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// mutations break what a table's exactness rests on, each in a way that a mistake in the builder could. TestMutations checks that
// comparing lookups with the rules finds every one of them.
var mutations = []struct {
	name   string
	option func(*Options)
	rule   func(*Rule)
	table  func(*Table)
}{
	{name: "cells are found by their place alone", table: func(t *Table) {
		for _, s := range t.Subsets {
			for i := range int(s.Size) {
				if at := s.Cells + ItemSize*i; order.Uint32(t.Data[at:]) == none && i > 0 {
					copy(t.Data[at:][:ItemSize], t.Data[at-ItemSize:])
				}
			}
		}
		spoilOwners(t)
	}},
	{name: "rules of narrower patterns shadow those of wider ones", option: func(o *Options) {
		for i := range patterns {
			o.Covers[i] = ^uint64(0)
		}
	}},
	{name: "ports choose the neighbouring row", table: func(t *Table) {
		p := t.Ports
		rotate(t.Data[p.Rows:p.Rows+4*p.RowsSize], 4)
	}},
	{name: "an address belongs to the interval in front", table: func(t *Table) {
		s := t.Src
		if h := s.Hosts; h != nil {
			rotate(t.Data[s.Records:s.Records+s.Record*int(h.N)], s.Record)
			return
		}
		for i := int(s.Starts) - 1; i > 0; i-- {
			copy(t.Data[s.Records+s.Record*i:][:s.Record-(s.Records-s.At)], t.Data[s.Records+s.Record*(i-1):])
		}
	}},
	{name: "a subset is left out", option: func(o *Options) { o.cells = 200 }, table: func(t *Table) { t.Subsets[0].Size = 0 }},
	{name: "subsets stop too early", option: func(o *Options) { o.cells = 200 }, table: func(t *Table) {
		for i := range t.Subsets {
			t.Subsets[i].First += 20
		}
	}},
	{name: "open rules shadow others", rule: func(r *Rule) { r.Pass = Ends }},
	{name: "lists end after their first rule", table: func(t *Table) {
		for i := range t.MaxItems {
			t.Data[t.Items+ItemSize*i+AnswerOffset] |= uint8(IsLast) // the lowest byte: order is that of the test
		}
	}},
}

// spoilOwners lets every source's word own every cell of its row's width.
func spoilOwners(t *Table) {
	for _, s := range t.Subsets {
		owner := none
		for i := range int(s.Size) {
			cell := s.Cells + ItemSize*i
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
				rules := g.rules(300)
				changed := slices.Clone(rules)
				for i := range changed {
					if m.rule != nil {
						m.rule(&changed[i])
					}
				}
				table, err := Build(changed, opt)
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

// vectorMutations are the same of bit vectors.
var vectorMutations = []struct {
	name   string
	change func(*Vectors)
}{
	{"aggregates leave words out", func(v *Vectors) {
		v.eachRow(func(row []byte) { order.PutUint64(row, order.Uint64(row)&^(1<<3)) })
	}},
	{"a rule's bit is in no row", func(v *Vectors) {
		v.eachRow(func(row []byte) { order.PutUint64(row[8:], order.Uint64(row[8:])&^(1<<9)) })
	}},
	{"a rule's bit is in every row", func(v *Vectors) {
		v.eachRow(func(row []byte) { order.PutUint64(row[8:], order.Uint64(row[8:])|1<<9) })
	}},
	{"values of a dimension have the row of their neighbours", func(v *Vectors) {
		s := v.Dims[len(v.Dims)-1].Search
		for i := int(s.Starts) - 1; i > 0; i-- {
			copy(v.Data[s.Records+s.Record*i:][:4*v.Blocks], v.Data[s.Records+s.Record*(i-1):])
		}
	}},
	{"a dimension is left out", func(v *Vectors) { v.Dims = v.Dims[1:] }},
	{"all blocks but the first are left out", func(v *Vectors) { v.Blocks = 1 }},
	{"a bit's place is wrong", func(v *Vectors) { v.Data[v.Lowest+DeBruijn<<5%(1<<64)>>58] ^= 1 }},
}

// eachRow visits the bytes of all rows.
func (v *Vectors) eachRow(visit func(row []byte)) {
	size := 8 * (1 + v.Block/64)
	for at := v.Rows; at+size <= v.Rows+8*v.Units; at += size {
		visit(v.Data[at:][:size])
	}
}

func TestVectorMutations(t *testing.T) {
	for _, m := range vectorMutations {
		t.Run(m.name, func(t *testing.T) {
			found := 0
			for seed := range uint64(6) {
				g := generator{rand.New(rand.NewPCG(seed, 99)), Family(seed % 2)}
				rules := g.rules(1300)
				opt := testOptions(g.family)
				opt.block = 512
				v, err := BuildVectors(rules, testGroups(7), opt)
				if err != nil {
					t.Fatal(err)
				}
				if v.Blocks < 2 {
					t.Fatalf("%d block", v.Blocks)
				}
				m.change(v)
				found += differences(g, rules, v, 2000)
			}
			if found == 0 {
				t.Error("nothing was noticed")
			}
		})
	}
}

// differences is how many of n lookups say something else than the rules.
func differences(g generator, rules []Rule, of finder, n int) (count int) {
	for range n {
		k, _ := g.key()
		if !slices.Equal(of.way(k, rules), way(rules, k)) {
			count++
		}
	}
	return count
}

// finder is what finds all rules that a key meets, up to the first that ends.
type finder interface {
	way(k Key, rules []Rule) []uint32
}
