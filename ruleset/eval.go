package ruleset

import (
	"net/netip"
	"slices"
	"strings"
)

// Eval is what a ruleset means: the verdict for one packet on one hook, and how it came about. The compiled programs are
// tested against it, and it means what netfilter means. The ruleset must have passed Check; p is not changed.
//
// The hook's base chains that cover the packet's family run in order, and each of them must accept. Without one the packet is accepted.
// Nothing is asked of a packet, not even that it be well-formed, where all that there is are chains without rules that accept.
func (rs *Ruleset) Eval(h Hook, p *Packet, st *State) (Verdict, Trace) {
	e := &evaluation{rs: rs, state: st, trace: Trace{Hook: h, Packet: *p}}
	bases := rs.Base(h, p.Family)
	if p.Malformed && slices.ContainsFunc(bases, (*Chain).Decides) && rs.ReadsTransport() {
		e.trace.Reason = ReasonMalformed
		return Verdict{Kind: Drop}, e.trace
	}
	v := Verdict{Kind: Accept}
	for _, c := range bases {
		if v = e.base(c); v.Kind != Accept {
			break
		}
	}
	st.settle(v)
	return v, e.trace
}

// evaluation is one packet on its way through one hook.
type evaluation struct {
	rs    *Ruleset
	state *State
	trace Trace // trace.Packet is what the rules look at: SetMark changes what later rules see
}

// base runs a base chain. Where its rules do not decide, its policy does.
func (e *evaluation) base(c *Chain) Verdict {
	v := e.chain(c, 0)
	if v.Kind == Continue {
		v = Verdict{Kind: c.Policy}
		e.trace.add(Step{Chain: c, Verdict: v})
	}
	return v
}

// chain runs the rules of a chain in order, until one decides or returns. Continue means that none decided.
func (e *evaluation) chain(c *Chain, depth int) Verdict {
	if c == nil || depth > len(e.rs.Chains) {
		e.trace.Reason = ReasonUnchecked
		return Verdict{Kind: Drop}
	}
	for _, r := range c.Rules {
		if !e.matches(c, r, depth) {
			continue
		}
		e.do(r.Statements)
		switch v := r.Verdict; v.Kind {
		case Continue:
		case Return:
			return Verdict{}
		case Jump:
			if v := e.chain(e.rs.Chain(v.Chain, c.Family), depth+1); v.Kind != Continue {
				return v
			}
		case Goto: // a jump that comes back to where this chain was jumped to from
			return e.chain(e.rs.Chain(v.Chain, c.Family), depth+1)
		default:
			return v
		}
	}
	return Verdict{}
}

// matches reports whether every match of a rule holds. The first that fails ends the search, so a limit that stands behind it
// keeps its tokens.
func (e *evaluation) matches(c *Chain, r *Rule, depth int) bool {
	step := Step{Chain: c, Rule: r, Depth: depth}
	for i := range r.Matches {
		if !e.match(r, i) {
			step.Failed = &r.Matches[i]
			e.trace.add(step)
			return false
		}
	}
	step.Verdict = r.Verdict
	e.trace.add(step)
	return true
}

// match reports whether one match holds: the packet has the field, and its value is one of the operands (or, with Not, none).
func (e *evaluation) match(r *Rule, i int) bool {
	m, p := &r.Matches[i], &e.trace.Packet
	if !p.has(m.Field) {
		return false
	}
	return e.holds(r, i) != m.Not
}

// holds is match without absence and negation.
func (e *evaluation) holds(r *Rule, i int) bool {
	m, p := &r.Matches[i], &e.trace.Packet
	switch Fields[m.Field].Kind {
	case KindIface:
		return slices.ContainsFunc(m.Names, func(n string) bool { return IfaceMatches(n, p.iface(m.Field)) })
	case KindAddr:
		return e.contains(m, p.addr(m.Field))
	case KindCgroup:
		return slices.ContainsFunc(m.Names, func(n string) bool { return CgroupMatches(n, p.Cgroup) })
	case KindLimit:
		return e.state.take(r, i, p)
	case KindSample:
		return e.state.sample(r, i)
	case KindElement:
		return e.element(m)
	case KindQuota:
		return e.state.quota(r, i, p.number(FieldLength))
	case KindFlows:
		return e.state.flows(r, i, p)
	case KindRecent:
		return e.state.recent(m, p, e.trace.Hook)
	}
	switch m.Field {
	case FieldTCPOption:
		return slices.ContainsFunc(p.TCPOptions, func(kind byte) bool { return m.number(uint64(kind)) })
	case FieldTCPMSS:
		return p.TCPMSS != Absent && m.number(uint64(p.TCPMSS))
	}
	return m.number(p.number(m.Field))
}

// number reports whether v is one of a match's numeric operands.
func (m *Match) number(v uint64) bool {
	bits := Fields[m.Field].Kind == KindBits
	return slices.ContainsFunc(m.Ranges, func(r Range) bool { return r.From <= v && v <= r.To }) ||
		slices.ContainsFunc(m.Masked, func(k Masked) bool { return v&k.Mask == k.Value || bits && v&k.Mask != 0 })
}

// contains reports whether a is one of the addresses that a match names, or in one of its sets. An address of the other family is not.
func (e *evaluation) contains(m *Match, a netip.Addr) bool {
	has := func(r AddrRange) bool { return r.Contains(a) }
	if slices.ContainsFunc(m.Addrs, has) {
		return true
	}
	return slices.ContainsFunc(m.sets(), func(name string) bool {
		set := e.rs.Set(name)
		return set != nil && slices.ContainsFunc(set.Members, has) || e.state.contains(name, a)
	})
}

// element reports whether several fields of the packet together are in a set.
func (e *evaluation) element(m *Match) bool {
	s := e.rs.Set(m.Set)
	if s == nil || len(s.Parts) != len(m.Parts) {
		return false
	}
	t, ok := e.trace.Packet.Tuple(s.Parts, m.Parts)
	return ok && (s.has(t) || e.state.containsTuple(s.Name, t))
}

// IfaceMatches reports whether an interface is meant by a name: the same name, or a prefix of it and "+".
// "+" alone means any interface, and none.
func IfaceMatches(pattern, iface string) bool {
	if prefix, ok := strings.CutSuffix(pattern, "+"); ok {
		return strings.HasPrefix(iface, prefix)
	}
	return pattern == iface
}

// do carries out the statements of a rule that matched. Logging changes nothing; the trace shows it.
func (e *evaluation) do(statements []Statement) {
	for _, s := range statements {
		switch {
		case s.SetMark != nil:
			e.trace.Packet.Mark = e.trace.Packet.Mark&^s.SetMark.Mask ^ s.SetMark.Value
		case s.NoTrack != nil:
			e.trace.NoTrack = true
		case s.SynProxy != nil:
			e.trace.SynProxy = true
		case s.Change != nil:
			if t, ok := e.trace.Packet.changed(e.rs.Set(s.Change.Set), s.Change); ok {
				e.state.change(e.rs.Set(s.Change.Set), s.Change, t)
			}
		}
	}
}
