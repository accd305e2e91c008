package main

import (
	"fmt"
	"net/netip"
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

// liveFinder finds an address in a set in force, with what is in it at run time.
type liveFinder func(set string, a netip.Addr) (where string, found netip.Prefix, err error)

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
			if e, ok := f.find(set, addressOf(m.Field, p)); ok {
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

func addressOf(f ruleset.FieldID, p *ruleset.Packet) netip.Addr {
	if f == ruleset.FieldSrcAddr {
		return p.Src
	}
	return p.Dst
}

// find finds an address in a set. Of members that overlap it is the smallest.
func (f finder) find(set string, a netip.Addr) (e foundIn, ok bool) {
	s := f.rs.Set(set)
	if s == nil {
		return e, false
	}
	e = foundIn{Set: set, Address: a.String()}
	members := slices.DeleteFunc(slices.Clone(s.Members), func(m ruleset.AddrRange) bool { return !m.Contains(a) })
	if len(members) > 0 {
		e.Element = slices.MinFunc(members, compareSizes).String()
		return e, true
	}
	if f.live == nil || s.Live == nil {
		return e, false
	}
	where, prefix, err := f.live(set, a)
	if err != nil || where == "" {
		return e, false
	}
	e.Element, e.In = prefix.String(), where
	return e, true
}

// compareSizes puts the smaller of two ranges that share an address first.
func compareSizes(a, b ruleset.AddrRange) int {
	if a.From != b.From {
		return b.From.Compare(a.From)
	}
	return a.To.Compare(b.To)
}
