package translator

import (
	"fmt"
	"maps"

	"github.com/bpfwall/bpfwall/ruleset"
	"github.com/bpfwall/bpfwall/translator/classify"
)

// Slots says where in the shared maps the counters and token buckets of a ruleset are: identity → index. Rules and policies that
// two generations have in common keep their slots, and with them what was counted.
type Slots struct {
	Counters map[string]uint32 `json:"counters"` // by Rule.ID and Chain.PolicyID
	Limits   map[string]uint32 `json:"limits"`   // by LimitID

	// Shapes are those of the tables that rules are in: as long as these can stay, so can the code. Parts are how the rules are divided there.
	Shapes []classify.Shape `json:"shapes,omitempty"`
	Parts  []Parts          `json:"parts,omitempty"`
}

// FreshSlots are the slots of identities that were not there before.
type FreshSlots struct{ Counters, Limits []uint32 }

// NoRule is fw_pkt.rule where no rule or policy decided: a malformed packet, or a hook without a chain for the packet's family.
const NoRule = ^uint32(0)

// LimitID is the identity of what a rule's i-th match remembers.
func LimitID(r *ruleset.Rule, i int) string {
	return fmt.Sprintf("%s#%s%d", r.ID, r.Matches[i].Field, i)
}

// slotted reports whether what a match remembers is in a slot of the map "limits".
func slotted(m *ruleset.Match) bool {
	return m.Limit != nil && !m.Limit.Keyed() || m.Sample != nil && m.Sample.Every != 0 || m.Quota != nil
}

// assignSlots keeps the slots of identities that were there before, and gives new ones the lowest that are free.
func (p *plan) assignSlots(prev Slots) {
	n := len(p.rs.Chains)
	for _, c := range p.rs.Chains {
		n += len(c.Rules)
	}
	counters, limits := make([]string, 0, n), []string(nil)
	for _, c := range p.rs.Chains {
		if c.Hook != ruleset.HookNone {
			counters = append(counters, c.PolicyID())
		}
		for _, r := range c.Rules {
			counters = append(counters, r.ID)
			for i := range r.Matches {
				if slotted(&r.Matches[i]) {
					limits = append(limits, LimitID(r, i))
				}
			}
		}
	}
	var slots []uint32
	p.slots.Counters, slots, p.fresh.Counters = assign(counters, prev.Counters)
	p.slots.Limits, _, p.fresh.Limits = assign(limits, prev.Limits)
	p.chainSlots = map[*ruleset.Chain][]uint32{}
	for _, c := range p.rs.Chains {
		if c.Hook != ruleset.HookNone {
			slots = slots[1:]
		}
		p.chainSlots[c], slots = slots[:len(c.Rules)], slots[len(c.Rules):]
	}
}

// assign gives slots to identities: by them, in their order, and those that are new. A slot that an identity gave up is free for the generation
// after the next only, since packets still run through the programs of the previous one while its successor takes over.
func assign(ids []string, prev map[string]uint32) (all map[string]uint32, slots, fresh []uint32) {
	taken := make([]bool, len(prev)+len(ids)+1) // so many are never all taken
	for _, slot := range prev {
		if int(slot) < len(taken) {
			taken[slot] = true
		}
	}
	slots = make([]uint32, len(ids))
	next := uint32(0)
	for i, id := range ids {
		slot, ok := prev[id]
		for ; !ok && taken[next]; next++ {
		}
		if !ok {
			slot = next
			taken[slot] = true
			fresh = append(fresh, slot)
		}
		slots[i] = slot
	}
	if len(fresh) == 0 && len(ids) == len(prev) {
		return maps.Clone(prev), slots, nil
	}
	all = make(map[string]uint32, len(ids))
	for i, id := range ids {
		all[id] = slots[i]
	}
	return all, slots, fresh
}

// mapSize is the number of entries of a map that has all the slots, and an eighth more, so that small edits fit into the map that is there.
func mapSize(slots map[string]uint32) int {
	n := 64
	for slot := range maps.Values(slots) {
		n = max(n, int(slot)+1)
	}
	return (n + n/8 + 63) &^ 63
}
