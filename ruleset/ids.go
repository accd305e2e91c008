package ruleset

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
)

// AssignIDs gives every rule without an ID one that survives edits elsewhere: its chain and its name, or for a rule without a
// name its chain and a hash of what it does (not of where it stands). The second of two identical rules of a chain gets "~2".
func (rs *Ruleset) AssignIDs() {
	n := 0
	for _, c := range rs.Chains {
		n += len(c.Rules)
	}
	given := make(ids, n)
	for _, c := range rs.Chains {
		for _, r := range c.Rules {
			if r.ID != "" {
				given[r.ID] = 1
			}
		}
	}
	for _, c := range rs.Chains {
		c.assignIDs(given)
	}
}

func (c *Chain) assignIDs(given ids) {
	key := c.Key()
	var text []byte
	for _, r := range c.Rules {
		switch {
		case r.ID != "":
		case r.Name != "":
			r.ID = given.free(key + "/" + r.Name)
		default:
			text = r.appendTo(text[:0])
			sum := sha256.Sum256(text)
			text = hex.AppendEncode(append(append(text[:0], key...), '#'), sum[:5])
			r.ID = given.free(string(text))
		}
	}
}

// ids counts how often an identity was asked for.
type ids map[string]int

// free is id, or the first of id~2, id~3 … that is not given away yet.
func (given ids) free(id string) string {
	for {
		given[id]++
		n := given[id]
		if n == 1 {
			return id
		}
		if twin := fmt.Sprintf("%s~%d", id, n); given[twin] == 0 {
			given[twin] = 1
			return twin
		}
	}
}

// hashes reports whether a rule's identity has a hash of its text.
func (c *Chain) hashes(r *Rule) bool {
	return r.Name == "" && strings.HasPrefix(r.ID, c.Key()) && strings.HasPrefix(r.ID[len(c.Key()):], "#")
}

// Key is a chain's name, and its family unless that is any: unique in a ruleset.
func (c *Chain) Key() string {
	if c.Family == FamilyAny {
		return c.Name
	}
	return c.Name + "/" + c.Family.String()
}

// PolicyID is the identity of a base chain's policy, as rules have theirs.
func (c *Chain) PolicyID() string { return c.Key() + "#policy" }
