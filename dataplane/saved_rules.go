package dataplane

import (
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/bpfwall/bpfwall/ruleset"
)

// savedHead begins the file of the rules: a ruleset whose chains have no rules yet, and how many come after it.
type savedHead struct {
	Ruleset *ruleset.Ruleset
	Rules   int
}

// savedRules is what comes after it, again and again: the next rules of a chain. As one value they would all be in memory once more.
type savedRules struct {
	Chain int
	Tape  []byte          // so many rules, and of each whether it is plain: then it follows
	Rules []*ruleset.Rule // the others. Of older versions: all
}

// tapeOf is some rules on a tape, and those that have no place on it.
func tapeOf(t *tape, rules []*ruleset.Rule) (others []*ruleset.Rule) {
	n := len(rules)
	tapeNumber(t, &n)
	for _, r := range rules {
		here := plain(r)
		if t.flag(&here); here {
			t.rule(r)
		} else {
			others = append(others, r)
		}
	}
	return others
}

// rules is the rules of a part, in order.
func (s *savedRules) rules() ([]*ruleset.Rule, error) {
	if len(s.Tape) == 0 {
		return s.Rules, nil
	}
	t, n, others := &tape{reading: true, from: string(s.Tape)}, 0, s.Rules
	if tapeNumber(t, &n); n < 0 || n > rulesAtATime {
		return nil, errTape
	}
	all := make([]ruleset.Rule, n)
	out := make([]*ruleset.Rule, n)
	for i := range all {
		here := false
		switch t.flag(&here); {
		case here:
			out[i] = &all[i]
			t.rule(out[i])
		case len(others) == 0:
			return nil, errTape
		default:
			out[i], others = others[0], others[1:]
		}
	}
	if t.bad || len(t.from)+len(others) > 0 {
		return nil, errTape
	}
	return out, nil
}

var errTape = errors.New("damaged: lengths do not fit")

const rulesAtATime = 1000

func writeRules(w io.Writer, rs *ruleset.Ruleset) error {
	without := *rs
	without.Chains = nil
	head := savedHead{Ruleset: &without}
	for _, c := range rs.Chains {
		empty := *c
		empty.Rules = nil
		without.Chains = append(without.Chains, &empty)
		head.Rules += len(c.Rules)
	}
	to := gob.NewEncoder(w)
	if err := to.Encode(head); err != nil {
		return err
	}
	t := &tape{}
	for i, c := range rs.Chains {
		for part := range slices.Chunk(c.Rules, rulesAtATime) {
			t.to, t.file = t.to[:0], ""
			others := tapeOf(t, part)
			if err := to.Encode(savedRules{Chain: i, Tape: t.to, Rules: others}); err != nil {
				return err
			}
		}
	}
	return nil
}

func readRules(r io.Reader, rs *ruleset.Ruleset) error {
	from := gob.NewDecoder(r)
	head := savedHead{Ruleset: rs}
	if err := from.Decode(&head); err != nil {
		return err
	}
	var files names
	for n := 0; n < head.Rules; {
		var part savedRules
		var rules []*ruleset.Rule
		err := from.Decode(&part)
		if err == nil {
			rules, err = part.rules()
		}
		switch {
		case errors.Is(err, io.EOF):
			return fmt.Errorf("ends after %d of %d rules", n, head.Rules)
		case err != nil:
			return err
		case part.Chain < 0 || part.Chain >= len(rs.Chains) || len(rules) == 0:
			return fmt.Errorf("rule %d: of chain %d of %d", n, part.Chain, len(rs.Chains))
		}
		c := rs.Chains[part.Chain]
		for _, rule := range part.Rules {
			files.share(rule)
		}
		c.Rules = append(c.Rules, rules...)
		n += len(rules)
	}
	return nil
}

// names has positions that name the same file share the string. A file has few, and a rule many positions.
type names struct{ last string }

func (n *names) share(r *ruleset.Rule) {
	n.one(&r.Pos)
	for i := range r.Matches {
		n.one(&r.Matches[i].Pos)
	}
}

func (n *names) one(at *ruleset.Pos) {
	if at.File != n.last {
		n.last = at.File
	}
	at.File = n.last
}
