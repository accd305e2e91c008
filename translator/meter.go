package translator

import (
	"crypto/sha256"
	"encoding/binary"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"

	"github.com/bpfwall/bpfwall/bpf"
	"github.com/bpfwall/bpfwall/ruleset"
)

// meterEntries is how many keys' buckets there is room for, if rules have limits of keys.
const meterEntries = 1 << 16

// meterID is what the buckets of a rule's i-th match are found by: a hash, so that they follow the rule's identity without a slot
// that would have to be cleared.
func meterID(r *ruleset.Rule, i int) uint64 {
	l := r.Matches[i].Limit
	if l == nil || !l.Keyed() {
		return 0
	}
	id := LimitID(r, i)
	if l.Table != "" {
		id = "table " + l.Table
	}
	sum := sha256.Sum256([]byte(id))
	return binary.LittleEndian.Uint64(sum[:])
}

// sizeMeters makes room for the buckets of keys.
func (p *plan) sizeMeters(m *ebpf.MapSpec) {
	if !p.used.Has(ruleset.FieldLimit) {
		return
	}
	for _, b := range p.rs.Chains {
		for _, r := range b.Rules {
			for i := range r.Matches {
				if match := &r.Matches[i]; match.Limit != nil && match.Limit.Keyed() {
					m.MaxEntries = meterEntries
				}
			}
		}
	}
}

// The parts of a key, METER_ in bpf/fw.h.
const (
	meterSource = 1 << iota
	meterDest
	meterSourcePort
	meterDestPort
)

// meter holds if the bucket of the packet's key has its tokens, which it takes.
type meter struct {
	id    uint64
	limit *ruleset.Limit
}

func (c meter) jumpIf(e *emitter, label string)     { c.jump(e, asm.JNE, label) }
func (c meter) jumpUnless(e *emitter, label string) { c.jump(e, asm.JEq, label) }

func (c meter) jump(e *emitter, op asm.JumpOp, label string) {
	e.callWith("fw_meter", c.ask())
	e.put(op.Imm32(asm.R0, 0, label))
}

// callWith calls a function that takes the packet and what is asked: a struct of whole words.
func (e *emitter) callWith(fn string, ask any) {
	b, _ := binary.Append(nil, binary.LittleEndian, ask) // of fixed size
	for at := 0; at < len(b); at += 8 {
		w := binary.LittleEndian.Uint64(b[at:])
		e.put(asm.LoadImm(regImm, int64(w), asm.DWord), asm.StoreMem(asm.R10, int16(stackAsk+at), regImm, asm.DWord))
	}
	e.put(asm.Mov.Reg(asm.R2, asm.R10), asm.Add.Imm(asm.R2, stackAsk))
	e.call(fn)
}

// ask is what the match asks of the bucket.
func (c meter) ask() *bpf.Meter {
	l := c.limit
	m := &bpf.Meter{Id: c.id, Cost: l.Cost(0), Max: l.Max(), Idle: l.Idle}
	if l.Bytes {
		m.Cost, m.Bytes = l.Per, uint32(l.Rate)
	}
	k := l.Each
	if k == nil {
		return m
	}
	if k.Source != nil {
		m.Parts |= meterSource
		m.SourceIpv4, m.SourceIpv6 = k.Source.IPv4, k.Source.IPv6
	}
	if k.Dest != nil {
		m.Parts |= meterDest
		m.DestIpv4, m.DestIpv6 = k.Dest.IPv4, k.Dest.IPv6
	}
	if k.SourcePort {
		m.Parts |= meterSourcePort
	}
	if k.DestPort {
		m.Parts |= meterDestPort
	}
	return m
}

// stateful reports whether a test remembers packets, so that it matters which of them it is asked about.
func (t *test) stateful() bool { return t.Field.Remembers() }
