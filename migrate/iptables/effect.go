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
	suffix map[*chain][]outcome // ends in the rules from each one on
	onward map[*chain]outcome   // ends after a user chain has come to its end
	jumps  map[*chain][]place   // the jumps to each chain; nil: not asked for yet
}

// place is a rule of a chain.
type place struct {
	chain *chain
	index int
}

func newEffects(t *table) *effects {
	return &effects{table: t, suffix: map[*chain][]outcome{}, onward: map[*chain]outcome{}}
}

// jumpsTo is the jumps to a chain.
func (e *effects) jumpsTo(c *chain) []place {
	if e.jumps != nil {
		return e.jumps[c]
	}
	e.jumps = map[*chain][]place{}
	for _, from := range e.table.chains {
		for i, r := range from.rules {
			if to := e.table.chain(r.chainName()); to != nil {
				e.jumps[to] = append(e.jumps[to], place{from, i})
			}
		}
	}
	return e.jumps[c]
}

// ofLosing is the effect of losing rule i of a chain.
func (e *effects) ofLosing(c *chain, i int) Effect {
	r := c.rules[i]
	own, rest := e.ends(r), e.from(c, i+1)
	switch {
	case r.jump != nil && r.jump.val.text == "RETURN" && r.target == nil:
		own = e.after(c)
	case r.isGoto:
		own |= e.after(c)
		rest |= e.after(c)
	default:
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
	switch c := e.table.chain(r.chainName()); {
	case r.does != nil && r.does.lost == "":
		return map[ruleset.VerdictKind]outcome{ruleset.Accept: accepted}[r.does.verdict.Kind]
	case r.jump == nil:
		return 0
	case r.target != nil:
		return targetOutcomes[r.target.ext.name]
	case c != nil:
		return e.from(c, 0)
	}
	return map[string]outcome{"ACCEPT": accepted, "DROP": dropped}[r.jump.val.text]
}

// from is how a packet's journey can end in the rules of a chain from rule i on. Circles add nothing new.
func (e *effects) from(c *chain, i int) outcome {
	sums, ok := e.suffix[c]
	if !ok {
		sums = make([]outcome, len(c.rules)+1)
		e.suffix[c] = sums
		for i := len(c.rules) - 1; i >= 0; i-- {
			sums[i] = sums[i+1] | e.ends(c.rules[i])
		}
	}
	return sums[i]
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
	for _, p := range e.jumpsTo(c) {
		if !p.chain.rules[p.index].isGoto {
			sum |= e.from(p.chain, p.index+1)
		}
		sum |= e.after(p.chain)
	}
	e.onward[c] = sum
	return sum
}
