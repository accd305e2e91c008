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
	Starts  uint64 // that there is room for; 1: there is one only
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

// search lays out intervals.
func (l *layout) search(f Family, like *SearchShape, list []interval) *Search {
	s := &Search{}
	list = anchored(list)
	first, starts := []uint32{}, []uint64{}
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
	s.windows(l, like, starts)
	k := len(list[0].record)
	if slices.ContainsFunc(list, func(v interval) bool { return v.start.Lo != 0 }) {
		s.Hosts = l.hosts(list, append(first, uint32(len(list))), like, room)
		s.At, s.Stride = put(l, starts, room-len(starts)), 8
		var records []uint32
		for _, v := range list {
			records = append(records, v.record...)
		}
		s.Records, s.Record = put(l, records, k*(int(s.Hosts.N)-len(list))), 4*k
		return s
	}
	s.Stride = 4 * (1 + k)
	if f == IPv6 {
		s.Stride = 8 * (1 + (k+1)/2)
	}
	s.Record = s.Stride
	s.At = put(l, l.rows(f, list, s.Stride), s.Stride*(room-len(list)))
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

// perStart is how many windows a start gets, about; maxWindows how many there are at most.
const (
	perStart   = 4
	maxWindows = 1 << 18
)

// windows makes the index: as the table before has it, if that is about as good.
func (s *Search) windows(l *layout, like *SearchShape, starts []uint64) {
	begin, want := starts[min(1, len(starts)-1)], uint64(min(max(perStart*len(starts), 16), maxWindows))
	s.Base, s.Shift, s.Windows = like.Base, like.Shift, like.Windows
	if s.Windows > 0 && s.Base <= begin && s.Windows <= 2*want && s.Windows >= want/8 {
		if index, fullest := s.index(starts); bits.Len(uint(fullest)) <= like.Steps {
			s.Steps, s.Index = like.Steps, put(l, index, 0)
			return
		}
	}
	width := starts[len(starts)-1] - begin
	s.Base, s.Shift = begin, 0
	for width>>s.Shift >= want {
		s.Shift++
	}
	s.Windows = width>>s.Shift + 1
	index, fullest := s.index(starts)
	s.Steps, s.Index = halvings(fullest, like.Steps), put(l, index, 0)
}

// index is the last start that is not above the begin of each window, and how many the fullest window has. The last window has all that
// begin behind it.
func (s *Search) index(starts []uint64) (index []uint32, fullest int) {
	index = make([]uint32, s.Windows+1)
	at := 0
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
	return index, fullest
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
