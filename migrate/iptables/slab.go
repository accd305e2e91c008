package iptables

// slab gives out values of arrays, so that the many small things that rules are made of do not each cost an allocation. An array is
// kept as long as one of its values is: these are made together and live as long as each other.
type slab[T any] struct {
	free []T
	size int // of the last array
}

// The first array is small, as most files are.
const firstSlab, largestSlab = 8, 256

// take is n zero values.
func (s *slab[T]) take(n int) []T {
	if n > len(s.free) {
		s.size = min(max(2*s.size, firstSlab), largestSlab)
		s.free = make([]T, max(n, s.size))
	}
	out := s.free[:n:n]
	s.free = s.free[n:]
	return out
}

// one is a zero value.
func (s *slab[T]) one() *T { return &s.take(1)[0] }
