package ruleset

import (
	"fmt"
	"strings"
)

// operandKinds says for every kind of field which operands it takes, as the words that errors use.
var operandKinds = [...]string{
	KindNumber: "numbers", KindBits: "bits", KindFlags: "masked numbers", KindAddr: "addresses", KindIface: "interface names", KindCgroup: "names of control groups", KindLimit: "a rate",
	KindSample: "a sample", KindQuota: "a quota", KindRecent: "a list", KindElement: "a set", KindFlows: "a number of flows",
}

// match checks one match of a rule of a chain.
func (c *checker) match(chain *Chain, m *Match, pos Pos) {
	if m.Field >= fieldCount {
		c.errs.Add(pos, "match: no field has the number %d", m.Field)
		return
	}
	if m.Limit != nil {
		c.table(m, pos)
	}
	if m.Field == FieldCgroup {
		for _, name := range m.Names {
			c.cgroupNames[name] = true
		}
	}
	if blind := c.blind(chain, m.Field); blind != 0 {
		c.errs.Add(pos, "%s: not known on hook %s", m.Field, blind).Help = fmt.Sprintf("it can be matched on %s", hookSet(Fields[m.Field].Hooks))
	}
	for _, problem := range m.problems(chain.Family) {
		c.errs.Add(pos, "%s: %s", m.Field, problem)
	}
	for _, name := range m.sets() {
		if s := c.bySetName[name]; s == nil {
			c.errs.Add(pos, "%s: there is no set %q", m.Field, name)
		} else if m.Field == FieldElement {
			c.element(chain, s, m.Parts, pos)
		} else if len(s.Parts) > 0 {
			c.errs.Add(pos, "%s: the elements of set %q are %s", m.Field, name, joinParts(s.Parts))
		} else if s.Live == nil && name != m.Set {
			c.errs.Add(pos, "%s: the set %q is not live, and stands among others", m.Field, name)
		}
	}
}

// blind is the hooks that lead to a chain and cannot see a field. Interfaces in a user chain count only if none of its hooks sees them:
// netfilter takes the missing one for a name that equals nothing.
func (c *checker) blind(chain *Chain, f FieldID) hookSet {
	hooks := c.hooks[chain]
	blind := hooks &^ hookSet(Fields[f].Hooks)
	if Fields[f].Kind == KindIface && chain.Hook == HookNone && blind != hooks {
		return 0
	}
	return blind
}

// problems are what is wrong with a match's operands, in a chain of family f.
func (m *Match) problems(f Family) []string {
	want := Fields[m.Field].Kind
	var room [4]string
	got := m.operandsGiven(want, room[:0])
	switch {
	case len(got) == 0:
		return []string{"has no operands"}
	case len(got) > 1 || !takes(want, got[0]):
		return []string{fmt.Sprintf("takes %s, not %s", operandKinds[want], strings.Join(got, " and "))}
	}
	var out []string
	add := func(s string) {
		if s != "" {
			out = append(out, s)
		}
	}
	for _, r := range m.Ranges {
		add(m.Field.rangeProblem(r))
	}
	for _, k := range m.Masked {
		add(m.Field.maskedProblem(k))
	}
	for _, a := range m.Addrs {
		add(a.problemIn(f))
	}
	for _, n := range m.Names {
		if want == KindCgroup {
			add(CgroupProblem(n))
		} else {
			add(ifaceProblem(n))
		}
	}
	if m.Limit != nil {
		add(m.Limit.problem())
	}
	if m.Sample != nil {
		add(m.Sample.problem())
	}
	if m.Recent != nil {
		add(m.Recent.problem())
	}
	if m.Flows != nil {
		add(m.Flows.problem())
	}
	return out
}

// operandsGiven puts the names of the sorts of operands that a match has behind got.
func (m *Match) operandsGiven(want Kind, got []string) []string {
	names := operandKinds[KindIface]
	if want == KindCgroup {
		names = operandKinds[want]
	}
	for _, o := range []struct {
		name  string
		given bool
	}{
		{"ranges", len(m.Ranges) > 0}, {"masked numbers", len(m.Masked) > 0}, {"addresses", len(m.Addrs) > 0 || len(m.Live) > 0 && m.Set == ""},
		{"a set", m.Set != ""}, {names, len(m.Names) > 0}, {"a rate", m.Limit != nil}, {"a sample", m.Sample != nil}, {"a quota", m.Quota != nil}, {"a list", m.Recent != nil}, {"a number of flows", m.Flows != nil},
	} {
		if o.given {
			got = append(got, o.name)
		}
	}
	return got
}

// takes reports whether fields of a kind take a sort of operands.
func takes(k Kind, operands string) bool {
	switch k {
	case KindNumber:
		return operands == "ranges" || operands == "masked numbers"
	case KindBits:
		return operands == "masked numbers"
	case KindAddr:
		return operands == "addresses" || operands == "a set"
	}
	return operands == operandKinds[k]
}

func (f FieldID) rangeProblem(r Range) string {
	switch n := Fields[f].Bits; {
	case r.From > r.To:
		return fmt.Sprintf("the range %d-%d starts above its end", r.From, r.To)
	case width(r.To) > n:
		return fmt.Sprintf("%d is above %d", r.To, uint64(1)<<n-1)
	}
	return ""
}

func (f FieldID) maskedProblem(k Masked) string {
	n := Fields[f].Bits
	switch {
	case width(k.Value) > n || width(k.Mask) > n:
		return fmt.Sprintf("%#x/%#x does not fit into %d bits", k.Value, k.Mask, n)
	case Fields[f].Kind == KindBits && (k.Value != k.Mask || k.Value == 0):
		return fmt.Sprintf("%#x/%#x is not a set of bits", k.Value, k.Mask)
	}
	return ""
}

// problem is what is wrong with an address operand; "" if nothing.
func (r AddrRange) problem() string {
	switch {
	case !r.From.IsValid():
		return "an address is missing"
	case r.From.Zone() != "" || r.From.Is4In6():
		return fmt.Sprintf("%s is not a plain IPv4 or IPv6 address", r.From)
	case r.Mask.IsValid() && r.Mask.BitLen() != r.From.BitLen():
		return fmt.Sprintf("the mask %s is not of the family of %s", r.Mask, r.From)
	case r.Mask.IsValid() && and(r.From, r.Mask) != r.From:
		return fmt.Sprintf("%s has bits outside of the mask %s", r.From, r.Mask)
	case r.Mask.IsValid():
		return ""
	case !r.To.IsValid() || r.To.BitLen() != r.From.BitLen():
		return fmt.Sprintf("the range from %s has no end of the same family", r.From)
	case r.To.Less(r.From):
		return fmt.Sprintf("the range %s starts above its end", r)
	}
	return ""
}

// problemIn is problem in a chain of family f, where an address of the other family is a mistake.
func (r AddrRange) problemIn(f Family) string {
	if p := r.problem(); p != "" {
		return p
	}
	if !f.Covers(familyOf(r)) {
		return fmt.Sprintf("%s is not an %s address, and the chain judges no others", r, f)
	}
	return ""
}

func familyOf(r AddrRange) Family {
	if r.From.Is4() {
		return FamilyIPv4
	}
	return FamilyIPv6
}

// ifaceProblem: Linux takes names of 1 to 15 bytes without '/', ':' and white space.
func ifaceProblem(name string) string {
	switch {
	case name == "":
		return "an interface name is empty"
	case len(name) > 15:
		return fmt.Sprintf("%q is longer than the 15 bytes of an interface name", name)
	case strings.ContainsAny(name, "/ \t\n\r\v\f\x00"):
		return fmt.Sprintf("%q cannot be an interface name", name)
	}
	return ""
}
