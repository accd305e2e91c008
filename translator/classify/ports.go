package classify

import (
	"encoding/binary"
	"math"
	"math/bits"
	"slices"
)

// portStage says for long lists which of their rules the ports of a packet leave.
type portStage struct {
	srcClass, dstClass []uint16 // by port
	dsts               int      // classes of destination ports
	combined           []uint32 // srcClass*dsts + dstClass → class of both
	n                  int      // of those
	patterns           []portPair
	buffer             [][]box
	inside             [][]int32 // by pair of ranges: the classes of both that it contains
}

// portPair is a pair of ranges that boxes ask for.
type portPair struct{ src, dst Ports }

// maxCombined is how many pairs of classes of ports there may be.
const maxCombined = 1 << 22

// newPortStage makes the classes of the ports that boxes ask for; nil if they are too many.
func newPortStage(boxes []box) *portStage {
	seen := map[portPair]bool{}
	for _, x := range boxes {
		seen[portPair{x.src, x.dst}] = true
	}
	s := &portStage{}
	for p := range seen {
		s.patterns = append(s.patterns, p)
	}
	slices.SortFunc(s.patterns, func(a, b portPair) int {
		return slices.Compare([]uint16{a.src.From, a.src.To, a.dst.From, a.dst.To}, []uint16{b.src.From, b.src.To, b.dst.From, b.dst.To})
	})
	var srcSets, dstSets [][]uint64
	s.srcClass, srcSets = portClasses(s.patterns, func(p portPair) Ports { return p.src })
	s.dstClass, dstSets = portClasses(s.patterns, func(p portPair) Ports { return p.dst })
	s.dsts = len(dstSets)
	if len(srcSets)*len(dstSets) > maxCombined {
		return nil
	}
	s.combine(srcSets, dstSets)
	return s
}

// portClasses is the class of every port, and for each class the ranges that contain it, as bits.
func portClasses(patterns []portPair, of func(portPair) Ports) (class []uint16, sets [][]uint64) {
	events := []event{0} // the first port is in a class, too
	for i, p := range patterns {
		r := of(p)
		events = append(events, event(r.From)<<32|event(i+1))
		if r.To < math.MaxUint16 {
			events = append(events, event(r.To+1)<<32|event(i+1))
		}
	}
	slices.Sort(events)
	ids := map[string]int{}
	class = make([]uint16, 1<<16)
	set := make([]uint64, (len(patterns)+63)/64)
	for i := 0; i < len(events); {
		port, next := events[i].cut(), int32(len(class))
		for ; i < len(events) && events[i].cut() == port; i++ {
			if n := events[i].operand() - 1; n >= 0 {
				set[n/64] ^= 1 << (n % 64)
			}
		}
		if i < len(events) {
			next = events[i].cut()
		}
		id := uint16(intern(set, ids, &sets))
		for p := port; p < next; p++ {
			class[p] = id
		}
	}
	return class, sets
}

// intern is the number of a set of bits.
func intern(set []uint64, ids map[string]int, sets *[][]uint64) int {
	key := make([]byte, 0, 8*len(set))
	for _, v := range set {
		key = binary.LittleEndian.AppendUint64(key, v)
	}
	id, ok := ids[string(key)]
	if !ok {
		id = len(*sets)
		ids[string(key)] = id
		*sets = append(*sets, slices.Clone(set))
	}
	return id
}

// combine makes the classes of both ports.
func (s *portStage) combine(src, dst [][]uint64) {
	ids := map[string]int{}
	var sets [][]uint64
	both := make([]uint64, (len(s.patterns)+63)/64)
	for _, a := range src {
		for _, b := range dst {
			for i := range both {
				both[i] = a[i] & b[i]
			}
			s.combined = append(s.combined, uint32(intern(both, ids, &sets)))
		}
	}
	s.n = len(sets)
	s.inside = make([][]int32, len(s.patterns))
	for class, set := range sets {
		for i, word := range set {
			for ; word != 0; word &= word - 1 {
				p := 64*i + bits.TrailingZeros64(word)
				s.inside[p] = append(s.inside[p], int32(class))
			}
		}
	}
}

// strided is combined with room for more classes of destination ports, as many as the table before had if that suffices.
func (s *portStage) strided(like int) (combined []uint32, dsts int) {
	dsts = s.dsts + s.dsts/8 + 1
	if fits(s.dsts, like) {
		dsts = like
	}
	for row := range slices.Chunk(s.combined, s.dsts) {
		combined = append(append(combined, row...), make([]uint32, dsts-s.dsts)...)
	}
	return combined, dsts
}

// pattern is the number of a box's pair of ranges.
func (s *portStage) pattern(x box) int {
	n, _ := slices.BinarySearchFunc(s.patterns, portPair{x.src, x.dst}, func(a, b portPair) int {
		return slices.Compare([]uint16{a.src.From, a.src.To, a.dst.From, a.dst.To}, []uint16{b.src.From, b.src.To, b.dst.From, b.dst.To})
	})
	return n
}

// split is, for every class of both ports, those of the boxes whose ranges contain it. The result is good until the next call.
func (s *portStage) split(boxes []box) [][]box {
	if s.buffer == nil {
		s.buffer = make([][]box, s.n)
	}
	out := s.buffer
	for i := range out {
		out[i] = out[i][:0]
	}
	for _, x := range boxes {
		for _, class := range s.inside[s.pattern(x)] {
			out[class] = append(out[class], x)
		}
	}
	return out
}
