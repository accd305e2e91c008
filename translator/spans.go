package translator

import (
	"encoding/binary"
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

	tests []*test                   // of the last rule
	ports map[ruleset.FieldID]*test // by what they say is there
	room  []classify.Span           // for those of the next rules
}

func newSpanner(f ruleset.Family) *spanner {
	if f == ruleset.FamilyIPv4 {
		return &spanner{family: f, top: classify.Addr{Hi: math.MaxUint32}, ports: map[ruleset.FieldID]*test{}}
	}
	return &spanner{family: f, top: classify.Addr{Hi: math.MaxUint64, Lo: math.MaxUint64}, ports: map[ruleset.FieldID]*test{}}
}

// spannable reports whether a test asks for addresses that are intervals.
func (t *test) spannable() bool {
	holes := func(a ruleset.AddrRange) bool { _, ok := prefixOf(a); return !ok && a.Mask.IsValid() }
	return ruleset.Fields[t.Field].Kind == ruleset.KindAddr && !slices.ContainsFunc(t.Addrs, holes)
}

// spans is the addresses of the family that a test holds for, sorted and apart.
func (s *spanner) spans(t *test) []classify.Span {
	if len(t.Addrs) == 1 && len(t.sets) == 0 && !t.Not {
		return s.one(t.Addrs[0])
	}
	out := []classify.Span{}
	for _, a := range t.Addrs {
		if familyOf(a.From) != s.family {
			continue
		}
		out = append(out, span(a))
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

// one is the span of one operand, if it is of the family.
func (s *spanner) one(a ruleset.AddrRange) []classify.Span {
	if familyOf(a.From) != s.family {
		return []classify.Span{}
	}
	if len(s.room) == 0 {
		s.room = make([]classify.Span, 512)
	}
	out := s.room[:1:1]
	s.room = s.room[1:]
	out[0] = span(a)
	return out
}

// span is an operand as an interval.
func span(a ruleset.AddrRange) classify.Span {
	v := classify.Span{From: numeric(a.From)}
	p, ok := prefixOf(a)
	switch host := a.From.BitLen() - p.Bits(); {
	case !ok:
		v.To = numeric(a.To)
	case a.From.Is4():
		v.To = classify.Addr{Hi: v.From.Hi | (1<<host - 1)}
	case host > 64:
		v.To = classify.Addr{Hi: v.From.Hi | (1<<(host-64) - 1), Lo: math.MaxUint64}
	default:
		v.To = classify.Addr{Hi: v.From.Hi, Lo: v.From.Lo | (1<<host - 1)}
	}
	return v
}

// numeric is an address as a number.
func numeric(a netip.Addr) classify.Addr {
	if a.Is4() {
		b := a.As4()
		return classify.Addr{Hi: uint64(binary.BigEndian.Uint32(b[:]))}
	}
	b := a.As16()
	return classify.Addr{Hi: binary.BigEndian.Uint64(b[:8]), Lo: binary.BigEndian.Uint64(b[8:])}
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
		if of == nil {
			of = []classify.Ports{}
		}
		return of
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
