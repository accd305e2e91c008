package classify

import "slices"

// listID is a list of rules, without those that cannot be reached: a rule alone, by its number, or an entry of lists behind these.
type listID int32

// lists is lists of cells. Cells with the same rules share one.
type lists struct {
	alone listID // lists below are rules alone
	ids   numbers
	all   [][]int32
	flat  []int32 // the room of the last ones
}

// of is the list of some rules.
func (l *lists) of(rules []int32) listID {
	if len(rules) == 1 {
		return listID(rules[0])
	}
	hash := uint64(0)
	for _, r := range rules {
		hash = mix(hash, uint64(r))
	}
	id, fresh := l.ids.of(hash, func(k int32) bool { return slices.Equal(l.all[k], rules) })
	if fresh {
		l.flat = append(roomy(l.flat, len(rules)), rules...)
		l.all = append(l.all, l.flat[len(l.flat)-len(rules):])
	}
	return l.alone + listID(id)
}

// roomy is a slice with room for so many more elements: another one, if this has none, where others use it bit by bit and need not have it
// in one piece.
func roomy[T any](flat []T, more int) []T {
	if cap(flat)-len(flat) >= more {
		return flat
	}
	return make([]T, 0, max(more, min(2*cap(flat), 1<<14), 256))
}

// rules is the rules of a list.
func (l *lists) rules(id listID) []int32 {
	if id >= l.alone {
		return l.all[id-l.alone]
	}
	return []int32{int32(id)}
}

// gather gives the lists of all matrices numbers in common, in the order of these.
func (l *lists) gather(matrices []*matrix) {
	for _, m := range matrices {
		common := make([]listID, len(m.lists.all))
		for i, rules := range m.lists.all {
			common[i] = l.of(rules)
		}
		for _, row := range m.rows {
			for i, c := range row {
				if c.list >= l.alone {
					row[i].list = common[c.list-l.alone]
				}
			}
		}
		m.lists = lists{}
	}
}

// maxShadows is how many boxes a rule is compared with to find out that it cannot be reached.
const maxShadows = 64

// reachable leaves out the rules all of whose boxes lie in one of earlier rules each: what a rule that ends covers is never met.
func (b *builder) reachable(rules []int32, w *worker) []int32 {
	if len(rules) == 1 || b.rules[rules[0]].Pass != Ends {
		return rules
	}
	w.boxes, w.reached = w.boxes[:0], w.reached[:0]
	for _, r := range rules {
		n := len(w.boxes)
		w.boxes = b.rules[r].appendBoxes(w.boxes, r)
		kept := w.boxes[:n]
		for _, x := range w.boxes[n:] {
			if !b.covered(x, w.boxes[:min(n, maxShadows)]) {
				kept = append(kept, x)
			}
		}
		w.boxes = kept
		if len(kept) > n {
			w.reached = append(w.reached, r)
		}
		if len(kept) > n && b.coversAll(kept[n]) {
			break
		}
	}
	return w.reached
}

// covered reports whether one of the boxes covers x.
func (b *builder) covered(x box, by []box) bool {
	for _, y := range by {
		if y.src.covers(x.src) && y.dst.covers(x.dst) && b.opt.Covers[y.pattern]>>x.pattern&1 != 0 {
			return true
		}
	}
	return false
}

// coversAll reports whether every packet of the cell meets the box.
func (b *builder) coversAll(x box) bool {
	return x.src == anyPort && x.dst == anyPort && b.opt.Covers[x.pattern] == ^uint64(0)
}
