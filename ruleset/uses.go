package ruleset

import "slices"

// Uses reports whether any rule, reachable or not, looks at one of some fields, or puts it into a set.
func (rs *Ruleset) Uses(fields ...FieldID) bool {
	var some Used
	for _, f := range fields {
		some |= 1 << f
	}
	return rs.any(func(m *Match) bool { return some.Has(m.Field) || len(m.Parts) > 0 && some.Has(m.Parts...) })
}

// Used is fields, a bit for each.
type Used uint64

var _ [64 - fieldCount]struct{} // there are bits enough

// Used is all the fields that Uses reports: for who asks for many of them.
func (rs *Ruleset) Used() (all Used) {
	rs.any(func(m *Match) bool {
		all |= 1 << m.Field
		for _, f := range m.Parts {
			all |= 1 << f
		}
		return false
	})
	return all
}

// Has reports whether one of some fields is there.
func (u Used) Has(fields ...FieldID) bool {
	return slices.ContainsFunc(fields, func(f FieldID) bool { return u>>f&1 != 0 })
}

// Tracks is UsesConntrack, of rules that look at these fields.
func (u Used) Tracks(ct *Conntrack) bool {
	return u.Has(FieldState, FieldFlows) || ct != nil && ct.PerSource > 0
}

// PosOf is where the first rule that looks at a field does.
func (rs *Ruleset) PosOf(f FieldID) (pos Pos) {
	rs.any(func(m *Match) bool {
		pos = m.Pos
		return m.looksAt(f)
	})
	return pos
}

// UsesConntrack reports whether any rule looks at the conntrack state, or flows are limited. If not there is nothing to track for.
func (rs *Ruleset) UsesConntrack() bool { return rs.Used().Tracks(rs.Conntrack) }

// ReadsTransport reports whether any rule looks into transport headers. Then packets whose headers cannot be read are dropped.
func (rs *Ruleset) ReadsTransport() bool {
	return rs.any(func(m *Match) bool {
		l := Fields[m.Field].Layer
		return l == LayerPorts || l == LayerTCP || l == LayerICMP || slices.ContainsFunc(m.Parts, func(f FieldID) bool { return Fields[f].Layer == LayerPorts })
	})
}

// Logs reports whether any rule logs packets. A log tells the interfaces and the source MAC, whether or not rules look at them.
func (rs *Ruleset) Logs() bool {
	for _, c := range rs.Chains {
		for _, r := range c.Rules {
			for _, s := range r.Statements {
				if s.Log != nil {
					return true
				}
			}
		}
	}
	return false
}

// AsksForwardedMAC reports whether a rule for forwarded packets looks at the source MAC, or logs it.
func (rs *Ruleset) AsksForwardedMAC() bool {
	onward := &Ruleset{Chains: rs.ReachedFrom(HookForward)}
	return onward.Uses(FieldSrcMAC) || onward.Logs()
}

// any reports whether a condition holds for any match of any rule, or for what a rule changes in a set, as if it were one.
func (rs *Ruleset) any(cond func(*Match) bool) bool {
	for _, c := range rs.Chains {
		for _, r := range c.Rules {
			for i := range r.Matches {
				if cond(&r.Matches[i]) {
					return true
				}
			}
			for _, s := range r.Statements {
				if ch := s.Change; ch != nil && cond(&Match{Field: ch.Field, Set: ch.Set, Parts: ch.Parts, Pos: r.Pos}) {
					return true
				}
			}
		}
	}
	return false
}
