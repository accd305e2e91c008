package translator

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"github.com/bpfwall/bpfwall/ruleset"
	"github.com/bpfwall/bpfwall/settable"
)

// The key of an element in the hash: family of its addresses (0 without), bits of the last address that count, and behind two zeroes its
// parts as big-endian words of 16 bits: numbers first, in this order and an even number of words, then the interface, then addresses, each
// of eight words. The table's key is the same words, but for those of the last address that its family has not.
var numberParts = []ruleset.Part{ruleset.PartPort, ruleset.PartProtocol, ruleset.PartMAC, ruleset.PartMark}

const (
	keyHead      = 4 // bytes
	wordsAddress = 8
	wordsIface   = 8
)

// numberWords is how many words numbers are of.
var numberWords = map[ruleset.Part]int{ruleset.PartPort: 2, ruleset.PartProtocol: 1, ruleset.PartMAC: 3, ruleset.PartMark: 2}

// shape is what the elements of a set are made of.
type shape struct {
	numbers                []ruleset.Part
	pad                    bool // a zero word behind the numbers
	iface, first, hasAddrs bool
}

func shapeOf(parts []ruleset.Part) (s shape) {
	if len(parts) == 0 {
		return shape{hasAddrs: true}
	}
	words := 0
	for _, p := range numberParts {
		if slices.Contains(parts, p) {
			s.numbers = append(s.numbers, p)
			words += numberWords[p]
		}
	}
	s.pad = words%2 == 1
	s.iface = slices.Contains(parts, ruleset.PartInterface)
	s.hasAddrs = slices.Contains(parts, ruleset.PartAddress)
	s.first = ruleset.TwoAddresses(parts)
	return s
}

// exact is the words in front of the last address.
func (s shape) exact() (n int) {
	for _, p := range s.numbers {
		n += numberWords[p]
	}
	n += n % 2
	if s.iface {
		n += wordsIface
	}
	if s.first {
		n += wordsAddress
	}
	return n
}

// bytes is the length of keys in the hash.
func (s shape) bytes() int {
	n := keyHead + 2*s.exact()
	if s.hasAddrs {
		n += 2 * wordsAddress
	}
	return n
}

// levels is the words of keys in the table.
func (s shape) levels(f ruleset.Family) int {
	switch {
	case !s.hasAddrs:
		return s.exact()
	case f == ruleset.FamilyIPv4:
		return s.exact() + wordsIPv4
	}
	return s.exact() + wordsIPv6
}

// KeyOf is an element's key in the hash of its set.
func KeyOf(parts []ruleset.Part, t ruleset.Tuple) []byte {
	s := shapeOf(parts)
	key := make([]byte, keyHead, s.bytes())
	if s.hasAddrs {
		key[0], key[1] = byte(t.Family()), byte(t.Net.Bits())
	}
	for _, p := range s.numbers {
		switch p {
		case ruleset.PartPort:
			key = binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(key, uint16(t.Proto)), t.Port)
		case ruleset.PartProtocol:
			key = binary.BigEndian.AppendUint16(key, uint16(t.Proto))
		case ruleset.PartMAC:
			key = append(key, binary.BigEndian.AppendUint64(nil, t.MAC)[2:]...)
		case ruleset.PartMark:
			key = binary.BigEndian.AppendUint32(key, t.Mark)
		}
	}
	if s.pad {
		key = append(key, 0, 0)
	}
	if s.iface {
		key = append(key, padded(t.Iface)...)
	}
	if s.first {
		key = append(key, addressBytes(t.First)...)
	}
	if s.hasAddrs {
		key = append(key, addressBytes(t.Net.Masked().Addr())...)
	}
	return key
}

// addressBytes is an address in 16 bytes, an IPv4 address at their beginning.
func addressBytes(a netip.Addr) []byte {
	b := make([]byte, 16)
	copy(b, a.AsSlice())
	return b
}

func addressOf(f ruleset.Family, b []byte) netip.Addr {
	if f == ruleset.FamilyIPv4 {
		b = b[:4]
	}
	a, _ := netip.AddrFromSlice(b[:min(len(b), 16)])
	return a
}

// TupleOf is the element of a key.
func TupleOf(parts []ruleset.Part, key []byte) (t ruleset.Tuple) {
	s := shapeOf(parts)
	if len(key) < s.bytes() {
		return t
	}
	family, bits, rest := ruleset.Family(key[0]), int(key[1]), key[keyHead:]
	take := func(words int) (b []byte) {
		b, rest = rest[:2*words], rest[2*words:]
		return b
	}
	for _, p := range s.numbers {
		b := take(numberWords[p])
		switch p {
		case ruleset.PartPort:
			t.Proto, t.Port = b[1], binary.BigEndian.Uint16(b[2:])
		case ruleset.PartProtocol:
			t.Proto = b[1]
		case ruleset.PartMAC:
			t.MAC = binary.BigEndian.Uint64(append([]byte{0, 0}, b...))
		case ruleset.PartMark:
			t.Mark = binary.BigEndian.Uint32(b)
		}
	}
	if s.pad {
		take(1)
	}
	if s.iface {
		name := take(wordsIface)
		t.Iface = string(name[:max(0, slices.Index(append(name[:len(name):len(name)], 0), 0))])
	}
	if s.first {
		t.First = addressOf(family, take(wordsAddress))
	}
	if s.hasAddrs {
		t.Net = netip.PrefixFrom(addressOf(family, take(wordsAddress)), bits)
	}
	return t
}

// Entry is an element as an entry of its set's table. second: in the root for IPv6, that comes behind the one for IPv4 and for elements without addresses.
func Entry(parts []ruleset.Part, t ruleset.Tuple, c settable.Cell) (e settable.Entry, levels int, second bool) {
	s := shapeOf(parts)
	levels = s.levels(t.Family())
	key := KeyOf(parts, t)[keyHead:]
	for i := range levels {
		e.Key[i] = binary.BigEndian.Uint16(key[2*i:])
	}
	e.Bits, e.Cell = 16*levels, c
	if s.hasAddrs {
		e.Bits = 16*s.exact() + t.Net.Bits()
	}
	return e, levels, t.Family() == ruleset.FamilyIPv6
}

// tupleMap is the table of the members of a set of several parts: IPv4 in its first root, IPv6 in the second.
func (p *plan) tupleMap(set *ruleset.Set, made map[string]*SetMap) *SetMap {
	id := "tuples of " + set.Name
	if s := made[id]; s != nil {
		return s
	}
	entries := map[bool][]settable.Entry{}
	levels := map[bool]int{}
	for _, t := range set.Tuples {
		e, n, second := Entry(set.Parts, t, settable.Forever)
		entries[second], levels[second] = append(entries[second], e), n
	}
	t := settable.New()
	for second, root := range map[bool]int{false: 0, true: 1} {
		if n := levels[second]; n > 0 {
			_ = t.Replace(root, n, entries[second]) // a table in memory of its own is never full
		}
	}
	s := &SetMap{Name: mapName(len(p.sets)), Set: set.Name, tuples: len(set.Tuples)}
	s.table = append(t.Bytes()[:t.Used()], make([]byte, settable.Size(t.Used())-t.Used())...)
	made[id] = s
	p.sets = append(p.sets, s)
	return s
}
