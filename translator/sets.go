package translator

import (
	"fmt"
	"math/bits"
	"net/netip"
	"slices"

	"github.com/cilium/ebpf"

	"github.com/bpfwall/bpfwall/ruleset"
	"github.com/bpfwall/bpfwall/settable"
)

// inlineAddrs is the number of addresses that are compared one by one; above it they go into a map.
const inlineAddrs = 8

// SetMap is a map that holds addresses of one family: the members of a set, or a long list of operands. Its one value is a
// settable.Table.
type SetMap struct {
	Name    string         // of the map
	Set     string         // of the set in the ruleset; "" for a list that stands in a rule
	Family  ruleset.Family // of the keys
	Entries []netip.Prefix // what is in it, sorted
	table   []byte
	tuples  int  // elements of several parts, instead of Entries
	masks   bool // it is masksMap
}

// mapName is the name of the n-th map with addresses.
func mapName(n int) string { return fmt.Sprintf("set_%d", n) }

// bits is the width of an address.
func (s *SetMap) bits() int {
	if s.Family == ruleset.FamilyIPv4 {
		return 32
	}
	return 128
}

// setMaps moves long lists of addresses into maps. Lists with the same members share one. Addresses with masks that are no prefixes
// stay where they are.
func setMaps(p *plan) error {
	made := map[string]*SetMap{}
	for _, b := range p.blocks {
		never := false
		for _, s := range b.steps {
			for _, t := range s.tests {
				if t.Field == ruleset.FieldElement {
					p.resolveTuple(t, made)
					never = never || t.empty()
					continue
				}
				p.resolve(b, t)
				p.moveAddrs(t, made)
				never = never || t.empty()
			}
		}
		if never {
			dropNever(b)
		}
	}
	p.addMasks()
	return nil
}

// resolve puts a set's members in place of its name, without those that the chain's packets cannot have.
func (p *plan) resolve(b *block, t *test) {
	if t.Set == "" && len(t.Live) == 0 {
		return
	}
	m := t.own()
	m.Addrs = slices.Clone(m.Addrs)
	for _, name := range append([]string{t.Set}, t.Live...) {
		set := p.rs.Set(name)
		if set == nil {
			continue
		}
		t.ownRare().named = t.Set
		if live := p.live[name]; live != nil {
			t.rare.live = append(t.live, live.within(b.chain.Family))
		}
		for _, a := range mergeAddrs(set.Members) {
			if b.chain.Family.Covers(familyOf(a.From)) {
				m.Addrs = append(m.Addrs, a)
			}
		}
	}
	m.Set, m.Live = "", nil
}

// resolveTuple puts a set of several parts in place of its name.
func (p *plan) resolveTuple(t *test, made map[string]*SetMap) {
	set := p.rs.Set(t.Set)
	own := t.ownRare()
	own.named, own.parts = set.Name, set.Parts
	if live := p.live[set.Name]; live != nil {
		own.live = append(own.live, live)
	}
	if len(set.Tuples) > 0 {
		own.sets = append(own.sets, p.tupleMap(set, made))
	}
	t.own().Set = ""
}

// moveAddrs moves the prefixes among a test's addresses into maps, family by family, if they are many.
func (p *plan) moveAddrs(t *test, made map[string]*SetMap) {
	if len(t.Addrs) <= inlineAddrs {
		return
	}
	for _, f := range t.families() {
		var move []netip.Prefix
		keep := slices.DeleteFunc(slices.Clone(t.Addrs), func(a ruleset.AddrRange) bool {
			parts, ok := Prefixes(a)
			if familyOf(a.From) != f || !ok {
				return false
			}
			move = append(move, parts...)
			return true
		})
		if len(t.Addrs)-len(keep) <= inlineAddrs {
			continue
		}
		t.own().Addrs = keep
		t.ownRare().sets = append(t.sets, p.setMap(t.named, f, move, made))
	}
}

// setMap finds the map with these members, or makes it.
func (p *plan) setMap(name string, f ruleset.Family, members []netip.Prefix, made map[string]*SetMap) *SetMap {
	slices.SortFunc(members, netip.Prefix.Compare)
	members = slices.Compact(members)
	var text []byte
	for _, m := range members {
		text = append(m.AppendTo(text), ' ')
	}
	key := string(text)
	if s := made[key]; s != nil {
		return s
	}
	s := &SetMap{Name: mapName(len(p.sets)), Set: name, Family: f, Entries: members}
	s.fill()
	made[key] = s
	p.sets = append(p.sets, s)
	return s
}

// dropNever drops rules that ask for an address of an empty list, and tests that ask for an address outside of one.
func dropNever(b *block) {
	b.steps = slices.DeleteFunc(b.steps, func(s *step) bool {
		return slices.ContainsFunc(s.tests, func(t *test) bool { return t.empty() && !t.Not })
	})
	for _, s := range b.steps {
		s.tests = slices.DeleteFunc(s.tests, (*test).empty)
	}
}

// empty reports whether a test asks for an address of an empty list, or outside of one.
func (t *test) empty() bool {
	if len(t.Addrs) > 0 || len(t.sets) > 0 || len(t.live) > 0 {
		return false
	}
	kind := ruleset.Fields[t.Field].Kind
	return kind == ruleset.KindAddr || kind == ruleset.KindElement
}

// levels is the words of a key.
func (s *SetMap) levels() int { return s.bits() / 16 }

// lookup asks for the address at an offset in the packet.
func (s *SetMap) lookup(key int) shareable {
	c := tableLookup{base: regPkt, name: s.Name, bytes: len(s.table), levels: s.levels(), key: int16(key)}
	return shareable{id: fmt.Sprintf("%s, address at %d", s.Name, key), levels: s.levels(), cond: c}
}

// fill makes the table.
func (s *SetMap) fill() {
	entries := make([]settable.Entry, len(s.Entries))
	for i, p := range s.Entries {
		entries[i] = settable.PrefixEntry(p, settable.Forever)
	}
	t := settable.New()
	_ = t.Replace(0, s.levels(), entries) // a table in memory of its own is never full
	s.table = append(t.Bytes()[:t.Used()], make([]byte, settable.Size(t.Used())-t.Used())...)
}

// spec is the map as it is to be made.
func (s *SetMap) spec() *ebpf.MapSpec {
	return &ebpf.MapSpec{
		Name: s.Name, Type: ebpf.Array, KeySize: 4, ValueSize: uint32(len(s.table)), MaxEntries: 1,
		Contents: []ebpf.MapKV{{Key: uint32(0), Value: s.table}},
	}
}

// prefixOf is r.Prefix, without trying all masks: there may be 100,000 operands.
func prefixOf(r ruleset.AddrRange) (netip.Prefix, bool) {
	if !r.Mask.IsValid() {
		return netip.PrefixFrom(r.From, r.From.BitLen()), r.From == r.To
	}
	ones := 0
	mask := r.Mask.AsSlice()
	for _, b := range mask {
		n := bits.LeadingZeros8(^b)
		ones += n
		if n < 8 {
			break
		}
	}
	for i, b := range mask {
		if rest := min(max(ones-8*i, 0), 8); b != byte(0xff<<(8-rest)) {
			return netip.Prefix{}, false
		}
	}
	return netip.PrefixFrom(r.From, ones), true
}

// Prefixes is an operand as prefixes; not ok if its mask is none.
func Prefixes(r ruleset.AddrRange) ([]netip.Prefix, bool) {
	if p, ok := prefixOf(r); ok {
		return []netip.Prefix{p}, true
	}
	if r.Mask.IsValid() {
		return nil, false
	}
	var out []netip.Prefix
	for from := r.From; ; {
		p := largestPrefix(from, r.To)
		out = append(out, p)
		last := lastAddr(p)
		if last == r.To {
			return out, true
		}
		from = last.Next()
	}
}

// largestPrefix is the largest prefix that starts at an address and does not go beyond another.
func largestPrefix(from, to netip.Addr) netip.Prefix {
	p := netip.PrefixFrom(from, from.BitLen())
	for n := from.BitLen() - trailingZeros(from); n < from.BitLen(); n++ {
		q := netip.PrefixFrom(from, n)
		if lastAddr(q).Compare(to) <= 0 {
			return q
		}
	}
	return p
}

func trailingZeros(a netip.Addr) int {
	b := a.AsSlice()
	n := 0
	for i := len(b) - 1; i >= 0; i-- {
		if b[i] != 0 {
			return n + bits.TrailingZeros8(b[i])
		}
		n += 8
	}
	return n
}

// lastAddr is the highest address of a prefix.
func lastAddr(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}
