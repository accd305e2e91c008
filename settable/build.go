package settable

import "slices"

// Entry puts the keys that begin with some bits of Key into the set.
type Entry struct {
	Key  Key
	Bits int // of Key that count
	Cell Cell
}

// Replace makes entries, which it sorts, all that a root holds, with one store. The words of a key are as many as levels. Where
// entries lie in each other, the one that stays longest counts.
func (t *Table) Replace(root, levels int, entries []Entry) error {
	slices.SortFunc(entries, func(a, b Entry) int {
		if c := slices.Compare(a.Key[:levels], b.Key[:levels]); c != 0 {
			return c
		}
		return a.Bits - b.Bits
	})
	return t.again(func() error { return t.replace(root, levels, entries) })
}

func (t *Table) replace(root, levels int, entries []Entry) error {
	b := builder{t: t, scratch: make([][]span, MaxWords), spare: maxSpare + len(entries)/entriesPerSpare}
	if !t.grow {
		b.spare = min(b.spare, len(t.mem)/4/classBytes(Direct))
	}
	next, err := b.build(entries, 0, Out)
	if err != nil {
		return err // what was made in vain is lost until the next sweep
	}
	old := t.cell(4 * root)
	t.setCell(4*root, next)
	t.drop(old)
	return nil
}

type builder struct {
	t       *Table
	scratch [][]span // by level
	spare   int      // nodes that may have a cell for every value only to be searched faster
}

// open is an entry that covers what comes behind it.
type open struct {
	end  int // first value behind it
	cell Cell
}

// build makes a node of the entries that have all words before level in common. What is in none of them is as around.
func (b *builder) build(entries []Entry, level int, around Cell) (Cell, error) {
	for len(entries) > 0 && entries[0].Bits <= 16*level {
		around = max(around, entries[0].Cell)
		entries = entries[1:]
	}
	if around == Forever || len(entries) == 0 {
		return around, nil
	}
	if n := common(entries, level); n > 0 {
		match, err := b.build(entries, level+n, around)
		if err != nil {
			return Out, err
		}
		return b.t.storePath(entries[0].Key[level:level+n], match, around)
	}
	spans := append(b.scratch[level][:0], span{0, around})
	stack := []open{{values, around}}
	for i := 0; i < len(entries); {
		e := &entries[i]
		w := int(e.Key[level])
		for w >= stack[len(stack)-1].end {
			end := stack[len(stack)-1].end
			stack = stack[:len(stack)-1]
			spans = addSpan(spans, end, stack[len(stack)-1].cell)
		}
		now := stack[len(stack)-1].cell
		if short := 16*(level+1) - e.Bits; short >= 0 {
			stack = append(stack, open{w + 1<<short, max(now, e.Cell)})
			spans = addSpan(spans, w, max(now, e.Cell))
			i++
			continue
		}
		n := i + 1
		for n < len(entries) && int(entries[n].Key[level]) == w {
			n++
		}
		child, err := b.build(entries[i:n], level+1, now)
		if err != nil {
			return Out, err
		}
		spans = addSpan(addSpan(spans, w, child), w+1, now)
		i = n
	}
	for len(stack) > 1 {
		end := stack[len(stack)-1].end
		stack = stack[:len(stack)-1]
		spans = addSpan(spans, end, stack[len(stack)-1].cell)
	}
	b.scratch[level] = spans
	return b.store(spans, level)
}

// maxSpare nodes are there for speed alone, and one more for so many entries: 16 bytes an entry.
const (
	maxSpare        = 16
	entriesPerSpare = 1 << 14
)

func (b *builder) store(spans []span, level int) (Cell, error) {
	if level == 1 && b.spare > 0 && len(spans) > directFew {
		c, err := b.t.store(spans, directFew)
		if err == nil {
			b.spare--
			return c, nil
		}
		b.spare = 0
	}
	return b.t.store(spans, most(level))
}
