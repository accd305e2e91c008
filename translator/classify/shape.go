package classify

import (
	"math/bits"
	"slices"
)

// Shape is the numbers of a table that the code of a lookup has in it. A table that takes the place of another one keeps those that
// suffice, so that the same code can ask it, which then need not be verified again. Arrays have some room to grow for that.
type Shape struct {
	Family   Family
	Rooms    []int // of arrays, elements, in the order of the block of bytes
	Src, Dst SearchShape
	First    []uint32 // of each subset
	MaxList  int
	Dsts     int // classes of destination ports
	Memory   Memory
}

// SearchShape is the same of a search.
type SearchShape struct {
	Base             uint64
	Shift            uint8
	Windows          uint64
	Divided          bool
	Steps, HostSteps int
	Sizes            []int // of words
}

// Shape is the table's.
func (t *Table) Shape() Shape {
	s := Shape{Family: t.Family, Rooms: t.rooms, Src: t.Src.shape(), Dst: t.Dst.shape(), MaxList: t.MaxList, Memory: t.memory}
	for _, of := range t.Subsets {
		s.First = append(s.First, of.First)
	}
	if t.Ports != nil {
		s.Dsts = t.Ports.Dsts
	}
	return s
}

func (s *Search) shape() SearchShape {
	of := SearchShape{Base: s.Base, Shift: s.Shift, Windows: s.Windows, Divided: s.Divided, Steps: s.Steps}
	for _, w := range s.Word {
		of.Sizes = append(of.Sizes, w.Size)
	}
	if s.Hosts != nil {
		of.HostSteps = s.Hosts.Steps
	}
	return of
}

// room is how many elements an array is to have room for: as many as the one that it takes the place of, if that suffices and is not far
// too much. Large ones are what a table's memory goes to, and rules come one by one.
func (l *layout) room(n int) int {
	room := roomFor(n)
	if i := len(l.rooms); i < len(l.like.Rooms) && fits(n, l.like.Rooms[i]) {
		room = l.like.Rooms[i]
	}
	l.rooms = append(l.rooms, room)
	return room
}

func roomFor(n int) int { return n + n/32 + min(n, 1000) + 4 }

// fits reports whether a number that is in the code already is as good as the one that is needed.
func fits(need, has int) bool { return need <= has && has <= 3*need+16 }

// halvings is the steps of a search among as many.
func halvings(most int, like int) int {
	n := bits.Len(uint(most))
	if n <= like && like <= n+2 {
		return like
	}
	return n
}

// listLength is the bound of a list's loop.
func listLength(most, like int) int {
	if like > 0 && fits(most, like) {
		return like
	}
	if most > 1 {
		return (most+2)&^3 + 1
	}
	return most
}

// firstRule is from which rule on a subset may matter. Lower numbers are right too.
func (l *layout) firstRule(subset int, rule uint32) uint32 {
	if subset < len(l.like.First) {
		if was := l.like.First[subset]; was <= rule && rule-was <= 128+rule/8 {
			return was
		}
	}
	return rule &^ 63
}

// settle has subsets change their places so that each has one with the room that it had in the table before: a rule at the front may have
// changed which of them comes first.
func (b *builder) settle(like *Shape, arrays []*packed) {
	n := len(arrays)
	if len(like.First) != n || len(like.Rooms) < n {
		return
	}
	rooms := like.Rooms[len(like.Rooms)-n:]
	for from, to := 0, 0; from < n; from = to {
		for to = from + 1; to < n && b.pass(to) == b.pass(from); to++ {
		}
		if order := fitting(arrays[from:to], rooms[from:to]); order != nil {
			m, a := slices.Clone(b.matrices[from:to]), slices.Clone(arrays[from:to])
			for i, k := range order {
				b.matrices[from+i], arrays[from+i] = m[k], a[k]
			}
		}
	}
}

// fitting is, for each room, the array that is to have it: the one that fills it most like those that rooms are made for; nil: one has none.
func fitting(arrays []*packed, rooms []int) (order []int) {
	taken := make([]bool, len(arrays))
	for _, room := range rooms {
		best, off := -1, 0
		for k, a := range arrays {
			d := max(roomFor(len(a.cells))-room, room-roomFor(len(a.cells)))
			if !taken[k] && fits(len(a.cells), room) && (best < 0 || d < off) {
				best, off = k, d
			}
		}
		if best < 0 {
			return nil
		}
		taken[best] = true
		order = append(order, best)
	}
	return order
}

// pass is that of a subset's rules.
func (b *builder) pass(subset int) Pass { return b.rules[b.matrices[subset].subset.rules[0]].Pass }

// foremost is the first rule of a subset and those behind it in the same pass.
func (b *builder) foremost(subset int) uint32 {
	first := b.matrices[subset].subset.rules[0]
	for i := subset + 1; i < len(b.matrices) && b.pass(i) == b.pass(subset); i++ {
		first = min(first, b.matrices[i].subset.rules[0])
	}
	return uint32(first)
}
