package classify

import (
	"math"
	"slices"
	"sync"
)

// subset is rules with their classes and the number of cells that they want: for each rule the pairs of classes in its source and
// destination.
type subset struct {
	rules    []int32 // sorted
	src, dst *view
	sizeSrc  []int32 // classes by operand
	sizeDst  []int32
	cells    int
}

// tooMany stands for a number of cells that cannot be had.
const tooMany = math.MaxInt / 4

func (b *builder) subset(rules []int32) *subset {
	s := &subset{rules: rules, src: b.src.view(rules), dst: b.dst.view(rules), cells: tooMany}
	if s.src == nil || s.dst == nil {
		return s
	}
	s.sizeSrc, s.sizeDst = s.src.sizes(b.src.n), s.dst.sizes(b.dst.n)
	s.cells = 0
	for _, r := range rules {
		s.cells += b.pairs(s, r)
	}
	return s
}

// pairs is the cells of a rule.
func (b *builder) pairs(s *subset, r int32) int {
	return int(s.sizeSrc[b.src.operand[r]]) * int(s.sizeDst[b.dst.operand[r]])
}

// maxDepth is how often rules are divided.
const maxDepth = 6

// narrow is the number of cells up to which a rule does not count as wide.
const narrow = 4

// divide makes subsets that stay within a budget of cells each: rules with few cells, those with a narrow source, and those with a narrow
// destination, apart.
func (b *builder) divide(rules []int32, depth int) []*subset {
	if len(rules) == 0 {
		return nil
	}
	s := b.subset(rules)
	if s.cells <= max(b.opt.cells/2, 2*len(rules)) || depth >= maxDepth || s.sizeSrc == nil {
		return []*subset{s}
	}
	var parts [3][]int32
	for _, r := range rules {
		ns, nd := s.sizeSrc[b.src.operand[r]], s.sizeDst[b.dst.operand[r]]
		switch {
		case b.pairs(s, r) <= narrow:
			parts[0] = append(parts[0], r)
		case ns <= nd:
			parts[1] = append(parts[1], r)
		default:
			parts[2] = append(parts[2], r)
		}
	}
	for _, p := range parts {
		if len(p) == len(rules) {
			parts = b.tenth(s)
		}
	}
	var out []*subset
	for _, p := range parts {
		out = append(out, b.divide(p, depth+1)...)
	}
	return out
}

// tenth takes the widest tenth of the rules out.
func (b *builder) tenth(s *subset) (parts [3][]int32) {
	order := slices.Clone(s.rules)
	slices.SortStableFunc(order, func(x, y int32) int { return b.pairs(s, x) - b.pairs(s, y) })
	n := max(1, len(order)*9/10)
	parts[0], parts[1] = order[:n], order[n:]
	slices.Sort(parts[0])
	slices.Sort(parts[1])
	return parts
}

// merge joins subsets again, the cheapest two first, while all cells together stay within the budget.
func (b *builder) merge(list []*subset) []*subset {
	type pair struct{ x, y *subset }
	known := map[pair]*subset{}
	for len(list) > 1 {
		total := 0
		var missing []pair
		for i, x := range list {
			total += x.cells
			for _, y := range list[i+1:] {
				if known[pair{x, y}] == nil {
					missing = append(missing, pair{x, y})
				}
			}
		}
		joined := parallel(len(missing), func(i int) *subset { return b.join(missing[i].x, missing[i].y) })
		for i, p := range missing {
			known[p] = joined[i]
		}
		best, least := pair{}, b.opt.cells+1
		for i, x := range list {
			for _, y := range list[i+1:] {
				if n := total - x.cells - y.cells + known[pair{x, y}].cells; n < least {
					best, least = pair{x, y}, n
				}
			}
		}
		if best.x == nil {
			return list
		}
		list = slices.DeleteFunc(list, func(s *subset) bool { return s == best.x || s == best.y })
		list = append(list, known[best])
	}
	return list
}

func (b *builder) join(x, y *subset) *subset {
	rules := append(slices.Clone(x.rules), y.rules...)
	slices.Sort(rules)
	return b.subset(rules)
}

// workers is how many builders run at once.
const workers = 2

// parallel is the results of f for 0..n-1.
func parallel[T any](n int, f func(int) T) []T {
	out := make([]T, n)
	var next sync.Mutex
	var wait sync.WaitGroup
	i := 0
	for range min(n, workers) {
		wait.Go(func() {
			for {
				next.Lock()
				k := i
				i++
				next.Unlock()
				if k >= n {
					return
				}
				out[k] = f(k)
			}
		})
	}
	wait.Wait()
	return out
}
