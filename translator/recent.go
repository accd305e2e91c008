package translator

import (
	"crypto/sha256"
	"encoding/binary"
	"math/bits"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"

	"github.com/bpfwall/bpfwall/bpf"
	"github.com/bpfwall/bpfwall/ruleset"
)

// recentEntries is how many addresses of all lists there is room for, if each has no more than recentStamps times. The kernel has room for
// 32 times too, if no rule says more.
const (
	recentEntries = 1 << 16
	recentStamps  = 32
	recentHead    = 16 // bytes of an entry before its times
)

// RecentID is what the addresses of a list are found by.
func RecentID(list string) uint64 {
	sum := sha256.Sum256([]byte("recent " + list))
	return binary.LittleEndian.Uint64(sum[:])
}

// sizeRecents makes room for the lists. It returns the times of an address that there is room for.
func (p *plan) sizeRecents(maps map[string]*ebpf.MapSpec) (stamps uint32) {
	used, hits := false, uint32(recentStamps)
	for _, c := range p.rs.Chains {
		if !p.used.Has(ruleset.FieldRecent) {
			break
		}
		for _, r := range c.Rules {
			for i := range r.Matches {
				if m := &r.Matches[i]; m.Recent != nil {
					used, hits = true, max(hits, m.Recent.Hits)
				}
			}
		}
	}
	stamps = 1 << bits.Len32(hits-1)
	for _, name := range []string{"recents", "recent_fresh"} {
		maps[name].ValueSize = recentHead + 8*stamps
		maps[name].Key, maps[name].Value = nil, nil // the types have another size
	}
	if used {
		maps["recents"].MaxEntries = recentEntries * recentStamps / stamps
	}
	return stamps
}

// The numbers of bpf/fw.h.
var recentOps = map[ruleset.RecentOp]uint8{ruleset.RecentSet: 0, ruleset.RecentCheck: 1, ruleset.RecentUpdate: 2, ruleset.RecentRemove: 3}

const (
	recentDest = 1 << iota
	recentNot
	recentTTL
	recentReap
)

// recent holds if a list has the packet's address.
type recent struct{ *ruleset.Match }

func (c recent) jumpIf(e *emitter, label string)     { c.jump(e, asm.JNE, label) }
func (c recent) jumpUnless(e *emitter, label string) { c.jump(e, asm.JEq, label) }

func (c recent) jump(e *emitter, op asm.JumpOp, label string) {
	r := c.Recent
	ask := &bpf.Recent{Id: RecentID(r.List), Within: uint64(r.Within) * nsPerSecond, Hits: max(r.Hits, 1), Op: recentOps[r.Op], Ipv4: r.Bits.IPv4, Ipv6: r.Bits.IPv6}
	for flag, set := range map[uint8]bool{recentDest: r.Dest, recentNot: c.Not, recentTTL: r.TTL, recentReap: r.Reap} {
		if set {
			ask.Flags |= flag
		}
	}
	e.callWith("fw_recent", ask)
	e.put(op.Imm32(asm.R0, 0, label))
}
