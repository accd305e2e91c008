package ruleset

import (
	"fmt"
	"slices"
	"strings"
)

// tupleProblem is what is wrong with the parts of a set's elements; "" if nothing, or it is a set of addresses.
func (s *Set) tupleProblem() string {
	if len(s.Parts) == 0 {
		if len(s.Tuples) > 0 {
			return "elements of several parts in a set of addresses"
		}
		return ""
	}
	words, seen := 0, map[Part]int{}
	for _, p := range s.Parts {
		info, known := partTable[p]
		words += info.words
		seen[p]++
		switch {
		case !known:
			return fmt.Sprintf("part %q: there is none of this name", p)
		case seen[p] > 1 && p != PartAddress || seen[p] > 2:
			return fmt.Sprintf("part %q: too often", p)
		}
	}
	switch {
	case words > MaxPartWords:
		return "its elements have more parts than there is room for"
	case seen[PartPort] > 0 && seen[PartProtocol] > 0:
		return "a port has its protocol with it"
	case len(s.Members) > 0:
		return "addresses in a set whose elements have several parts"
	case s.Live != nil && s.Live.Feed != nil:
		return "a list that is fetched is one of addresses"
	}
	for _, t := range s.Tuples {
		if back, problem := ParseTuple(s.Parts, t.Text(s.Parts)); problem != "" || back != t {
			return fmt.Sprintf("element %q: not %s", t.Text(s.Parts), joinParts(s.Parts))
		}
	}
	return ""
}

// element checks that a rule compares each part of a set's elements with a field that it fits, and that the chain's packets have.
func (c *checker) element(chain *Chain, s *Set, fields []FieldID, pos Pos) {
	if len(s.Parts) == 0 {
		c.errs.Add(pos, "set %q: its elements are addresses, and have no parts", s.Name)
		return
	}
	if len(fields) != len(s.Parts) {
		c.errs.Add(pos, "set %q: %d fields for the parts %s", s.Name, len(fields), joinParts(s.Parts))
		return
	}
	for i, f := range fields {
		if !slices.Contains(s.Parts[i].Fields(), f) {
			c.errs.Add(pos, "set %q: %s is no %s", s.Name, f, s.Parts[i])
		} else if blind := c.blind(chain, f); blind != 0 {
			c.errs.Add(pos, "%s: not known on hook %s", f, blind)
		}
	}
}

// FieldsText is fields as rules name them: "source, destination port".
func FieldsText(fields []FieldID) string {
	words := make([]string, len(fields))
	for i, f := range fields {
		words[i] = f.String()
	}
	return strings.Join(words, ", ")
}

// FieldsOf are the fields that are compared with parts unless somebody says otherwise: the sender, then the receiver, and the port and
// interface that the packet goes to, or comes in by.
func FieldsOf(list []Part) (out []FieldID) {
	addresses := 0
	for _, p := range list {
		fields := p.Fields()
		switch p {
		case PartAddress:
			out = append(out, fields[min(addresses, 1)])
			addresses++
		case PartPort:
			out = append(out, FieldDstPort)
		default:
			out = append(out, fields[0])
		}
	}
	return out
}
