package ruleset

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Set is a named list of addresses. Members of both families may be mixed.
type Set struct {
	Name    string      `json:"name"`
	Members []AddrRange `json:"members,omitempty"` // what its author lists; changes with the rules only
	Live    *Live       `json:"live,omitempty"`    // nil: the members are all
	// Parts are what elements are made of, in sets of more than addresses; Tuples are their members.
	Parts  []Part  `json:"parts,omitempty"`
	Tuples []Tuple `json:"tuples,omitempty"`
	Pos    Pos     `json:"pos,omitzero"`
}

// Live is what a set has besides its members: elements that come and go at run time, without a change of rules. They stay when
// rules are replaced or taken back.
type Live struct {
	Dynamic  bool   `json:"dynamic,omitempty"`  // people and rules add elements; else only the feed does
	Max      uint32 `json:"max,omitempty"`      // elements at most; 0: DefaultMax
	Timeout  uint32 `json:"timeout,omitempty"`  // seconds that an element stays if whoever adds it does not say; 0: for good
	Counters bool   `json:"counters,omitempty"` // packets and bytes are counted for every element
	Feed     *Feed  `json:"feed,omitempty"`
}

// Feed is where a list of elements comes from that is fetched from time to time.
type Feed struct {
	File    string `json:"file,omitempty"`    // either this, or with Country a database of the networks of countries
	URL     string `json:"url,omitempty"`     // or that
	Refresh uint32 `json:"refresh,omitempty"` // seconds after which it is to be fetched again; 0: when somebody asks
	Empty   bool   `json:"empty,omitempty"`   // the set is emptied if it cannot be fetched; else the last list stays

	Country []string `json:"country,omitempty"` // ISO 3166-1 codes of the countries whose networks are taken from File
}

// The number of elements that a set may ask for.
const (
	DefaultMax  = 65536
	MaxElements = 1 << 24
)

// Size is how many elements the set may hold at run time.
func (l *Live) Size() uint32 {
	if l.Max == 0 {
		return DefaultMax
	}
	return l.Max
}

// SetChange puts an address of the packet into a set, or takes it out.
type SetChange struct {
	Set     string  `json:"set"`
	Field   FieldID `json:"field"`             // FieldSrcAddr or FieldDstAddr, or FieldElement with Parts
	Delete  bool    `json:"delete,omitempty"`  // take it out
	Renew   bool    `json:"renew,omitempty"`   // an address that is in the set gets its time anew
	Timeout int64   `json:"timeout,omitempty"` // seconds; 0: the set's; below 0: for good

	Parts []FieldID `json:"parts,omitempty"` // FieldElement: the packet's field for each part of the set
}

// Set finds a set by name; nil if there is none.
func (rs *Ruleset) Set(name string) *Set {
	for _, s := range rs.Sets {
		if s.Name == name {
			return s
		}
	}
	return nil
}

// sets are all that a match names.
func (m *Match) sets() []string {
	if m.Set == "" {
		return m.Live
	}
	return append([]string{m.Set}, m.Live...)
}

// UsesSet reports whether some rule, reachable or not, matches or changes a set.
func (rs *Ruleset) UsesSet(set string) bool {
	if rs.any(func(m *Match) bool { return slices.Contains(m.sets(), set) }) {
		return true
	}
	for _, c := range rs.Chains {
		for _, r := range c.Rules {
			for _, s := range r.Statements {
				if s.Change != nil && s.Change.Set == set {
					return true
				}
			}
		}
	}
	return false
}

// String is the set in one line.
func (s *Set) String() string {
	members := "empty"
	if len(s.Members) > 0 {
		members = list(s.Members)
	}
	if len(s.Parts) > 0 {
		members = s.tuples()
	}
	return fmt.Sprintf("set %s: %s%s", word(s.Name), members, s.Live)
}

// tuples are the parts and members of a set of several parts.
func (s *Set) tuples() string {
	words := []string{"of " + joinParts(s.Parts) + ":"}
	for _, t := range s.Tuples {
		words = append(words, t.Text(s.Parts))
	}
	if len(s.Tuples) == 0 {
		words = append(words, "empty")
	}
	return strings.Join(words, " ")
}

// String is what is live of a set, to follow its members; "" for nil.
func (l *Live) String() string {
	if l == nil {
		return ""
	}
	kind := "live"
	if l.Dynamic {
		kind = "dynamic"
	}
	words := []string{fmt.Sprintf("; %s, at most %d", kind, l.Size())}
	if l.Timeout != 0 {
		words = append(words, "for "+(time.Duration(l.Timeout)*time.Second).String())
	}
	if l.Counters {
		words = append(words, "counted")
	}
	if f := l.Feed; f != nil {
		from := word(f.File + f.URL)
		if len(f.Country) > 0 {
			from = strings.Join(f.Country, ",") + " of " + from
		}
		words = append(words, "from "+from)
	}
	return strings.Join(words, ", ")
}

// String is the change in words.
func (c *SetChange) String() string {
	side := "source"
	if c.Field == FieldDstAddr {
		side = "destination"
	}
	if c.Field == FieldElement {
		side = FieldsText(c.Parts)
	}
	if c.Delete {
		return fmt.Sprintf("delete %s from @%s", side, word(c.Set))
	}
	text := fmt.Sprintf("add %s to @%s", side, word(c.Set))
	switch {
	case c.Timeout > 0:
		text += " for " + (time.Duration(c.Timeout) * time.Second).String()
	case c.Timeout < 0:
		text += " for good"
	}
	if c.Renew {
		text += ", anew each time"
	}
	return text
}

// problem is what is wrong with what is live of a set; "" if nothing.
func (l *Live) problem() string {
	switch {
	case l == nil:
		return ""
	case l.Max > MaxElements:
		return fmt.Sprintf("max %d: at most %d", l.Max, MaxElements)
	case l.Timeout > maxTimeout:
		return "timeout: longer than a year"
	case !l.Dynamic && l.Feed == nil:
		return "live, but neither dynamic nor with a feed"
	case !l.Dynamic && (l.Timeout != 0 || l.Counters):
		return "only elements of dynamic sets have timeouts and counters"
	case l.Feed != nil && (l.Feed.File == "") == (l.Feed.URL == ""):
		return "a feed has either a file or a url"
	}
	return ""
}

// change checks that a rule can change a set.
func (c *checker) change(chain *Chain, r *Rule, ch *SetChange) {
	s := c.bySetName[ch.Set]
	switch {
	case s == nil:
		c.errs.Add(r.Pos, "set %q: there is no such set", ch.Set)
	case len(s.Parts) == 0 && ch.Field != FieldSrcAddr && ch.Field != FieldDstAddr:
		c.errs.Add(r.Pos, "set %q: %s cannot be added to it", ch.Set, ch.Field)
	case len(s.Parts) > 0 && ch.Field != FieldElement:
		c.errs.Add(r.Pos, "set %q: its elements are %s, and not %s", ch.Set, joinParts(s.Parts), ch.Field)
	case s.Live == nil || !s.Live.Dynamic:
		c.errs.Add(r.Pos, "set %q: rules change it, but it is not dynamic", ch.Set).Help = "declare it dynamic"
	case ch.Timeout > maxTimeout:
		c.errs.Add(r.Pos, "set %q: a time longer than a year", ch.Set)
	}
	if s != nil && ch.Field == FieldElement {
		c.element(chain, s, ch.Parts, r.Pos)
	}
}
