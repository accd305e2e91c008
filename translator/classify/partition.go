package classify

import (
	"math"
	"slices"
	"sync"
	"sync/atomic"
)

// subset is rules with what they are in each dimension, and the number of cells that they want: for each rule the pairs of classes in its
// source and destination.
type subset struct {
	rules    []int32 // sorted
	src, dst []event // of their operands
	cells    int
}

// tooMany stands for a number of cells that cannot be had.
const tooMany = math.MaxInt / 4

// scratch is what one goroutine works on.
type scratch struct {
	sweep    sweep
	in       []bool // by operand
	srcSizes []int32
	dstSizes []int32
	merge    []event
}

// scratches are those that no goroutine works on: what one has room for, the next need not make, and the kernel not give.
var scratches = sync.Pool{New: func() any { return new(scratch) }}

// part is those of a subset's rules, without their cells.
func (b *builder) part(of *subset, rules []int32, w *scratch) *subset {
	return &subset{rules: rules, src: b.src.part(of.src, rules, w), dst: b.dst.part(of.dst, rules, w)}
}

// part is those of some events that belong to rules.
func (d *dimension) part(events []event, rules []int32, w *scratch) []event {
	in := w.marked(d, rules)
	out := make([]event, 0, min(len(events), 2*len(rules)))
	for _, e := range events {
		if in[e.operand()] {
			out = append(out, e)
		}
	}
	w.unmark(d, rules)
	return out
}

// marked says which operands some rules have, until unmark.
func (w *scratch) marked(d *dimension, rules []int32) []bool {
	if len(w.in) < d.n {
		w.in = make([]bool, d.n)
	}
	for _, r := range rules {
		w.in[d.operand[r]] = true
	}
	return w.in
}

func (w *scratch) unmark(d *dimension, rules []int32) {
	for _, r := range rules {
		w.in[d.operand[r]] = false
	}
}

// measure finds how many classes each operand has, in w, if these events are those of a subset. Not ok: too many.
func (b *builder) measure(src, dst []event, w *scratch) (ok bool) {
	w.srcSizes, w.dstSizes = zeroed(w.srcSizes, b.src.n), zeroed(w.dstSizes, b.dst.n)
	return w.sweep.sizes(b.src, src, w.srcSizes) && w.sweep.sizes(b.dst, dst, w.dstSizes)
}

func zeroed(s []int32, n int) []int32 {
	if cap(s) < n {
		return make([]int32, n)
	}
	s = s[:n]
	clear(s)
	return s
}

// pairs is the cells of a rule, in what was measured last.
func (b *builder) pairs(r int32, w *scratch) int {
	return int(w.srcSizes[b.src.operand[r]]) * int(w.dstSizes[b.dst.operand[r]])
}

// sum is the cells of rules, in what was measured last.
func (b *builder) sum(rules []int32, w *scratch) (cells int) {
	for _, r := range rules {
		cells += b.pairs(r, w)
	}
	return cells
}

// maxDepth is how often rules are divided.
const maxDepth = 6

// narrow is the number of cells up to which a rule does not count as wide.
const narrow = 4

// divide makes subsets that stay within a budget of cells each: rules with few cells, those with a narrow source, and those with a narrow
// destination, apart.
func (b *builder) divide(s *subset, depth int, w *scratch) []*subset {
	if len(s.rules) == 0 {
		return nil
	}
	s.cells = tooMany
	if !b.measure(s.src, s.dst, w) {
		return []*subset{s}
	}
	if s.cells = b.sum(s.rules, w); s.cells <= max(b.opt.cells/2, 2*len(s.rules)) || depth >= maxDepth {
		return []*subset{s}
	}
	var parts [3][]int32
	for _, r := range s.rules {
		ns, nd := w.srcSizes[b.src.operand[r]], w.dstSizes[b.dst.operand[r]]
		switch {
		case b.pairs(r, w) <= narrow:
			parts[0] = append(parts[0], r)
		case ns <= nd:
			parts[1] = append(parts[1], r)
		default:
			parts[2] = append(parts[2], r)
		}
	}
	for _, p := range parts {
		if len(p) == len(s.rules) {
			parts = b.tenth(s, w)
		}
	}
	var out []*subset
	for _, p := range parts {
		out = append(out, b.divide(b.part(s, p, w), depth+1, w)...)
	}
	return out
}

// tenth takes the widest tenth of the rules out.
func (b *builder) tenth(s *subset, w *scratch) (parts [3][]int32) {
	order := slices.Clone(s.rules)
	slices.SortStableFunc(order, func(x, y int32) int { return b.pairs(x, w) - b.pairs(y, w) })
	n := max(1, len(order)*9/10)
	parts[0], parts[1] = order[:n], order[n:]
	slices.Sort(parts[0])
	slices.Sort(parts[1])
	return parts
}

// recordsPerCell is how many records' words are about as much memory as a pair of classes: a cell or an item of a list, with the room around it.
const recordsPerCell = 16

// merge joins subsets again, the cheapest two first, while all cells together stay within the budget, or take less memory than the words of
// one more subset.
func (b *builder) merge(list []*subset) []*subset {
	type pair struct{ x, y *subset }
	known := map[pair]int{} // the cells of both together
	worth := (len(b.src.cuts) + len(b.dst.cuts)) / recordsPerCell
	for len(list) > 1 {
		total := 0
		var missing []pair
		for i, x := range list {
			total += x.cells
			for _, y := range list[i+1:] {
				if _, ok := known[pair{x, y}]; !ok {
					missing = append(missing, pair{x, y})
				}
			}
		}
		joined := parallel(len(missing), func(i int, w *scratch) int {
			x, y := missing[i].x, missing[i].y
			return b.together(x, y, max(b.opt.cells, total+worth)-total+x.cells+y.cells, w)
		})
		for i, p := range missing {
			known[p] = joined[i]
		}
		best, least := pair{}, max(b.opt.cells, total+worth)+1
		for i, x := range list {
			for _, y := range list[i+1:] {
				if n := total - x.cells - y.cells + known[pair{x, y}]; n < least {
					best, least = pair{x, y}, n
				}
			}
		}
		if best.x == nil {
			return list
		}
		list = slices.DeleteFunc(list, func(s *subset) bool { return s == best.x || s == best.y })
		list = append(list, best.x.join(best.y, known[best]))
	}
	return list
}

// together is the cells that two subsets would have as one, or tooMany if they are more than most. Since joining other subsets only adds to
// the cells of all, what is too many stays so.
func (b *builder) together(x, y *subset, most int, w *scratch) int {
	w.merge = merged(w.merge[:0], x.src, y.src)
	w.srcSizes, w.dstSizes = zeroed(w.srcSizes, b.src.n), zeroed(w.dstSizes, b.dst.n)
	if !w.sweep.sizes(b.src, w.merge, w.srcSizes) || b.src.least(x, y, w.srcSizes) > most {
		return tooMany
	}
	w.merge = merged(w.merge[:0], x.dst, y.dst)
	if !w.sweep.sizes(b.dst, w.merge, w.dstSizes) {
		return tooMany
	}
	return b.sum(x.rules, w) + b.sum(y.rules, w)
}

// least is how many cells the rules of two subsets have at least, if these are the classes of their operands: a class of the other dimension
// for each.
func (d *dimension) least(x, y *subset, sizes []int32) (cells int) {
	for _, s := range []*subset{x, y} {
		for _, r := range s.rules {
			cells += int(sizes[d.operand[r]])
		}
	}
	return cells
}

// join is two subsets as one, of so many cells.
func (s *subset) join(t *subset, cells int) *subset {
	return &subset{rules: merged(nil, s.rules, t.rules), src: merged(nil, s.src, t.src), dst: merged(nil, s.dst, t.dst), cells: cells}
}

// merged appends what is in either of two sorted lists, once.
func merged[T int32 | event](out, x, y []T) []T {
	out = slices.Grow(out, len(x)+len(y))
	for len(x) > 0 && len(y) > 0 {
		a, b := x[0], y[0]
		out = append(out, min(a, b))
		if a <= b {
			x = x[1:]
		}
		if b <= a {
			y = y[1:]
		}
	}
	return append(append(out, x...), y...)
}

// workers is how many builders run at once.
const workers = 2

// parallel is the results of f for 0..n-1, in whatever order they are made.
func parallel[T any](n int, f func(int, *scratch) T) []T {
	out := make([]T, n)
	var next atomic.Int64
	var wait sync.WaitGroup
	for range min(n, workers) {
		wait.Go(func() {
			w := scratches.Get().(*scratch)
			defer scratches.Put(w)
			for k := int(next.Add(1)) - 1; k < n; k = int(next.Add(1)) - 1 {
				out[k] = f(k, w)
			}
		})
	}
	wait.Wait()
	return out
}

// both is what is made of the source and of the destination.
func both[T any](src, dst func() T) []T {
	of := []func() T{src, dst}
	return parallel(2, func(i int, _ *scratch) T { return of[i]() })
}
