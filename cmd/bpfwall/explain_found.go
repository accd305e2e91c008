package main

import (
	"fmt"
	"slices"

	"github.com/bpfwall/bpfwall/ruleset"
)

// foundIn is an element of a set that has an address of a packet.
type foundIn struct {
	Set     string `json:"set"`
	Element string `json:"element"`
	Address string `json:"address"`
	In      string `json:"in,omitempty"` // which part of the set: what the rules list, what was added, the feed
}

func (f foundIn) String() string {
	return fmt.Sprintf("%s is in %s of @%s", f.Address, f.Element, f.Set)
}

// liveFinder finds what a packet has in a set in force, with what is in it at run time.
type liveFinder func(set string, t ruleset.Tuple) (where string, found ruleset.Tuple, err error)

// finder finds elements: of a ruleset, and of the sets in force (nil: nothing is in force).
type finder struct {
	rs   *ruleset.Ruleset
	live liveFinder
}

// found lists the elements that a step's matches found, up to the one that failed.
func (f finder) found(s ruleset.Step, p *ruleset.Packet) (all []foundIn) {
	if s.Rule == nil {
		return nil
	}
	for i := range s.Rule.Matches {
		m := &s.Rule.Matches[i]
		for _, set := range append([]string{m.Set}, m.Live...) {
			if e, ok := f.find(set, m, p); ok {
				all = append(all, e)
				break
			}
		}
		if m == s.Failed {
			break
		}
	}
	return all
}

// find finds what a match compares in a set. Of members that overlap it is the smallest.
func (f finder) find(set string, m *ruleset.Match, p *ruleset.Packet) (e foundIn, ok bool) {
	s := f.rs.Set(set)
	if s == nil {
		return e, false
	}
	t, ok := askedFor(s, m, p)
	if !ok {
		return e, false
	}
	e = foundIn{Set: set, Address: t.Text(s.Parts)}
	if e.Element = memberOf(s, t); e.Element != "" {
		return e, true
	}
	if f.live == nil || s.Live == nil {
		return e, false
	}
	where, by, err := f.live(set, t)
	if err != nil || where == "" {
		return e, false
	}
	e.In, e.Element = where, "the list"
	if by != (ruleset.Tuple{}) {
		e.Element = elementText(s, by)
	}
	return e, true
}

// askedFor is what a packet has of what a match compares with a set.
func askedFor(s *ruleset.Set, m *ruleset.Match, p *ruleset.Packet) (ruleset.Tuple, bool) {
	if m.Field == ruleset.FieldElement {
		return p.Tuple(s.Parts, m.Parts)
	}
	return p.Tuple([]ruleset.Part{ruleset.PartAddress}, []ruleset.FieldID{m.Field})
}

// elementText is an element; a network of a single address as one.
func elementText(s *ruleset.Set, t ruleset.Tuple) string {
	if len(s.Parts) == 0 {
		return t.Net.String()
	}
	return t.Text(s.Parts)
}

// memberOf is the smallest member that has what a packet has; "" if none does.
func memberOf(s *ruleset.Set, t ruleset.Tuple) string {
	if len(s.Parts) > 0 {
		if m, ok := s.Member(t); ok {
			return m.Text(s.Parts)
		}
		return ""
	}
	a := t.Net.Addr()
	members := slices.DeleteFunc(slices.Clone(s.Members), func(m ruleset.AddrRange) bool { return !m.Contains(a) })
	if len(members) == 0 {
		return ""
	}
	return slices.MinFunc(members, compareSizes).String()
}

// compareSizes puts the smaller of two ranges that share an address first.
func compareSizes(a, b ruleset.AddrRange) int {
	if a.From != b.From {
		return b.From.Compare(a.From)
	}
	return a.To.Compare(b.To)
}
