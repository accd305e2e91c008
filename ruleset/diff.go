package ruleset

import (
	"crypto/sha256"
	"fmt"
	"slices"
)

// ChangeKind is what happened to something between two rulesets.
type ChangeKind string

// The kinds of change.
const (
	Added   ChangeKind = "added"
	Removed ChangeKind = "removed"
	Changed ChangeKind = "changed"
	Moved   ChangeKind = "moved" // the same rule, before or behind other ones than it was
)

// Change is one difference between two rulesets.
type Change struct {
	Kind   ChangeKind `json:"kind"`
	ID     string     `json:"id"`     // of a rule or policy; "@name" for a set
	Before string     `json:"before"` // what it did; "" if added
	After  string     `json:"after"`
	Pos    Pos        `json:"pos,omitzero"` // in the new ruleset; of what is removed, in the old one
}

// Diff lists what is different in the new ruleset. Rules are told apart by ID, so both need AssignIDs first; a nil ruleset is empty.
func Diff(before, after *Ruleset) []Change {
	was, is := parts(before), parts(after)
	var out []Change
	for _, p := range was.list {
		if _, there := is.byID[p.id]; !there {
			out = append(out, Change{Removed, p.id, p.text(), "", p.pos})
		}
	}
	for _, p := range is.list {
		switch old, there := was.byID[p.id]; {
		case !there:
			out = append(out, Change{Added, p.id, "", p.text(), p.pos})
		case p.hashed && old.hashed: // the same text, since it is in the identity
		case old.text() != p.text():
			out = append(out, Change{Changed, p.id, old.text(), p.text(), p.pos})
		}
	}
	return append(out, moved(before, after)...)
}

// part is something with an identity: a rule, a policy or a set.
type part struct {
	id     string
	hashed bool // its identity is a hash of its text
	text   func() string
	pos    Pos
}

type partList struct {
	list []part
	byID map[string]part
}

func parts(rs *Ruleset) partList {
	n := 0
	if rs != nil {
		for _, c := range rs.Chains {
			n += len(c.Rules) + 1
		}
	}
	l := partList{list: make([]part, 0, n), byID: make(map[string]part, n)}
	add := func(p part) {
		l.list = append(l.list, p)
		l.byID[p.id] = p
	}
	if rs == nil {
		return l
	}
	for _, s := range rs.Sets {
		add(part{"@" + s.Name, false, s.summary, s.Pos})
	}
	for _, c := range rs.Chains {
		for _, r := range c.Rules {
			add(part{r.ID, c.hashes(r), r.String, r.Pos})
		}
		if c.Hook != HookNone {
			add(part{c.PolicyID(), false, Verdict{Kind: c.Policy}.String, c.Pos})
		}
	}
	return l
}

// fewMembers is how many members of a set a difference spells out.
const fewMembers = 40

// summary is the set in one line; of a long one, what tells it from another.
func (s *Set) summary() string {
	text := s.String()
	if len(s.Members) <= fewMembers {
		return text
	}
	sum := sha256.Sum256([]byte(text))
	return fmt.Sprintf("set %s: %d addresses, sha256 %x", word(s.Name), len(s.Members), sum[:5])
}

// moved lists rules of both rulesets that changed places. Of two that swapped it names one: as few as explain the new order.
func moved(before, after *Ruleset) []Change {
	if before == nil || after == nil {
		return nil
	}
	var out []Change
	for _, c := range after.Chains {
		old := before.Chain(c.Name, c.Family)
		if old == nil {
			continue
		}
		place := map[string]int{}
		for i, r := range old.Rules {
			place[r.ID] = i
		}
		kept := slices.DeleteFunc(slices.Clone(c.Rules), func(r *Rule) bool { _, there := place[r.ID]; return !there })
		stays := longestRising(kept, place)
		for i, r := range kept {
			if !stays[i] {
				out = append(out, Change{Moved, r.ID, r.String(), r.String(), r.Pos})
			}
		}
	}
	return out
}

// longestRising marks a longest run of rules, not necessarily neighbours, whose old places rise (patience sorting, n log n).
func longestRising(rules []*Rule, place map[string]int) []bool {
	var piles []int // index of the rule on top of each pile
	before := make([]int, len(rules))
	for i, r := range rules {
		at, _ := slices.BinarySearchFunc(piles, place[r.ID], func(top, p int) int { return place[rules[top].ID] - p })
		before[i] = -1
		if at > 0 {
			before[i] = piles[at-1]
		}
		piles = append(piles[:at], append([]int{i}, piles[min(at+1, len(piles)):]...)...)
	}
	in := make([]bool, len(rules))
	if len(piles) > 0 {
		for i := piles[len(piles)-1]; i >= 0; i = before[i] {
			in[i] = true
		}
	}
	return in
}
