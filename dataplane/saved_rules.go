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
	Rules []*ruleset.Rule
}

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
	for i, c := range rs.Chains {
		for part := range slices.Chunk(c.Rules, rulesAtATime) {
			if err := to.Encode(savedRules{i, part}); err != nil {
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
		err := from.Decode(&part)
		switch {
		case errors.Is(err, io.EOF):
			return fmt.Errorf("ends after %d of %d rules", n, head.Rules)
		case err != nil:
			return err
		case part.Chain < 0 || part.Chain >= len(rs.Chains) || len(part.Rules) == 0:
			return fmt.Errorf("rule %d: of chain %d of %d", n, part.Chain, len(rs.Chains))
		}
		c := rs.Chains[part.Chain]
		for _, rule := range part.Rules {
			files.share(rule)
		}
		c.Rules = append(c.Rules, part.Rules...)
		n += len(part.Rules)
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
