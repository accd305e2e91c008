package iptables

import (
	"slices"
	"strconv"

	"github.com/bpfwall/bpfwall/ruleset"
)

// alternative is one way in which a condition can hold: all its matches do. The alternatives of a condition exclude each other.
type alternative []ruleset.Match

// product is the alternatives of two conditions that must both hold. It may use a for them.
func product(a, b []alternative) []alternative {
	switch {
	case len(a) == 0:
		return b
	case len(b) == 1:
		for i := range a {
			a[i] = append(a[i], b[0]...)
		}
		return a
	case len(b) == 0:
		return a
	}
	out := make([]alternative, 0, len(a)*len(b))
	for _, x := range a {
		for _, y := range b {
			out = append(out, slices.Concat(x, y))
		}
	}
	return out
}

// one is the condition of a single match.
func one(m ruleset.Match) []alternative {
	room := &struct {
		all   [1]alternative
		match [1]ruleset.Match
	}{match: [1]ruleset.Match{m}}
	room.all[0] = room.match[:]
	return room.all[:]
}

// in makes the lowering of an option whose value is ranges of a field. A range that ends before it starts holds nothing.
func in(f ruleset.FieldID) func(*use) []alternative {
	return func(u *use) []alternative {
		return one(rangeMatch(f, u.not, u.val.parts, u.pos))
	}
}

func rangeMatch(f ruleset.FieldID, not bool, parts []ruleset.Range, pos ruleset.Pos) ruleset.Match {
	m := ruleset.Match{Field: f, Not: not, Pos: pos, Ranges: parts}
	if slices.ContainsFunc(parts, backwards) {
		m.Ranges = slices.DeleteFunc(slices.Clone(parts), backwards)
	}
	if len(m.Ranges) == 0 {
		m.Not, m.Ranges = !not, []ruleset.Range{{From: 0, To: 1<<ruleset.Fields[f].Bits - 1}}
	}
	return m
}

func backwards(r ruleset.Range) bool { return r.From > r.To }

// bits makes the lowering of an option whose value is value/mask of a field.
func bits(f ruleset.FieldID) func(*use) []alternative {
	return func(u *use) []alternative {
		return one(ruleset.Match{Field: f, Not: u.not, Pos: u.pos, Masked: []ruleset.Masked{{Value: u.val.num, Mask: u.val.mask}}})
	}
}

// anyBit makes the lowering of an option whose value is a set of bits of a field, any of which will do.
func anyBit(f ruleset.FieldID) func(*use) []alternative {
	return func(u *use) []alternative {
		m := ruleset.Match{Field: f, Not: u.not, Pos: u.pos}
		switch {
		case u.val.num == 0 && u.not:
			return []alternative{{}}
		case u.val.num == 0:
			return one(never)
		}
		for b := uint64(1); b != 0 && b <= u.val.num; b <<= 1 {
			if u.val.num&b != 0 {
				m.Masked = append(m.Masked, ruleset.Masked{Value: b, Mask: b})
			}
		}
		return one(m)
	}
}

// addresses makes the lowering of an option whose value is a range of addresses of a field. One that ends before it starts holds none.
func addresses(f ruleset.FieldID) func(*use) []alternative {
	return func(u *use) []alternative {
		if r := u.val.addrs[0]; r.To.Less(r.From) {
			every := ruleset.MaskedAddr(r.From, ones(0, r.From.BitLen()))
			return one(ruleset.Match{Field: f, Not: !u.not, Pos: u.pos, Addrs: []ruleset.AddrRange{every}})
		}
		return one(ruleset.Match{Field: f, Not: u.not, Pos: u.pos, Addrs: u.val.addrs})
	}
}

func quote(s string) string { return strconv.Quote(s) }

func itoa(n uint64) string { return strconv.FormatUint(n, 10) }
