package translator

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"strings"

	"github.com/cilium/ebpf/asm"

	"github.com/bpfwall/bpfwall/ruleset"
)

// searchFrom is the number of ranges from which a tree of comparisons is written instead of one after the other.
const searchFrom = 9

// matcher turns matches into conditions. It knows the packet's family as far as the rule has learned it.
type matcher struct {
	layout *layout
	family ruleset.Family
}

// cond is a match as a condition: the packet has the field, and the field is one of the operands, or none of them.
func (m *matcher) cond(t *test) cond {
	c := m.operands(t)
	if t.Field == ruleset.FieldFamily && !t.Not && len(t.Ranges) == 1 && t.Ranges[0].From == t.Ranges[0].To {
		m.family = ruleset.Family(t.Ranges[0].From) // the rule goes on only if it is
	}
	if t.Not {
		c = not{c}
	}
	if t.Not && canLack(t.Field) {
		return allOf{m.present(t.Field), c}
	}
	return c
}

// canLack reports whether packets may have no such field.
func canLack(f ruleset.FieldID) bool { return ruleset.Fields[f].Layer >= ruleset.LayerPorts }

// absent is the bit that stands in a field's member if the packet has no such field (FW_ABSENT in bpf/fw.h), or 0.
func absent(f ruleset.FieldID) uint64 {
	if !canLack(f) {
		return 0
	}
	return 1 << ruleset.Fields[f].Bits
}

// present holds if the packet has a field. TCP options are there to be looked for in every packet with TCP flags.
func (m *matcher) present(f ruleset.FieldID) cond {
	if f == ruleset.FieldTCPOption || f == ruleset.FieldTCPMSS {
		f = ruleset.FieldTCPFlags
	}
	return compare{field: m.field(f), mask: absent(f), op: asm.JEq}
}

func (m *matcher) field(f ruleset.FieldID) fieldPart { return m.layout.whole(ruleset.Fields[f].Member) }

// operands holds if the field is one of the operands.
func (m *matcher) operands(t *test) cond {
	switch ruleset.Fields[t.Field].Kind {
	case ruleset.KindAddr:
		return m.address(t)
	case ruleset.KindIface:
		return m.iface(t)
	case ruleset.KindBits:
		return m.bits(t)
	case ruleset.KindCgroup:
		return compare{field: m.field(t.Field), mask: t.cgroups, op: asm.JNE}
	case ruleset.KindLimit:
		if t.Limit.Keyed() {
			return meter{id: t.meter, limit: t.Limit}
		}
		return bucket{slot: t.limitSlot, cost: t.Limit.Cost(0), max: t.Limit.Max()}
	case ruleset.KindElement:
		return m.tuple(t)
	case ruleset.KindSample:
		return m.sample(t)
	case ruleset.KindFlows:
		return flows{id: t.flows, flows: t.Flows}
	case ruleset.KindRecent:
		return recent{t.Match}
	case ruleset.KindQuota:
		return quota{slot: t.limitSlot, bytes: t.Quota.Bytes}
	}
	if t.Field == ruleset.FieldTCPOption {
		return m.options(t)
	}
	return m.number(t)
}

// sample picks some packets. All of them are no comparison: a share of all does not fit into a number with a sign.
func (m *matcher) sample(t *test) cond {
	switch {
	case t.Sample.Every != 0:
		return nth{slot: t.limitSlot, sample: t.Sample}
	case t.Sample.Share >= ruleset.SampleAll:
		return allOf{}
	}
	return chance{t.Sample.Share}
}

// number compares with ranges and masked values.
func (m *matcher) number(t *test) cond {
	f := m.field(t.Field)
	var any anyOf
	if len(t.Ranges) >= searchFrom {
		any = append(any, decided{search{f, t.Ranges}})
	} else {
		for _, r := range t.Ranges {
			any = append(any, inRange(f, r.From, r.To))
		}
	}
	for _, k := range t.Masked {
		any = append(any, maskedBy(f, k.Mask|absent(t.Field), k.Value))
	}
	return any
}

// maskedBy holds if the bits of a mask have a value. A mask of no bits decides by itself.
func maskedBy(f fieldPart, mask, value uint64) cond {
	switch {
	case mask != 0:
		return compare{field: f, mask: mask, op: asm.JEq, value: value}
	case value == 0:
		return allOf{}
	}
	return anyOf{}
}

// inRange holds for from <= v <= to, which is one comparison: v - from <= to - from, without a sign.
func inRange(f fieldPart, from, to uint64) cond {
	if from == to {
		return compare{field: f, op: asm.JEq, value: from}
	}
	return compare{field: f, base: from, op: asm.JLE, value: to - from}
}

// bits holds if the packet's one bit is any of these.
func (m *matcher) bits(t *test) cond {
	var mask uint64
	for _, k := range t.Masked {
		mask |= k.Mask
	}
	return compare{field: m.field(t.Field), mask: mask, op: asm.JNE}
}

// options holds if one of the TCP options is in the bitmap of those that are present.
func (m *matcher) options(t *test) cond {
	var words [4]uint64
	for kind := range uint64(256) {
		if t.number(kind) {
			words[kind/64] |= 1 << (kind % 64)
		}
	}
	var any anyOf
	for i, w := range words {
		if w != 0 {
			any = append(any, compare{field: m.layout.part("tcp_options", 8*i, 8), mask: w, op: asm.JNE})
		}
	}
	return any
}

// iface compares names: all 16 bytes of them, or those of a prefix.
func (m *matcher) iface(t *test) cond {
	var any anyOf
	for _, name := range t.Names {
		prefix, ok := strings.CutSuffix(name, "+")
		n := 16
		if ok {
			n = len(prefix)
		}
		any = append(any, m.prefix(m.layout.words(ruleset.Fields[t.Field].Member, 16), padded(prefix), mask(n)))
	}
	return any
}

func padded(name string) []byte { return append([]byte(name), make([]byte, 16-len(name))...) }

// mask is a mask of n whole bytes of 16.
func mask(n int) []byte {
	return append(bytes.Repeat([]byte{0xff}, n), make([]byte, 16-n)...)
}

// prefix holds if the bytes of a member, under a mask, are equal to a value.
func (m *matcher) prefix(parts []fieldPart, value, mask []byte) cond {
	var all allOf
	for _, p := range parts {
		n := p.size.Sizeof()
		if c, ok := m.word(p, value[:n], mask[:n]); ok {
			all = append(all, c)
		}
		value, mask = value[n:], mask[n:]
	}
	return all
}

// word compares one word under a mask; half of it if the mask has no more, which spares 64-bit constants. Nothing to compare is not ok.
func (m *matcher) word(p fieldPart, value, mask []byte) (c compare, ok bool) {
	if p.size == asm.DWord && bytes.Equal(mask[4:], make([]byte, 4)) {
		p.size, value, mask = asm.Word, value[:4], mask[:4]
	}
	k := m.layout.value(mask)
	c = compare{field: p, op: asm.JEq, value: m.layout.value(value)}
	if k != ^uint64(0)>>(64-8*len(mask)) {
		c.mask = k
	}
	return c, k != 0
}

// address compares addresses, or looks them up in the maps that a pass made of them. What the packet's family is has to be known
// before, since IPv4 addresses stand where IPv6 addresses begin.
func (m *matcher) address(t *test) cond {
	var any anyOf
	families := t.families()
	for _, f := range families {
		var of anyOf
		for _, a := range t.Addrs {
			if familyOf(a.From) == f {
				of = append(of, m.addrRange(t.Field, a))
			}
		}
		for _, s := range t.sets {
			if s.Family == f {
				of = append(of, s.lookup(m.layout.members[ruleset.Fields[t.Field].Member].off))
			}
		}
		any = append(any, allOf{m.isFamily(f), of})
	}
	for _, s := range t.live {
		any = append(any, s.cond(t.Field, m.layout))
	}
	if len(families) == 1 && !t.Not {
		m.family = families[0] // the rule goes on only if it is
	}
	return any
}

// isFamily holds for packets of one family.
func (m *matcher) isFamily(f ruleset.Family) cond {
	if m.family == f {
		return allOf{}
	}
	return compare{field: m.field(ruleset.FieldFamily), op: asm.JEq, value: uint64(f)}
}

func familyOf(a netip.Addr) ruleset.Family {
	if a.Is4() {
		return ruleset.FamilyIPv4
	}
	return ruleset.FamilyIPv6
}

// addrRange holds for the addresses of one operand, of a family known to be the packet's.
func (m *matcher) addrRange(f ruleset.FieldID, r ruleset.AddrRange) cond {
	parts := m.layout.words(ruleset.Fields[f].Member, r.From.BitLen()/8)
	switch {
	case r.Mask.IsValid():
		return m.prefix(parts, r.From.AsSlice(), r.Mask.AsSlice())
	case r.From == r.To:
		return m.prefix(parts, r.From.AsSlice(), mask(16))
	}
	for i := range parts {
		parts[i].swap = true
	}
	return between(parts, r.From.AsSlice(), r.To.AsSlice())
}

// between holds for the addresses of a range. Of two words, the second counts only where the first is the range's first or last.
func between(parts []fieldPart, from, to []byte) cond {
	a, b := hostWords(from), hostWords(to)
	if len(parts) == 1 {
		return inRange(parts[0], a[0], b[0])
	}
	if a[0] == b[0] {
		return allOf{inRange(parts[0], a[0], a[0]), inRange(parts[1], a[1], b[1])}
	}
	any := anyOf{
		allOf{inRange(parts[0], a[0], a[0]), inRange(parts[1], a[1], ^uint64(0))},
		allOf{inRange(parts[0], b[0], b[0]), inRange(parts[1], 0, b[1])},
	}
	if b[0]-a[0] > 1 {
		any = append(any, inRange(parts[0], a[0]+1, b[0]-1))
	}
	return any
}

// hostWords is an address as one number, or two.
func hostWords(b []byte) []uint64 {
	if len(b) == 4 {
		return []uint64{uint64(binary.BigEndian.Uint32(b))}
	}
	return []uint64{binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:])}
}
