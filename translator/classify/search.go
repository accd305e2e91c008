package classify

import (
	"math/bits"
	"slices"
)

// Search says how to find the record of an address. Records hold a word for each subset: for a source the place where the row of its
// class begins, for a destination how far from there the cell is. They belong to intervals, which begin at starts; the first one
// begins at 0. The starts (the upper halves of IPv6 addresses) are divided into windows of equal width, so that only those in the
// window of an address have to be searched.
type Search struct {
	Base    uint64 // where the first window begins
	Shift   uint8  // width of a window: 1 << Shift
	Windows uint64
	Starts  uint64 // number of them
	Index   int    // offset: for each window, and the end of the last, the last start that is not above its begin, uint32
	At      int    // offset: the starts, uint32 or (IPv6) uint64
	Stride  int    // bytes from one start to the next
	Steps   int    // halvings that the fullest window needs
	Records int    // offset: of records, uint32 for each subset. Without Hosts each stands behind its start, in the same line of the cache mostly
	Record  int    // bytes from one record to the next
	Hosts   *Hosts // nil: starts are intervals
}

// Hosts is how the lower halves of IPv6 addresses are searched.
type Hosts struct {
	First int // offset: for each start, and behind the last, the first of its intervals, uint32
	At    int // offset: the lower half where each interval begins, uint64
	Steps int
	N     uint64 // intervals
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
	var out []interval
	for cut, at := range cuts {
		for k, v := range views {
			for next[k] < len(v.runs) && int(v.runs[next[k]].cut) == cut {
				record[k] = word(k, v.runs[next[k]].class)
				next[k]++
			}
		}
		if len(out) == 0 || !slices.Equal(out[len(out)-1].record, record) {
			out = append(out, interval{at, slices.Clone(record)})
		}
	}
	return out
}

// search lays out intervals.
func (l *layout) search(f Family, list []interval) *Search {
	s := &Search{}
	list = anchored(list)
	first, starts := []uint32{}, []uint64{}
	for i, v := range list {
		if i == 0 || v.start.Hi != starts[len(starts)-1] {
			starts, first = append(starts, v.start.Hi), append(first, uint32(i))
		}
	}
	s.Starts = uint64(len(starts))
	s.windows(l, starts)
	k := len(list[0].record)
	if slices.ContainsFunc(list, func(v interval) bool { return v.start.Lo != 0 }) {
		s.Hosts = l.hosts(list, append(first, uint32(len(list))))
		s.At, s.Stride = put(l, starts, 0), 8
		var records []uint32
		for _, v := range list {
			records = append(records, v.record...)
		}
		s.Records, s.Record = put(l, records, 0), 4*k
		return s
	}
	s.Stride = 4 * (1 + k)
	if f == IPv6 {
		s.Stride = 8 * (1 + (k+1)/2)
	}
	s.Record = s.Stride
	s.At = put(l, l.rows(f, list, s.Stride), 0)
	s.Records = s.At + 4
	if f == IPv6 {
		s.Records = s.At + 8
	}
	return s
}

// rows is starts with their records behind them.
func (l *layout) rows(f Family, list []interval, stride int) []uint8 {
	out := make([]uint8, stride*len(list))
	for i, v := range list {
		row := out[stride*i:]
		if f == IPv6 {
			l.order.PutUint64(row, v.start.Hi)
			row = row[8:]
		} else {
			l.order.PutUint32(row, uint32(v.start.Hi))
			row = row[4:]
		}
		for k, w := range v.record {
			l.order.PutUint32(row[4*k:], w)
		}
	}
	return out
}

// anchored begins an interval with every upper half: a lower half is searched from there on.
func anchored(list []interval) (out []interval) {
	for i, v := range list {
		if v.start.Lo != 0 && list[i-1].start.Hi != v.start.Hi {
			out = append(out, interval{Addr{Hi: v.start.Hi}, list[i-1].record})
		}
		out = append(out, v)
	}
	return out
}

// perStart is how many windows a start gets, about; maxWindows how many there are at most.
const (
	perStart   = 4
	maxWindows = 1 << 18
)

// windows makes the index.
func (s *Search) windows(l *layout, starts []uint64) {
	if len(starts) > 1 {
		s.Base = starts[1]
	}
	width := starts[len(starts)-1] - s.Base
	want := min(max(perStart*len(starts), 16), maxWindows)
	for width>>s.Shift >= uint64(want) {
		s.Shift++
	}
	s.Windows = width>>s.Shift + 1
	index := make([]uint32, s.Windows+1)
	at, fullest := 0, 0
	for w := range index {
		begin := s.Base + uint64(w)<<s.Shift
		for at+1 < len(starts) && (starts[at+1] <= begin || w == len(index)-1) {
			at++
		}
		index[w] = uint32(at)
		if w > 0 {
			fullest = max(fullest, at-int(index[w-1]))
		}
	}
	s.Steps = bits.Len(uint(fullest))
	s.Index = put(l, index, 0)
}

// hosts lays out the lower halves. first is the first interval of each start.
func (l *layout) hosts(list []interval, first []uint32) *Hosts {
	lows, most := make([]uint64, len(list)), uint32(0)
	for i, v := range list {
		lows[i] = v.start.Lo
	}
	for i := range first[1:] {
		most = max(most, first[i+1]-first[i]-1)
	}
	h := &Hosts{N: uint64(len(list)), Steps: bits.Len32(most)}
	h.First, h.At = put(l, first, 0), put(l, lows, 0)
	return h
}
