package classify

import "slices"

// Memory is how the rules of a table were divided into subsets. A table that takes the place of another one is divided alike where few rules have
// come or gone: that is most of what building takes, and leaves most of the table as it was. Whatever the division, lookups are right.
type Memory struct {
	Rules int
	Cells []int // of each subset, that its rules want
	Drift int   // rules that came or went since they were divided from scratch
}

// What a division may drift: one in so many rules; and by so many cells at once.
const (
	steadiness = 8
	creep      = 1 << 10
)

// asBefore divides the rules as they were divided. Rules that are new go where they want least cells, together. nil: too much has changed.
func (b *builder) asBefore() []*subset {
	was, like := b.opt.Was, b.opt.Like
	if like == nil || like.Family != b.opt.Family || len(was) != len(b.rules) {
		return nil
	}
	groups, fresh, known := b.groups(was, len(like.Memory.Cells))
	b.drift = like.Memory.Drift + len(b.rules) - known + max(0, like.Memory.Rules-known)
	if groups == nil || b.drift > len(b.rules)/steadiness {
		return nil
	}
	all := b.all()
	list := parallel(len(groups), func(i int, w *scratch) *subset { return b.part(all, groups[i], w) })
	for pass, rules := range fresh {
		if len(rules) > 0 && !b.place(b.part(all, rules, new(scratch)), Pass(pass), list, like.Memory.Cells) {
			return nil
		}
	}
	return b.inOrder(list)
}

// groups is the rules by the subset that they were in, and the others by their pass: nil, if a subset has none left.
func (b *builder) groups(was []uint8, subsets int) (groups [][]int32, fresh [passes][]int32, known int) {
	groups = make([][]int32, subsets)
	for i := range b.rules {
		k, pass := int(was[i])-1, b.rules[i].Pass
		if k < 0 || k >= subsets || len(groups[k]) > 0 && b.rules[groups[k][0]].Pass != pass {
			fresh[pass] = append(fresh[pass], int32(i))
			continue
		}
		groups[k] = append(groups[k], int32(i))
		known++
	}
	if slices.ContainsFunc(groups, func(g []int32) bool { return len(g) == 0 }) {
		groups = nil
	}
	return groups, fresh, known
}

// crossing is what it costs if rules share cells with another one, which become lists for which packets wait once more, in cells.
const crossing = 8

// early is what it costs if a rule comes in front of all that the code asks a subset for, so that the code has to change.
const early = 1 << 20

// place adds rules to the subset of their pass that they cost least in: cells that become more, and rules that they cross. False: there is
// none that can take them.
func (b *builder) place(rules *subset, pass Pass, list []*subset, cells []int) bool {
	costs := parallel(len(list), func(i int, w *scratch) int {
		if b.rules[list[i].rules[0]].Pass != pass {
			return tooMany
		}
		sum, crossed := b.with(list[i], rules, w)
		cost := sum - cells[i] + crossing*crossed
		if first := b.opt.Like.First; i < len(first) && uint32(rules.rules[0]) < first[i] {
			cost += early
		}
		return cost
	})
	best := 0
	for i := range list {
		if costs[i] < costs[best] {
			best = i
		}
	}
	if len(list) == 0 || costs[best] >= tooMany/2 {
		return false
	}
	list[best] = list[best].join(rules, 0)
	return true
}

// with is how many cells a subset and some more rules want as one, and about how many of its rules share cells with these.
func (b *builder) with(s, more *subset, w *scratch) (cells, crossed int) {
	src, ok := w.around(b.src, merged(nil, s.src, more.src), more.rules)
	dst, fine := w.around(b.dst, merged(nil, s.dst, more.dst), more.rules)
	if !ok || !fine {
		return tooMany, 0
	}
	for _, r := range s.rules {
		x, y := src[b.src.operand[r]], dst[b.dst.operand[r]]
		cells += int(x.all) * int(y.all)
		if x.near > 0 && y.near > 0 {
			crossed++
		}
	}
	for _, r := range more.rules {
		cells += int(src[b.src.operand[r]].all) * int(dst[b.dst.operand[r]].all)
	}
	return cells, crossed
}

// classCount is how many classes an operand has, and how many of them it shares with others.
type classCount struct{ all, near int32 }

// around counts, by operand, the classes that some events make, and those of them that operands of some rules have too.
func (w *scratch) around(d *dimension, events []event, rules []int32) (counts []classCount, ok bool) {
	counts = make([]classCount, d.n)
	mark := w.marked(d, rules)
	ok = w.sweep.classesOf(d, events, func(list []int32) {
		near := int32(0)
		if slices.ContainsFunc(list, func(o int32) bool { return mark[o] }) {
			near = 1
		}
		for _, o := range list {
			counts[o].all++
			counts[o].near += near
		}
	})
	w.unmark(d, rules)
	return counts, ok
}

// tooLoose reports whether a division as before wants more cells than one from scratch would be given.
func (b *builder) tooLoose() bool {
	was, is := 0, 0
	for _, n := range b.opt.Like.Memory.Cells {
		was += n
	}
	for _, m := range b.matrices {
		is += m.subset.cells
	}
	return is > max(b.opt.cells, was+was/16+creep)
}

// memory is what the next table is told of this one.
func (b *builder) memory() Memory {
	m := Memory{Rules: len(b.rules), Drift: b.drift}
	for _, of := range b.matrices {
		m.Cells = append(m.Cells, of.subset.cells)
	}
	return m
}

// parts is, for each rule, the number of its subset, from 1 on.
func (b *builder) parts() []uint8 {
	out := make([]uint8, len(b.rules))
	for i, m := range b.matrices {
		for _, r := range m.subset.rules {
			out[r] = uint8(i + 1)
		}
	}
	return out
}
