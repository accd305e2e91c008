package classify

// numbers gives equal things the same number, the first one 0: a table by their hashes. What they are is the caller's to keep, and whether
// they are equal the caller's to say, so that no thing has to become a string first.
type numbers struct {
	slots  []int32  // number + 1, by hash; a power of two
	hashes []uint64 // by number
}

// reset forgets all, and makes room for some.
func (t *numbers) reset(room int) {
	size := 16
	for size < 2*room {
		size *= 2
	}
	if size <= cap(t.slots) {
		t.slots = t.slots[:size]
		clear(t.slots)
	} else {
		t.slots = make([]int32, size)
	}
	t.hashes = t.hashes[:0]
}

// of is the number of a thing with a hash, and whether it is a new one. same says whether a thing with the hash is the one of a number.
func (t *numbers) of(hash uint64, same func(int32) bool) (number int32, fresh bool) {
	if 2*len(t.hashes) >= len(t.slots) {
		t.grow()
	}
	mask := uint64(len(t.slots) - 1)
	for at := hash & mask; ; at = (at + 1) & mask {
		n := t.slots[at] - 1
		if n < 0 {
			t.slots[at] = int32(len(t.hashes)) + 1
			t.hashes = append(t.hashes, hash)
			return int32(len(t.hashes)) - 1, true
		}
		if t.hashes[n] == hash && same(n) {
			return n, false
		}
	}
}

// grow doubles the table.
func (t *numbers) grow() {
	t.slots = make([]int32, max(16, 2*len(t.slots)))
	mask := uint64(len(t.slots) - 1)
	for n, hash := range t.hashes {
		at := hash & mask
		for ; t.slots[at] != 0; at = (at + 1) & mask {
		}
		t.slots[at] = int32(n) + 1
	}
}

// hashes is a set of hashes of 128 bits, without 0.
type hashes [][2]uint64

// reset forgets all, and makes room for some.
func (t *hashes) reset(room int) {
	size := 16
	for 3*size < 4*room {
		size *= 2
	}
	if size > cap(*t) {
		*t = make(hashes, size)
		return
	}
	*t = (*t)[:size]
	clear(*t)
}

// add puts a hash in, and reports whether it was not there.
func (t hashes) add(hash [2]uint64) bool {
	if hash == [2]uint64{} {
		return false
	}
	mask := uint64(len(t) - 1)
	for at := hash[0] & mask; ; at = (at + 1) & mask {
		switch t[at] {
		case hash:
			return false
		case [2]uint64{}:
			t[at] = hash
			return true
		}
	}
}

// mix goes on with a hash, by a word: the finish of SplitMix64.
func mix(hash, word uint64) uint64 {
	h := hash + word + 0x9e3779b97f4a7c15
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	return h ^ h>>31
}
