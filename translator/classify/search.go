package classify

import (
	"encoding/binary"
	"math"
	"math/bits"
	"slices"
)

// Search says how to find the record of an address. Records hold a word for each subset: for a source the place where the row of its
// class ends, for a destination how far in front of that the cell is. They belong to intervals, which begin at starts; the first one
// begins at 0. The starts (the upper halves of IPv6 addresses) are divided into windows of equal width, so that only those in the
// window of an address have to be searched. As starts come in clusters, a window with more than a few is divided once more, between the
// first and the last of its starts.
type Search struct {
	Base    uint64 // where the first window begins
	Shift   uint8  // width of a window: 1 << Shift
	Windows uint64
	Starts  uint64 // that there is room for; 1: there is one only. What is behind them is the last address, with the record of the last start
	Index   int    // offset: an entry for each window, and the indices of those that are divided, uint32
	Words   int    // of Index, that there is room for
	Divided bool   // some windows are
	At      int    // offset: the starts, uint32 or (IPv6) uint64
	Stride  int    // bytes from one start to the next
	Steps   int    // halvings that the fullest window needs
	Word    []Word // of a record, by subset
	Records int    // offset: of records. Without Hosts each stands behind its start, in the same line of the cache mostly
	Record  int    // bytes from one record to the next
	Hosts   *Hosts // nil: starts are intervals
}

// Word is where in a record a word is, and its bytes: 2 or 4.
type Word struct{ At, Size int }

// Hosts is how the lower halves of IPv6 addresses are searched.
type Hosts struct {
	First int // offset: for each start, and behind the last, the first of its intervals, uint32
	At    int // offset: the lower half where each interval begins, uint64
	Steps int
	N     uint64 // intervals that there is room for
}

// Halvings is how many steps the longest search takes.
func (s *Search) Halvings() int {
	if s.Hosts != nil {
		return s.Steps + s.Hosts.Steps
	}
	return s.Steps
}

// interval is addresses with the same record.
type interval struct {
	start  Addr
	record []uint32
}

// intervals is the addresses' intervals, and the word of each subset for them. word is what stands for a class.
func intervals(cuts []Addr, views []*view, word func(subset int, class int32) uint32) []interval {
	next := make([]int, len(views))
	record := make([]uint32, len(views))
	out := make([]interval, 0, len(cuts))
	flat := make([]uint32, 0, len(cuts)*len(views))
	for cut, at := range cuts {
		for k, v := range views {
			for next[k] < len(v.runs) && int(v.runs[next[k]].cut) == cut {
				record[k] = word(k, v.runs[next[k]].class)
				next[k]++
			}
		}
		if len(out) == 0 || !slices.Equal(out[len(out)-1].record, record) {
			flat = append(flat, record...)
			out = append(out, interval{at, flat[len(flat)-len(record):]})
		}
	}
	return out
}

// search lays out intervals, whose records have words of these sizes.
func (l *layout) search(f Family, like *SearchShape, list []interval, sizes []int) *Search {
	words, k := placed(sizes)
	s := &Search{Word: words}
	list = anchored(list)
	first, starts := make([]uint32, 0, len(list)+1), make([]uint64, 0, len(list))
	for i, v := range list {
		if i == 0 || v.start.Hi != starts[len(starts)-1] {
			starts, first = append(starts, v.start.Hi), append(first, uint32(i))
		}
	}
	room := 1
	if len(starts) > 1 {
		room = l.room(len(starts))
	}
	s.Starts = uint64(room)
	if len(starts) > 1 {
		s.Starts += Ahead
	}
	s.windows(l, f, like, starts)
	if slices.ContainsFunc(list, func(v interval) bool { return v.start.Lo != 0 }) {
		s.Hosts = l.hosts(list, append(first, uint32(len(list))), like, int(s.Starts))
		s.At, s.Stride, s.Record = put(l, starts, int(s.Starts)-len(starts)), 8, upTo(4, k)
		s.Records = put(l, []uint8{}, s.Record*int(s.Hosts.N))
		l.rows(l.data[s.Records:], list, 0, s)
		return s
	}
	start := f.startSize()
	s.Stride = start + upTo(start, k)
	s.Record = s.Stride
	end := interval{Addr{Hi: f.last()}, list[len(list)-1].record}
	s.At = put(l, []uint8{}, s.Stride*int(s.Starts))
	l.rows(l.data[s.At:], list, start, s)
	l.rows(l.data[s.At+s.Stride*len(list):], slices.Repeat([]interval{end}, int(s.Starts)-len(list)), start, s)
	s.Records = s.At + start
	return s
}

// upTo is n, or the next multiple of a power of two.
func upTo(power, n int) int { return (n + power - 1) &^ (power - 1) }

// startSize is the bytes of a start.
func (f Family) startSize() int {
	if f == IPv4 {
		return 4
	}
	return 8
}

// wordSizes is the bytes that the word of each subset needs: those that it had before if it may soon need them again.
func wordSizes(list []interval, like []int) []int {
	most := make([]uint32, len(list[0].record))
	for _, v := range list {
		for k, w := range v.record {
			if w != none {
				most[k] = max(most[k], w)
			}
		}
	}
	sizes := make([]int, len(most))
	for k, m := range most {
		sizes[k] = 2
		if m >= math.MaxUint16 || m > math.MaxUint16/2 && k < len(like) && like[k] == 4 {
			sizes[k] = 4
		}
	}
	return sizes
}

// placed is where words of these sizes are in a record, the large ones first, and the bytes of them all.
func placed(sizes []int) (words []Word, end int) {
	words = make([]Word, len(sizes))
	for _, size := range []int{4, 2} {
		for k := range sizes {
			if sizes[k] == size {
				words[k] = Word{end, size}
				end += size
			}
		}
	}
	return words, end
}

// rows writes intervals: the start, as far as there is room for one, and the record.
func (l *layout) rows(out []uint8, list []interval, start int, s *Search) {
	for i, v := range list {
		row := out[s.Record*i:]
		switch start {
		case 4:
			l.order.PutUint32(row, uint32(v.start.Hi))
		case 8:
			l.order.PutUint64(row, v.start.Hi)
		}
		for k, w := range v.record {
			if to := row[start+s.Word[k].At:]; s.Word[k].Size == 2 {
				l.order.PutUint16(to, uint16(w))
			} else {
				l.order.PutUint32(to, w)
			}
		}
	}
}

// anchored begins an interval with every upper half: a lower half is searched from there on.
func anchored(list []interval) (out []interval) {
	if !slices.ContainsFunc(list, func(v interval) bool { return v.start.Lo != 0 }) {
		return list
	}
	for i, v := range list {
		if v.start.Lo != 0 && list[i-1].start.Hi != v.start.Hi {
			out = append(out, interval{Addr{Hi: v.start.Hi}, list[i-1].record})
		}
		out = append(out, v)
	}
	return out
}

// What an entry of the index says of a window: the last start that is not above its begin, and how many begin in it. Or, with Divided in
// it, in which word of Index its own index is: where that begins (as wide as a start), its Shift and behind this (from ShiftBits on) its last
// window, and then for each window and the end of the last the last start that is not above its begin.
const (
	FewShift  = 26
	Divided   = 1 << 31
	ShiftBits = 8
)

// Ahead is how many starts are compared at once, and so many there are behind every one that may be found.
const Ahead = 4

// few is how many starts a window may have that is not divided; perStart how many windows a start gets in one that is; maxWindows how many
// there are at most beside those.
const (
	few      = 4
	perStart = 2

	startsPerWindow = 4 // on average, of those that are not divided
	maxWindows      = 1 << 18
)

// grid is windows of equal width, 1 << shift, from base on.
type grid struct {
	base  uint64
	shift uint8
	n     uint64
}

// gridOver is fewer windows than so many, from one address to another, that one included.
func gridOver(from, to, fewer uint64) grid {
	g := grid{base: from}
	for (to-from)>>g.shift >= fewer {
		g.shift++
	}
	g.n = (to-from)>>g.shift + 1
	return g
}

// windows makes the index: as the table before has it, if that is about as good.
func (s *Search) windows(l *layout, f Family, like *SearchShape, starts []uint64) {
	begin, want := starts[min(1, len(starts)-1)], uint64(min(max(len(starts)/startsPerWindow, 16), maxWindows))
	if like.Windows > 0 && like.Base <= begin && like.Windows <= 2*want && like.Windows >= want/8 {
		index, fullest := grid{like.Base, like.Shift, like.Windows}.index(l.order, f, starts)
		divided := len(index) > int(like.Windows)
		if bits.Len(uint(fullest)) <= like.Steps && (like.Divided || !divided) {
			s.Base, s.Shift, s.Windows, s.Steps, s.Divided = like.Base, like.Shift, like.Windows, like.Steps, like.Divided
			s.put(l, index)
			return
		}
	}
	g := gridOver(begin, starts[len(starts)-1], want)
	if (f.last()-g.base)>>g.shift >= g.n {
		g.n++ // one behind all, where an address far from them does not crowd the last one
	}
	index, fullest := g.index(l.order, f, starts)
	s.Base, s.Shift, s.Windows = g.base, g.shift, g.n
	s.Steps, s.Divided = halvings(fullest, like.Steps), len(index) > int(g.n)
	s.put(l, index)
}

func (s *Search) put(l *layout, index []uint32) {
	s.Words = len(index)
	if s.Divided {
		s.Words = l.room(len(index))
	}
	s.Index = put(l, index, s.Words-len(index))
}

// index is the entries of the windows, and the indices of those that are divided; fullest is how many starts have to be searched at most.
func (g grid) index(order binary.ByteOrder, f Family, starts []uint64) (index []uint32, fullest int) {
	firsts := g.firsts(starts)
	index = make([]uint32, g.n)
	for w, from := range firsts[:g.n] {
		n := firsts[w+1] - from
		if n <= few {
			index[w] = n<<FewShift | from
			fullest = max(fullest, int(n))
			continue
		}
		if f == IPv6 && len(index)%2 == 1 {
			index = append(index, 0) // a head begins with 8 bytes, which some machines load from multiples of 8 only
		}
		index[w] = Divided | uint32(len(index))
		sub := gridOver(starts[from+1], starts[from+n], uint64(perStart*n))
		sub.base -= min(sub.base, 1<<sub.shift) // so that the first window begins before the first start
		sub.n = (starts[from+n]-sub.base)>>sub.shift + 1
		index = append(index, sub.head(f, order)...)
		for i, first := range sub.firsts(starts[from : from+n+1]) {
			index = append(index, from+first)
			if i > 0 {
				fullest = max(fullest, int(from+first-index[len(index)-2]))
			}
		}
	}
	return index, fullest
}

// head is what stands in front of the index of a divided window.
func (g grid) head(f Family, order binary.ByteOrder) []uint32 {
	last := uint32(g.n-1)<<ShiftBits | uint32(g.shift)
	if f == IPv4 {
		return []uint32{uint32(g.base), last}
	}
	var base [8]byte
	order.PutUint64(base[:], g.base)
	return []uint32{order.Uint32(base[:]), order.Uint32(base[4:]), last}
}

// HeadWords is how many words that is.
func (f Family) HeadWords() int {
	if f == IPv4 {
		return 2
	}
	return 3
}

// firsts is the last start that is not above the begin of each window, and the last of all. The last window has all that begin behind it.
func (g grid) firsts(starts []uint64) []uint32 {
	out := make([]uint32, g.n+1)
	at := 0
	for w := range out {
		begin := g.base + uint64(w)<<g.shift
		for at+1 < len(starts) && (starts[at+1] <= begin || w == len(out)-1) {
			at++
		}
		out[w] = uint32(at)
	}
	return out
}

// hosts lays out the lower halves. first is the first interval of each start.
func (l *layout) hosts(list []interval, first []uint32, like *SearchShape, starts int) *Hosts {
	lows, most := make([]uint64, len(list)), uint32(0)
	for i, v := range list {
		lows[i] = v.start.Lo
	}
	for i := range first[1:] {
		most = max(most, first[i+1]-first[i]-1)
	}
	room := l.room(len(list))
	h := &Hosts{N: uint64(room), Steps: halvings(int(most), like.HostSteps)}
	h.First, h.At = put(l, first, starts+1-len(first)), put(l, lows, room-len(lows))
	return h
}
