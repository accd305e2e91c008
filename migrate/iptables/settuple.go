package iptables

import (
	"slices"

	"github.com/bpfwall/bpfwall/ruleset"
)

// tupleKinds are the set types that have a set of several parts, whose elements may come and go at run time.
var tupleKinds = map[string][]ruleset.Part{
	"hash:ip,port": addressPort, "hash:net,port": addressPort,
	"hash:ip,port,ip":  {ruleset.PartAddress, ruleset.PartPort, ruleset.PartAddress},
	"hash:ip,port,net": {ruleset.PartAddress, ruleset.PartPort, ruleset.PartAddress},
	"hash:ip,mac":      {ruleset.PartAddress, ruleset.PartMAC}, "bitmap:ip,mac": {ruleset.PartAddress, ruleset.PartMAC},
	"hash:mac": {ruleset.PartMAC}, "hash:ip,mark": {ruleset.PartAddress, ruleset.PartMark},
	"hash:net,iface": {ruleset.PartAddress, ruleset.PartInterface},
}

var addressPort = []ruleset.Part{ruleset.PartAddress, ruleset.PartPort}

// several reports whether elements are more than an address.
func (s *ipset) several() bool { return len(s.parts) > 1 || s.parts[0] != "ip" }

// asTuples makes the elements those of a set of several parts; not ok if one of them cannot be said so.
func (s *ipset) asTuples() bool {
	if s.set.Parts != nil {
		return true
	}
	parts := tupleKinds[s.kind]
	if parts == nil || s.mask != 1<<32-1 {
		return false
	}
	var all []ruleset.Tuple
	for _, e := range s.entries {
		t, ok := e.tuple()
		if !ok {
			return false
		}
		all = append(all, t)
	}
	s.set.Parts, s.set.Tuples = parts, all
	return true
}

// tuple is the element as one of a set of several parts.
func (e setEntry) tuple() (t ruleset.Tuple, ok bool) {
	for _, p := range e {
		switch p.kind {
		case "ip":
			net, isPrefix := p.addr.Prefix()
			if !isPrefix || t.Net.IsValid() && !t.Net.IsSingleIP() {
				return t, false
			}
			if t.Net.IsValid() {
				t.First = t.Net.Addr()
			}
			t.Net = net
		case "port":
			t.Proto, t.Port = uint8(p.proto), uint16(p.ports.From)
			if p.ports.From != p.ports.To { // a name of a type stands for its code 0
				return t, false
			}
			if p.proto == 1 || p.proto == 58 {
				t.Port = uint16(p.ports.From<<8 | p.code.From)
			}
		case "mac":
			t.MAC = p.num
		case "mark":
			t.Mark = uint32(p.num)
		case "iface":
			t.Iface = p.name
		}
	}
	return t, true
}

// fields are the packet's fields that sides of a rule mean for the parts of a set, and why there are none.
func (s *ipset) fields(sides []string) (out []ruleset.FieldID, why string) {
	for i, p := range s.set.Parts {
		fields := p.Fields()
		switch {
		case p == ruleset.PartMAC && sides[i] == "dst":
			return nil, "set " + quote(s.set.Name) + ": destination MAC addresses are not looked at"
		case sides[i] == "dst":
			out = append(out, fields[len(fields)-1])
		default:
			out = append(out, fields[0])
		}
	}
	return out, ""
}

// matchTuples is a match of a set of several parts.
func (l *lowering) matchTuples(u *use, s *ipset) ([]alternative, string) {
	fields, why := s.fields(u.val.sides)
	if why != "" {
		return nil, why
	}
	if why := l.seen(fields); why != "" {
		return nil, "set " + quote(s.set.Name) + ": " + why
	}
	l.useSet(s)
	return one(ruleset.Match{Field: ruleset.FieldElement, Not: u.not, Set: s.set.Name, Parts: fields, Pos: u.pos}), ""
}

// hookOf is the hook of the ruleset that packets of a built-in chain come from.
var hookOf = map[uint32]ruleset.Hook{
	hookPrerouting: ruleset.HookPrerouting, hookInput: ruleset.HookInput, hookForward: ruleset.HookForward, hookOutput: ruleset.HookOutput,
}

// seen says which of the fields packets of the chain at hand do not have, on any of the hooks that it is reached from.
func (l *lowering) seen(fields []ruleset.FieldID) string {
	for bit, hook := range hookOf {
		for _, f := range fields {
			if l.hooks&bit != 0 && !f.On(hook) {
				return f.String() + " is not known to all packets of this chain"
			}
		}
	}
	return ""
}

// changeTuples makes a rule change a set of several parts; it says why that cannot be.
func (l *lowering) changeTuples(c *ruleset.SetChange, sides []string, s *ipset) (why string) {
	switch {
	case !s.asTuples():
		return "set " + quote(c.Set) + ": rules change no sets of type " + s.kind
	case len(sides) < len(s.parts):
		return "set " + quote(c.Set) + ": it takes " + itoa(uint64(len(s.parts))) + " of src and dst"
	case slices.ContainsFunc(s.set.Tuples, func(t ruleset.Tuple) bool { return !t.Single() }):
		return "set " + quote(c.Set) + ": the kernel would add networks as small as the smallest in it, and only single addresses are added"
	}
	c.Field = ruleset.FieldElement
	if c.Parts, why = s.fields(sides); why == "" {
		if why = l.seen(c.Parts); why != "" {
			why = "set " + quote(c.Set) + ": " + why
		}
	}
	return why
}
