package dataplane

import (
	"fmt"

	"github.com/cilium/ebpf"

	"github.com/bpfwall/bpfwall/bpf"
	"github.com/bpfwall/bpfwall/ruleset"
)

// Decider is what can decide about a packet: a rule, or (Rule nil) the policy of a base chain.
type Decider struct {
	ID    string
	Chain *ruleset.Chain
	Rule  *ruleset.Rule
}

// Counter is what a rule or policy has counted since it is there. Bytes are from the IP header on.
type Counter struct {
	Decider
	Packets, Bytes uint64
	Idle           bool // not counted now: a policy at a hook where there is nothing to decide
}

// Live is the generation in force and its rules. Returns ErrNotLoaded.
func (d *Dataplane) Live() (g *Generation, rs *ruleset.Ruleset, err error) {
	err = d.look(func() error {
		n, err := d.liveNumber()
		if err != nil {
			return err
		}
		g, rs, err = d.Generation(n)
		return err
	})
	return g, rs, err
}

// Sets are the sets of the generation in force. Returns ErrNotLoaded.
func (d *Dataplane) Sets() ([]*ruleset.Set, error) {
	_, rs, err := d.Live()
	if err != nil {
		return nil, err
	}
	return rs.Sets, nil
}

// Counters reads the counters of all rules and policies in force, in the order of the ruleset. Returns ErrNotLoaded.
func (d *Dataplane) Counters() ([]Counter, error) {
	for {
		g, rs, err := d.Live()
		if err != nil {
			return nil, err
		}
		var all []Counter
		again := false
		err = d.look(func() error {
			if all, err = d.readCounters(rs, g); err != nil {
				return err
			}
			n, err := d.liveNumber()
			again = n != g.Number // slots of one generation, values of the next
			return err
		})
		if err != nil || !again {
			return all, err
		}
	}
}

func (d *Dataplane) readCounters(rs *ruleset.Ruleset, g *Generation) ([]Counter, error) {
	m, err := d.openPinned("counters")
	if err != nil {
		return nil, err
	}
	defer m.Close()
	var all []Counter
	for _, who := range deciders(rs) {
		slot, ok := g.Slots.Counters[who.ID]
		if !ok {
			continue
		}
		c := Counter{Decider: who, Idle: who.Rule == nil && !g.counts(rs, who.Chain)}
		if c.Packets, c.Bytes, err = readCounter(m, slot); err != nil {
			return nil, fmt.Errorf("counter of %s: %w", who.ID, errKernel(err))
		}
		all = append(all, c)
	}
	return all, nil
}

// readCounter sums the counters of the CPUs.
func readCounter(m *ebpf.Map, slot uint32) (packets, bytes uint64, err error) {
	var cpus []bpf.Counter
	err = m.Lookup(slot, &cpus)
	for _, c := range cpus {
		packets += c.Packets
		bytes += c.Bytes
	}
	return packets, bytes, err
}

// deciders lists the rules and policies, each chain's policy after its rules.
func deciders(rs *ruleset.Ruleset) []Decider {
	var all []Decider
	for _, c := range rs.Chains {
		for _, r := range c.Rules {
			all = append(all, Decider{ID: r.ID, Chain: c, Rule: r})
		}
		if c.Hook != ruleset.HookNone {
			all = append(all, Decider{ID: c.PolicyID(), Chain: c})
		}
	}
	return all
}
