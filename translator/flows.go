package translator

import (
	"crypto/sha256"
	"encoding/binary"

	"github.com/cilium/ebpf/asm"

	"github.com/bpfwall/bpfwall/bpf"
	"github.com/bpfwall/bpfwall/ruleset"
)

// flows holds if the packet's key has no more flows than it may.
type flows struct {
	id    uint64
	flows *ruleset.Flows
}

// flowsID is what the places of a rule's i-th match are found by.
func flowsID(r *ruleset.Rule, i int) uint64 {
	if r.Matches[i].Flows == nil {
		return 0
	}
	sum := sha256.Sum256([]byte(LimitID(r, i)))
	return binary.LittleEndian.Uint64(sum[:]) | 1 // 0 is CONNCOUNT_SOURCE
}

func (c flows) jumpIf(e *emitter, label string)     { c.jump(e, asm.JNE, label) }
func (c flows) jumpUnless(e *emitter, label string) { c.jump(e, asm.JEq, label) }

func (c flows) jump(e *emitter, op asm.JumpOp, label string) {
	f := c.flows
	ask := &bpf.Flows{Id: c.id, Limit: f.Max, Ipv4: f.Bits.IPv4, Ipv6: f.Bits.IPv6}
	if f.Dest {
		ask.Dest = 1
	}
	e.callWith("fw_flows", ask)
	e.put(op.Imm32(asm.R0, 0, label))
}

// countsFlows reports whether flows of anybody are counted.
func (p *plan) countsFlows() bool {
	return p.used.Has(ruleset.FieldFlows) || p.rs.Conntrack != nil && p.rs.Conntrack.PerSource != 0
}

// tracks reports whether flows are tracked, as rs.UsesConntrack does.
func (p *plan) tracks() bool { return p.used.Has(ruleset.FieldState) || p.countsFlows() }

// asksSender is rs.AsksSender.
func (p *plan) asksSender() bool { return p.used.Has(ruleset.SenderFields...) && p.rs.AsksSender() }

// sizePlaces makes room to count as many flows as the tables have.
func (o *Output) sizePlaces() {
	maps := o.Spec.Maps
	if o.plan.countsFlows() {
		maps["conncount_places"].MaxEntries = maps["ct"].MaxEntries + maps["ct_new"].MaxEntries
		maps["conncounts"].MaxEntries = maps["ct_new"].MaxEntries
	}
}
