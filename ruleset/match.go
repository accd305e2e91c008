package ruleset

import (
	"encoding/binary"
	"math/bits"
	"net/netip"
	"slices"
)

// Match is one condition: the packet's value of Field is any of the operands (or, with Not, none of them).
// Which operands a field takes is its Kind in the table Fields. A packet that has no such value (ports of a non-first fragment,
// TCP flags of UDP) never matches, negated or not.
type Match struct {
	Field  FieldID     `json:"field"`
	Not    bool        `json:"not,omitempty"`
	Ranges []Range     `json:"ranges,omitempty"` // KindNumber
	Masked []Masked    `json:"masked,omitempty"` // KindNumber, KindFlags, KindBits
	Addrs  []AddrRange `json:"addrs,omitempty"`  // KindAddr
	Set    string      `json:"set,omitempty"`    // KindAddr: the members of a set, instead of Addrs; KindElement
	Live   []string    `json:"live,omitempty"`   // KindAddr: live sets, besides the other operands
	Names  []string    `json:"names,omitempty"`  // KindIface: exact names, or prefixes ending in "+"; KindCgroup: paths and units
	Limit  *Limit      `json:"limit,omitempty"`  // FieldLimit
	Sample *Sample     `json:"sample,omitempty"` // FieldSample
	Quota  *Quota      `json:"quota,omitempty"`  // FieldQuota
	Recent *Recent     `json:"recent,omitempty"` // FieldRecent
	Parts  []FieldID   `json:"parts,omitempty"`  // FieldElement: the packet's field for each part of the elements of Set
	Flows  *Flows      `json:"flows,omitempty"`  // FieldFlows
	Pos    Pos         `json:"pos,omitzero"`
}

// looksAt reports whether the match asks for a field, alone or as a part.
func (m *Match) looksAt(f FieldID) bool { return m.Field == f || slices.Contains(m.Parts, f) }

// Range is the numbers From..To, both included.
type Range struct {
	From uint64 `json:"from"`
	To   uint64 `json:"to"`
}

// Masked is the numbers n with n & Mask == Value.
type Masked struct {
	Value uint64 `json:"value"`
	Mask  uint64 `json:"mask"`
}

// AddrRange is the addresses From..To, both included, of one family. With a valid Mask (as an address; need not be contiguous)
// it is instead the addresses a with a & Mask == From, and To is not used.
type AddrRange struct {
	From netip.Addr `json:"from"`
	To   netip.Addr `json:"to,omitzero"`
	Mask netip.Addr `json:"mask,omitzero"`
}

// Prefix makes an address operand of a prefix; host bits are cleared as iptables does.
func Prefix(p netip.Prefix) AddrRange {
	p = p.Masked()
	return AddrRange{From: p.Addr(), Mask: maskAddr(p.Bits(), p.Addr().BitLen())}
}

// MaskedAddr makes an address operand of an address and a mask that need not be contiguous; host bits are cleared.
func MaskedAddr(a, mask netip.Addr) AddrRange { return AddrRange{From: and(a, mask), Mask: mask} }

// Contains reports whether a is one of the addresses. An address of the other family is not.
func (r AddrRange) Contains(a netip.Addr) bool {
	if !a.IsValid() || a.Is4() != r.From.Is4() {
		return false
	}
	if r.Mask.IsValid() {
		return and(a, r.Mask) == r.From
	}
	return r.From.Compare(a) <= 0 && a.Compare(r.To) <= 0
}

// Prefix is the operand as a prefix, if it is one.
func (r AddrRange) Prefix() (netip.Prefix, bool) {
	if !r.Mask.IsValid() {
		return netip.PrefixFrom(r.From, r.From.BitLen()), r.From == r.To
	}
	hi, lo := halves(r.Mask)
	ones := bits.LeadingZeros64(^hi)
	if ones == 64 {
		ones += bits.LeadingZeros64(^lo)
	}
	if r.Mask != maskAddr(ones, r.From.BitLen()) {
		return netip.Prefix{}, false
	}
	return netip.PrefixFrom(r.From, ones), true
}

// maskAddr is the netmask of n ones in an address of width bits (32 or 128).
func maskAddr(n, width int) netip.Addr {
	const all = ^uint64(0)
	return fromHalves(all<<max(64-n, 0), all<<min(128-n, 64), width)
}

// and is what two addresses of one family have in common; the zero Addr of two families.
func and(a, m netip.Addr) netip.Addr {
	if a.BitLen() != m.BitLen() {
		return netip.Addr{}
	}
	hi, lo := halves(a)
	mhi, mlo := halves(m)
	return fromHalves(hi&mhi, lo&mlo, a.BitLen())
}

// halves are the bits of an address, the first one highest; of an IPv4 address the upper half of hi.
func halves(a netip.Addr) (hi, lo uint64) {
	if a.Is4() {
		b := a.As4()
		return uint64(binary.BigEndian.Uint32(b[:])) << 32, 0
	}
	b := a.As16()
	return binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])
}

// fromHalves is the address of so many bits (32 or 128).
func fromHalves(hi, lo uint64, width int) netip.Addr {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], hi)
	binary.BigEndian.PutUint64(b[8:], lo)
	a, _ := netip.AddrFromSlice(b[:width/8])
	return a
}
