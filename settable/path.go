package settable

// A path stands for nodes that know one way to go on each: the words that have to come next, what holds if they do, and what if not. Both
// the words' number and their values are 16 bits.
const (
	pathWords = 2  // behind the number of words
	PathMatch = 16 // offset of the cell of keys with these words
	PathElse  = 20 // and of that of all others
	PathBytes = 32
	MaxPath   = 7 // words
)

// storePath writes a path, or several where one is too short for the words. One word alone is a node with keys.
func (t *Table) storePath(words []uint16, match, other Cell) (Cell, error) {
	if match == other {
		return match, nil
	}
	if n := len(words) - MaxPath; n > 0 {
		var err error
		if match, err = t.storePath(words[MaxPath:], match, other); err != nil {
			return Out, err
		}
		words = words[:MaxPath]
	}
	if len(words) == 1 {
		w := int(words[0])
		return t.store(addSpan(addSpan([]span{{0, other}}, w, match), w+1, other), directInner)
	}
	off, err := t.alloc(Path)
	if err != nil {
		return Out, err
	}
	t.setWord16(off, uint16(len(words)))
	for i, w := range words {
		t.setWord16(off+pathWords+2*i, w)
	}
	t.setCell(off+PathMatch, match)
	t.setCell(off+PathElse, other)
	return nodeCell(Path, off), nil
}

// follow is a path's cell for a key, and how many of its words that took.
func (t *Table) follow(path Cell, key []uint16) (Cell, int) {
	words := t.wordsOf(path)
	for i, w := range words {
		if i >= len(key) || key[i] != w {
			return t.cell(path.offset() + PathElse), len(key)
		}
	}
	return t.cell(path.offset() + PathMatch), len(words)
}

func (t *Table) wordsOf(path Cell) []uint16 {
	off := path.offset()
	words := make([]uint16, min(int(t.word16(off)), MaxPath))
	for i := range words {
		words[i] = t.word16(off + pathWords + 2*i)
	}
	return words
}

// unfold writes a path as a node for its first word and a path for the others.
func (t *Table) unfold(path Cell) (Cell, error) {
	off, words := path.offset(), t.wordsOf(path)
	other := t.cell(off + PathElse)
	rest, err := t.storePath(words[1:], t.cell(off+PathMatch), other)
	if err != nil {
		return Out, err
	}
	return t.storePath(words[:1], rest, other)
}

// common is how many words from a level on all entries have, without being about less than these words.
func common(entries []Entry, level int) (n int) {
	first, last := &entries[0].Key, &entries[len(entries)-1].Key // they are sorted
	for level+n < MaxWords && first[level+n] == last[level+n] {
		n++
	}
	for i := range entries {
		n = min(n, entries[i].Bits/16-level)
		if n < 2 {
			return 0
		}
	}
	return n
}
