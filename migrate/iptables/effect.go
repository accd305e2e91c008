package iptables

import "github.com/bpfwall/bpfwall/ruleset"

// outcome is a set of the ways in which a packet's journey can end.
type outcome uint8

const (
	accepted outcome = 1 << iota
	dropped
)

// targetOutcomes are the targets, besides the standard ones and REJECT, that end a packet's journey.
var targetOutcomes = map[string]outcome{
	"REJECT": dropped, "NFQUEUE": accepted | dropped, "QUEUE": accepted | dropped, "SYNPROXY": dropped, "TPROXY": accepted,
}

// changers are the targets that change what later rules match.
var changers = map[string]bool{"MARK": true, "NOTRACK": true, "CT": true, "CONNMARK": true, "SET": true}

// effects judges what losing a rule does to access. It looks at which verdicts are possible, not at which packets get them,
// so it may say that access could change both ways where it changes one way.
type effects struct {
	table  *table
	inside map[*chain]outcome // ends within a chain, memoised
	onward map[*chain]outcome // ends after a user chain has come to its end
}

func newEffects(t *table) *effects {
	return &effects{table: t, inside: map[*chain]outcome{}, onward: map[*chain]outcome{}}
}

// ofLosing is the effect of losing rule i of a chain.
func (e *effects) ofLosing(c *chain, i int) Effect {
	r := c.rules[i]
	own, rest := e.ends(r), e.within(c.rules[i+1:])
	if r.jump != nil && r.jump.val.text == "RETURN" && r.target == nil {
		own = e.after(c)
	} else {
		rest |= e.after(c)
	}
	widens := own&dropped != 0 && rest&accepted != 0
	narrows := own&accepted != 0 && rest&dropped != 0
	switch {
	case r.target != nil && changers[r.target.ext.name] || widens && narrows:
		return Either
	case widens:
		return Widens
	case narrows:
		return Narrows
	}
	return Neither
}

// ends is how a rule can end a packet's journey; none if the packet goes on.
func (e *effects) ends(r *rule) outcome {
	switch {
	case r.jump == nil:
		return 0
	case r.target != nil:
		return targetOutcomes[r.target.ext.name]
	case r.chainName() != "":
		c := e.table.chain(r.chainName())
		if r.isGoto {
			return e.all(c) | e.after(c)
		}
		return e.all(c)
	}
	return map[string]outcome{"ACCEPT": accepted, "DROP": dropped}[r.jump.val.text]
}

func (e *effects) within(rules []*rule) outcome {
	var sum outcome
	for _, r := range rules {
		sum |= e.ends(r)
	}
	return sum
}

// all is how a packet's journey can end in a chain. Circles add nothing new.
func (e *effects) all(c *chain) outcome {
	if o, ok := e.inside[c]; ok {
		return o
	}
	e.inside[c] = 0
	e.inside[c] = e.within(c.rules)
	return e.inside[c]
}

// after is how the journey can end once the end of a chain is reached: by the policy, or after the jumps to it.
func (e *effects) after(c *chain) outcome {
	if c.builtin() {
		return map[ruleset.VerdictKind]outcome{ruleset.Accept: accepted, ruleset.Drop: dropped}[c.policy]
	}
	if o, ok := e.onward[c]; ok {
		return o
	}
	e.onward[c] = 0
	var sum outcome
	for _, from := range e.table.chains {
		for i, r := range from.rules {
			if r.chainName() != c.name {
				continue
			}
			if !r.isGoto {
				sum |= e.within(from.rules[i+1:])
			}
			sum |= e.after(from)
		}
	}
	e.onward[c] = sum
	return sum
}
