package settable_test

import (
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/bpfwall/bpfwall/settable"
)

// model is a set as a list: what a table has to agree with.
type model []settable.Entry

func (m model) lookup(key []uint16) settable.Cell {
	c := settable.Out
	for _, e := range m {
		if covers(&e, key) {
			c = max(c, e.Cell)
		}
	}
	return c
}

func covers(e *settable.Entry, key []uint16) bool {
	for i, w := range key {
		n := min(max(e.Bits-16*i, 0), 16)
		if (w^e.Key[i])>>(16-n) != 0 && n > 0 {
			return false
		}
	}
	return true
}

// randomEntry makes an entry whose words come from a few values, so that entries meet.
func randomEntry(r *rand.Rand, levels int) settable.Entry {
	words := []uint16{0, 1, 2, 7, 8, 9, 0x7fff, 0x8000, 0xfffe, 0xffff}
	e := settable.Entry{Bits: r.IntN(16*levels + 1), Cell: settable.Forever}
	if r.IntN(3) == 0 {
		e.Bits = 16 * (1 + r.IntN(levels))
	}
	if r.IntN(3) == 0 {
		e.Cell = settable.Until(uint64(1 + r.IntN(5)))
	}
	for i := range levels {
		w := words[r.IntN(len(words))]
		if r.IntN(4) == 0 {
			w = uint16(r.Uint32())
		}
		n := min(max(e.Bits-16*i, 0), 16)
		e.Key[i] = w & uint16(uint32(0xffff0000)>>n)
	}
	return e
}

func check(t *testing.T, table *settable.Table, m model, r *rand.Rand, levels int) {
	t.Helper()
	for range 200 {
		e := randomEntry(r, levels)
		if r.IntN(2) == 0 && len(m) > 0 {
			e = m[r.IntN(len(m))]
			e.Key[levels-1] += uint16(r.IntN(3) - 1)
		}
		key := e.Key[:levels]
		if got, want := table.Lookup(0, key), m.lookup(key); got != want {
			t.Fatalf("%x: got %x, want %x; entries %v", key, got, want, m)
		}
	}
}

// TestRandom: a table made at once, and one made entry by entry, hold what a list of the entries holds.
func TestRandom(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 1))
		levels := []int{1, 2, 4, 8, 18}[r.IntN(5)]
		grown := settable.New()
		var m model
		for range r.IntN(60) {
			e := randomEntry(r, levels)
			m = append(m, e)
			if err := grown.Insert(0, e); err != nil {
				t.Fatal(err)
			}
		}
		check(t, grown, m, r, levels)
		built := settable.New()
		if err := built.Replace(0, levels, append(model{}, m...)); err != nil {
			t.Fatal(err)
		}
		check(t, built, m, r, levels)
	}
}

// TestManySpans makes nodes with a cell for each value, at once and one by one.
func TestManySpans(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 4))
	table := settable.New()
	var m model
	for i := range 9000 {
		e := settable.Entry{Key: settable.Key{uint16(i * 7), uint16(r.Uint32() % 16)}, Bits: 32, Cell: settable.Forever}
		if i%3 == 0 {
			e.Key[0] = 77
			e.Key[1] = uint16(i * 3)
		}
		m = append(m, e)
		if err := table.Insert(0, e); err != nil {
			t.Fatal(err)
		}
	}
	check(t, table, m, r, 2)
	e := settable.Entry{Key: settable.Key{64}, Bits: 10, Cell: settable.Until(9)}
	m = append(m, e)
	if err := table.Insert(0, e); err != nil {
		t.Fatal(err)
	}
	check(t, table, m, r, 2)
	if err := table.Replace(0, 2, append(model{}, m...)); err != nil {
		t.Fatal(err)
	}
	check(t, table, m, r, 2)
}

// TestFull: a table of fixed size takes what fits, uses dropped nodes again after it has waited for readers, and says when it is full.
func TestFull(t *testing.T) {
	waits := 0
	table, err := settable.Open(make([]byte, 1<<16), func() { waits++ })
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, 2))
	var last model
	for i := range 2000 {
		var m model
		for range 2 + i%40 {
			m = append(m, randomEntry(r, 2))
		}
		last = append(model{}, m...)
		if err := table.Replace(0, 2, m); err != nil {
			t.Fatal(err)
		}
	}
	check(t, table, last, r, 2)
	if waits == 0 {
		t.Error("nodes were used again without waiting for readers")
	}
	if err := table.Replace(0, 2, nil); err != nil {
		t.Fatal(err)
	}
	for i := range 65536 {
		e := settable.Entry{Key: settable.Key{uint16(i), uint16(i)}, Bits: 32, Cell: settable.Forever}
		if err = table.Insert(0, e); err != nil {
			break
		}
	}
	if !errors.Is(err, settable.ErrFull) {
		t.Errorf("got %v, want ErrFull", err)
	}
}

func TestOpenRefuses(t *testing.T) {
	if _, err := settable.Open(make([]byte, 8), nil); err == nil {
		t.Error("8 bytes were taken for a table")
	}
	mem := make([]byte, 4096)
	mem[40] = 9
	for i := range 64 {
		mem[i] = 9
	}
	if _, err := settable.Open(mem, nil); err == nil {
		t.Error("something else was taken for a table")
	}
}

// TestGrowing inserts entries that make nodes larger and larger, in a table that has little more room than they need.
func TestGrowing(t *testing.T) {
	table, err := settable.Open(make([]byte, 1<<17), func() {})
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(5, 5))
	var m model
	for i := range 2000 {
		e := settable.Entry{Key: settable.Key{7, uint16(i * 32)}, Bits: 27 + i%2, Cell: settable.Forever}
		m = append(m, e)
		if err := table.Insert(0, e); err != nil {
			t.Fatal(i, err)
		}
	}
	check(t, table, m, r, 2)
}
