package translator

import (
	"cmp"
	"encoding/binary"
	"math/bits"
	"slices"

	"github.com/bpfwall/bpfwall/ruleset"
)

// interval is operands of one step as the fork sees them. If exact, the fork's comparison says all that the test does.
type interval struct {
	from, to uint64
	step     int
	exact    bool
}

// fill makes the branches, unless they would have more steps than a limit: one for each set of operands that a value can meet, or
// where operands overlap too much for that, one for several of those sets.
func (f *fork) fill(steps []*step, limit int) bool {
	var all []interval
	for i, s := range steps {
		all = append(all, f.intervals(i, s)...)
	}
	slabs, ok := sliced(all, 64*len(steps))
	for _, width := range []int{1, 16, 64} {
		if !ok {
			return false
		}
		if f.bins(steps, slabs, width, limit) {
			return true
		}
	}
	return false
}

// slab is the values from one operand's end to the next, which all meet the same operands.
type slab struct {
	from, to uint64
	active   []interval
}

// sliced cuts the values into slabs, those without operands left out. Not ok: they would have more operands than a limit in all.
func sliced(all []interval, limit int) (out []slab, ok bool) {
	cuts := cutPoints(all)
	slices.SortStableFunc(all, func(a, b interval) int { return cmp.Compare(a.from, b.from) })
	var active []interval
	for i, from := range cuts {
		active = slices.DeleteFunc(slices.Clone(active), func(v interval) bool { return v.to < from })
		for len(all) > 0 && all[0].from == from {
			active, all = append(active, all[0]), all[1:]
		}
		if limit -= len(active); limit < 0 {
			return nil, false
		}
		if len(active) == 0 {
			continue
		}
		to := ^uint64(0)
		if i+1 < len(cuts) {
			to = cuts[i+1] - 1
		}
		out = append(out, slab{from, to, active})
	}
	return out, true
}

// bins makes branches of one or more slabs each, of so many steps if one slab alone does not have more. It reports whether all of
// them stay within the limit of steps.
func (f *fork) bins(steps []*step, slabs []slab, width, limit int) bool {
	f.branches, f.total, f.cost = nil, 0, 0
	for len(slabs) > 0 && f.total <= limit {
		n, active := bin(slabs, width)
		b := branch{from: slabs[0].from, to: slabs[n-1].to}
		b.steps = f.branchSteps(steps, active, b)
		f.branches = append(f.branches, b)
		f.total += len(b.steps)
		f.cost = max(f.cost, len(b.steps))
		slabs = slabs[n:]
	}
	f.cost += bits.Len(uint(len(f.branches)))
	return f.total <= limit
}

// bin is how many of the first slabs go into one branch, and their operands.
func bin(slabs []slab, width int) (n int, active []interval) {
	if width == 1 {
		return 1, slabs[0].active
	}
	met := map[int]bool{}
	for n < len(slabs) {
		more := 0
		for _, v := range slabs[n].active {
			if !met[v.step] {
				more++
			}
		}
		if n > 0 && len(met)+more > width {
			break
		}
		for _, v := range slabs[n].active {
			met[v.step] = true
		}
		active = append(active, slabs[n].active...)
		n++
	}
	return n, active
}

// cutPoints is where an interval begins, or has just ended; sorted.
func cutPoints(all []interval) []uint64 {
	var cuts []uint64
	for _, v := range all {
		cuts = append(cuts, v.from)
		if v.to != ^uint64(0) {
			cuts = append(cuts, v.to+1)
		}
	}
	slices.Sort(cuts)
	return slices.Compact(cuts)
}

// branchSteps is the steps whose intervals are active, in their order, without tests that hold for all values of the branch.
func (f *fork) branchSteps(steps []*step, active []interval, b branch) []*step {
	exact := map[int]bool{}
	var order []int
	for _, v := range active {
		exact[v.step] = exact[v.step] || v.exact && v.from <= b.from && b.to <= v.to
		order = append(order, v.step)
	}
	slices.Sort(order)
	var out []*step
	for _, i := range slices.Compact(order) {
		s := *steps[i]
		if exact[i] {
			s.tests = slices.Delete(slices.Clone(s.tests), s.asks(f.field), s.asks(f.field)+1)
		}
		out = append(out, &s)
		if s.ends() {
			break
		}
	}
	return out
}

// intervals is what a step asks for.
func (f *fork) intervals(i int, s *step) []interval {
	at := s.asks(f.field)
	if at < 0 {
		return []interval{{from: 0, to: f.top(), step: i}}
	}
	var out []interval
	for _, r := range s.tests[at].Ranges {
		out = append(out, interval{r.From, r.To, i, true})
	}
	for _, a := range s.tests[at].Addrs {
		if familyOf(a.From) == f.family {
			v := f.addrInterval(a)
			v.step = i
			out = append(out, v)
		}
	}
	return out
}

// top is the highest value that the field's member can have; numbers that are absent count.
func (f *fork) top() uint64 {
	switch {
	case f.family == ruleset.FamilyIPv4:
		return 1<<32 - 1
	case f.family == ruleset.FamilyIPv6:
		return ^uint64(0)
	case canLack(f.field):
		return absent(f.field)
	case f.field == ruleset.FieldUID || f.field == ruleset.FieldGID:
		return ruleset.NoOwner // which a packet without a socket has
	}
	return 1<<ruleset.Fields[f.field].Bits - 1
}

// addrInterval is an address operand. Of an IPv6 address the fork sees one word only.
func (f *fork) addrInterval(a ruleset.AddrRange) interval {
	last := a.To
	p, ok := prefixOf(a)
	if ok {
		last = lastAddr(p)
	}
	if f.family == ruleset.FamilyIPv4 {
		from, to := a.From.As4(), last.As4()
		return interval{from: uint64(binary.BigEndian.Uint32(from[:])), to: uint64(binary.BigEndian.Uint32(to[:])), exact: true}
	}
	from, to := hostWords(a.From.AsSlice()), hostWords(last.AsSlice())
	switch {
	case f.word == 0:
		return interval{from: from[0], to: to[0], exact: ok && p.Bits() <= 64}
	case from[0] == to[0]:
		return interval{from: from[1], to: to[1]}
	}
	return interval{to: f.top()}
}
