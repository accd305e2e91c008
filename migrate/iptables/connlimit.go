package iptables

import "github.com/bpfwall/bpfwall/ruleset"

// connLimit is the row of -m connlimit.
func connLimit() extension {
	e := known("connlimit", 0, 0, "", "?!connlimit-upto=u32@1 ?!connlimit-above=u32@1 connlimit-mask=plen connlimit-saddr@2 connlimit-daddr@2")
	e.lower = connlimit
	return e
}

// connlimit limits the flows of a source or destination.
func connlimit(l *lowering, m *module) ([]alternative, string) {
	u := m.get("connlimit-upto")
	above := u == nil
	if above {
		u = m.get("connlimit-above")
	}
	f := &ruleset.Flows{Max: uint32(u.val.num), Dest: m.get("connlimit-daddr") != nil, Bits: ruleset.KeyBits{IPv4: 32, IPv6: 128}}
	if mask := m.get("connlimit-mask"); mask != nil && l.family == ruleset.FamilyIPv4 {
		f.Bits.IPv4 = uint8(mask.val.num)
	} else if mask != nil {
		f.Bits.IPv6 = uint8(mask.val.num)
	}
	not := above != u.not
	switch {
	case u.val.num > 2*ruleset.MaxFlows && not: // there are never so many
		return one(never), ""
	case u.val.num > 2*ruleset.MaxFlows:
		return []alternative{{}}, ""
	case u.val.num > ruleset.MaxFlowsOfKey:
		return nil, "-m connlimit: more than " + itoa(ruleset.MaxFlowsOfKey) + " connections of one address are not counted"
	}
	return one(ruleset.Match{Field: ruleset.FieldFlows, Not: not, Flows: f, Pos: m.pos}), ""
}
