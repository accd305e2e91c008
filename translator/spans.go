package translator

import (
	"math"
	"net/netip"
	"slices"

	"github.com/bpfwall/bpfwall/ruleset"
	"github.com/bpfwall/bpfwall/translator/classify"
)

// spanner turns tests of addresses and ports into what package classify takes.
type spanner struct {
	family ruleset.Family
	top    classify.Addr // the last address
}

func newSpanner(f ruleset.Family) *spanner {
	if f == ruleset.FamilyIPv4 {
		return &spanner{f, classify.Addr{Hi: math.MaxUint32}}
	}
	return &spanner{f, classify.Addr{Hi: math.MaxUint64, Lo: math.MaxUint64}}
}

// spannable reports whether a test asks for addresses that are intervals.
func (t *test) spannable() bool {
	holes := func(a ruleset.AddrRange) bool { _, ok := prefixOf(a); return !ok && a.Mask.IsValid() }
	return ruleset.Fields[t.Field].Kind == ruleset.KindAddr && !slices.ContainsFunc(t.Addrs, holes)
}

// spans is the addresses of the family that a test holds for, sorted and apart.
func (s *spanner) spans(t *test) []classify.Span {
	out := []classify.Span{}
	for _, a := range t.Addrs {
		if familyOf(a.From) != s.family {
			continue
		}
		last := a.To
		if p, ok := prefixOf(a); ok {
			last = lastAddr(p)
		}
		out = append(out, classify.Span{From: numeric(a.From), To: numeric(last)})
	}
	for _, set := range t.sets {
		if set.Family != s.family {
			continue
		}
		for _, p := range set.Entries {
			out = append(out, classify.Span{From: numeric(p.Addr()), To: numeric(lastAddr(p))})
		}
	}
	out = joined(out)
	if t.Not {
		return s.others(out)
	}
	return out
}

// numeric is an address as a number.
func numeric(a netip.Addr) classify.Addr {
	w := hostWords(a.AsSlice())
	if len(w) == 1 {
		return classify.Addr{Hi: w[0]}
	}
	return classify.Addr{Hi: w[0], Lo: w[1]}
}

// joined is spans sorted, those that overlap as one.
func joined(in []classify.Span) (out []classify.Span) {
	out = in[:0]
	slices.SortFunc(in, func(a, b classify.Span) int {
		switch {
		case a.From.Less(b.From):
			return -1
		case b.From.Less(a.From):
			return 1
		}
		return 0
	})
	for _, v := range in {
		if n := len(out); n > 0 && !out[n-1].To.Less(v.From) {
			if out[n-1].To.Less(v.To) {
				out[n-1].To = v.To
			}
			continue
		}
		out = append(out, v)
	}
	return out
}

// others is the addresses that are in none of the spans.
func (s *spanner) others(in []classify.Span) []classify.Span {
	out := []classify.Span{}
	from := classify.Addr{}
	for _, v := range in {
		if from.Less(v.From) {
			out = append(out, classify.Span{From: from, To: s.step(v.From, -1)})
		}
		if v.To == s.top {
			return out
		}
		from = s.step(v.To, 1)
	}
	return append(out, classify.Span{From: from, To: s.top})
}

// step is the address in front of another, or behind it.
func (s *spanner) step(a classify.Addr, by int) classify.Addr {
	switch {
	case s.family == ruleset.FamilyIPv4:
		return classify.Addr{Hi: a.Hi + uint64(by)}
	case by < 0 && a.Lo == 0:
		return classify.Addr{Hi: a.Hi - 1, Lo: math.MaxUint64}
	case by > 0 && a.Lo == math.MaxUint64:
		return classify.Addr{Hi: a.Hi + 1}
	}
	return classify.Addr{Hi: a.Hi, Lo: a.Lo + uint64(by)}
}

// both is the addresses that are in a and in b. nil is all.
func both(a, b []classify.Span) []classify.Span {
	if a == nil {
		return b
	}
	out := []classify.Span{}
	for _, x := range a {
		for _, y := range b {
			from, to := x.From, x.To
			if from.Less(y.From) {
				from = y.From
			}
			if y.To.Less(to) {
				to = y.To
			}
			if !to.Less(from) {
				out = append(out, classify.Span{From: from, To: to})
			}
		}
	}
	return out
}

// portable reports whether a test asks for ports that are ranges.
func (t *test) portable() bool {
	return (t.Field == ruleset.FieldSrcPort || t.Field == ruleset.FieldDstPort) && len(t.Masked) == 0
}

// ports is the ports that a test holds for, among those of before (nil: all), sorted and apart. Its ranges are.
func (t *test) ports(before []classify.Ports) []classify.Ports {
	var of []classify.Ports
	from := uint64(0)
	for _, r := range t.Ranges {
		if r.From > math.MaxUint16 {
			break
		}
		to := min(r.To, math.MaxUint16)
		switch {
		case !t.Not:
			of = append(of, classify.Ports{From: uint16(r.From), To: uint16(to)})
		case r.From > from:
			of = append(of, classify.Ports{From: uint16(from), To: uint16(r.From - 1)})
		}
		from = to + 1
	}
	if t.Not && from <= math.MaxUint16 {
		of = append(of, classify.Ports{From: uint16(from), To: math.MaxUint16})
	}
	if before == nil {
		return append([]classify.Ports{}, of...)
	}
	out := []classify.Ports{}
	for _, x := range before {
		for _, y := range of {
			if from, to := max(x.From, y.From), min(x.To, y.To); from <= to {
				out = append(out, classify.Ports{From: from, To: to})
			}
		}
	}
	return out
}
