package classify

import (
	"encoding/binary"
	"sync"
)

// listID is a list of rules, without those that cannot be reached: a rule alone, by its number, or an entry of lists behind these.
type listID int32

// lists is all lists of cells. Cells with the same rules share one.
type lists struct {
	builder *builder
	mu      sync.Mutex
	ids     map[string]listID
	all     [][]int32
}

// of is the list of some rules, sorted. The rules that can be reached are put in scratch.
func (l *lists) of(rules []int32, w *worker) listID {
	reached := l.builder.reachable(rules, w)
	if len(reached) == 1 {
		return listID(reached[0])
	}
	w.key = w.key[:0]
	for _, r := range reached {
		w.key = binary.LittleEndian.AppendUint32(w.key, uint32(r))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	id, ok := l.ids[string(w.key)]
	if !ok {
		id = listID(len(l.builder.rules) + len(l.all))
		l.ids[string(w.key)] = id
		l.all = append(l.all, append([]int32{}, reached...))
	}
	return id
}

// rules is the rules of a list.
func (l *lists) rules(id listID) []int32 {
	if n := listID(len(l.builder.rules)); id >= n {
		return l.all[id-n]
	}
	return []int32{int32(id)}
}

// maxShadows is how many boxes a rule is compared with to find out that it cannot be reached.
const maxShadows = 64

// reachable leaves out the rules all of whose boxes lie in one of earlier rules each: what a rule covers that decides is never met.
func (b *builder) reachable(rules []int32, w *worker) []int32 {
	if len(rules) == 1 {
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
		if len(kept) > n && b.coversAll(kept[n]) && !b.rules[r].Open {
			break
		}
	}
	return w.reached
}

// covered reports whether one of the boxes, of a rule that decides, covers x.
func (b *builder) covered(x box, by []box) bool {
	for _, y := range by {
		if y.src.covers(x.src) && y.dst.covers(x.dst) && !b.rules[y.rule].Open && b.opt.Covers[y.pattern]>>x.pattern&1 != 0 {
			return true
		}
	}
	return false
}

// coversAll reports whether every packet of the cell meets the box.
func (b *builder) coversAll(x box) bool {
	return x.src == anyPort && x.dst == anyPort && b.opt.Covers[x.pattern] == ^uint64(0)
}
