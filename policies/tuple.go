package policies

import (
	"slices"
	"strings"

	"github.com/bpfwall/bpfwall/ruleset"
)

// tupleSet reads the parts and members of a set whose elements have several parts.
func (p *parser) tupleSet(t table, s *ruleset.Set) {
	names := make([]string, len(ruleset.PartNames))
	for i, n := range ruleset.PartNames {
		names[i] = string(n)
	}
	for _, v := range t.texts("parts") {
		if !slices.Contains(names, v.s) {
			p.unknown(v, "part", v.s, names)
			continue
		}
		s.Parts = append(s.Parts, ruleset.Part(v.s))
	}
	if len(s.Parts) == 0 {
		p.fail(t.keyPos("parts"), "set %q: parts: none is named", s.Name)
		return
	}
	for _, key := range []string{"file", "url", "refresh", "country", "database"} {
		if t.has(key) {
			p.fail(t.keyPos(key), "set %q: %s: lists of elements of several parts are not read", s.Name, key).Help = "name them as members, or add them with bpfwall set add --file"
		}
	}
	for _, v := range t.texts("members") {
		tuple, problem := ruleset.ParseTuple(s.Parts, v.s)
		if problem != "" {
			p.fail(v.pos, "element %q: %s", v.s, problem).Help = "write for example 192.0.2.1,tcp/80 for parts address and port"
			continue
		}
		s.Tuples = append(s.Tuples, tuple)
	}
}

// severalParts refuses a set where one of addresses stands.
func (p *parser) severalParts(v text, s *ruleset.Set) {
	p.fail(v.pos, "set %q: its elements have several parts", s.Name).Help = `ask for them together: match = "` + ruleset.FieldsText(ruleset.FieldsOf(s.Parts)) + " in @" + s.Name + `"`
}

// partFields are the fields that can be compared with parts, by name.
var partFields = func() map[string]ruleset.FieldID {
	out := map[string]ruleset.FieldID{}
	for _, part := range ruleset.PartNames {
		for _, f := range part.Fields() {
			out[f.String()] = f
		}
	}
	return out
}()

// fields reads names of fields with commas between them; nil if one is unknown.
func fields(s string) (out []ruleset.FieldID) {
	for name := range strings.SplitSeq(s, ",") {
		f, ok := partFields[strings.TrimSpace(name)]
		if !ok {
			return nil
		}
		out = append(out, f)
	}
	return out
}

// elementOperand is "source, destination port in @set".
func elementOperand(p *parser, m *ruleset.Match, v text) {
	names, set, ok := strings.Cut(v.s, " in @")
	parts := fields(names)
	switch {
	case !ok || parts == nil:
		p.fail(v.pos, "%q: not fields in a set", v.s).Help = `write for example match = "source, destination port in @pairs"`
	case m.Set != "":
		p.fail(v.pos, "%q: one set is asked for at a time", v.s).Help = "write the other one in also"
	default:
		if s := p.useSet(v, strings.TrimSpace(set)); s != nil {
			m.Set, m.Parts = s.Name, parts
		}
	}
}

// changeParts reads "add source, destination port to @set for 1h" and the like; nil if it is a change of a set of addresses, or none.
func (p *parser) changeParts(v text) *ruleset.SetChange {
	verb, rest, _ := strings.Cut(v.s, " ")
	names, set, ok := strings.Cut(rest, " "+changeVerbs[verb]+" @")
	parts := fields(names)
	if !ok || len(parts) == 1 && (parts[0] == ruleset.FieldSrcAddr || parts[0] == ruleset.FieldDstAddr) || parts == nil {
		return nil
	}
	c := &ruleset.SetChange{Field: ruleset.FieldElement, Parts: parts, Delete: verb == "delete", Renew: verb == "renew"}
	set, long, timed := strings.Cut(set, " for ")
	c.Set = strings.TrimSpace(set)
	switch {
	case timed && long == "good":
		c.Timeout = -1
	case timed:
		n, good := p.seconds(text{long, v.pos})
		if !good {
			return nil
		}
		c.Timeout = int64(n)
	}
	return c
}

func partsText(list []ruleset.Part) string {
	words := make([]string, len(list))
	for i, p := range list {
		words[i] = string(p)
	}
	return quoteAll(words)
}
