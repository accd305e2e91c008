package translator

import (
	"fmt"

	"github.com/cilium/ebpf"

	"github.com/bpfwall/bpfwall/ruleset"
	"github.com/bpfwall/bpfwall/settable"
)

// LiveSet is a set whose elements are in maps of their own that outlive generations: single addresses, which packets may add, in a hash,
// and prefixes and the feed's list in a table (package settable). Who loads the programs gives them the maps that are there.
type LiveSet struct {
	Set      *ruleset.Set
	families ruleset.Family // that a chain can ask for
}

// Element is what is known of an element. Times are ns of the monotonic clock.
type Element struct {
	Expires uint64 // 0: never
	Added   uint64
	Packets uint64
	Bytes   uint64
}

// The offsets in Element, as generated code has them.
const (
	offExpires, offAdded, offElemPackets, offElemBytes = 0, 8, 16, 24
	elementBytes                                       = 32
)

// The roots of a live set's table.
const (
	RootFeed4 = iota // the list of the feed
	RootFeed6
	RootElements4 // elements that are prefixes
	RootElements6
)

// Words of addresses, for package settable.
const wordsIPv4, wordsIPv6 = 2, 8

// liveSets are the sets of a ruleset that change at run time.
func liveSets(rs *ruleset.Ruleset) map[string]*LiveSet {
	live := map[string]*LiveSet{}
	for _, s := range rs.Sets {
		if s.Live != nil {
			live[s.Name] = &LiveSet{Set: s}
		}
	}
	return live
}

// liveList is the same in the order of the ruleset.
func (p *plan) liveList() []*LiveSet {
	var out []*LiveSet
	for _, s := range p.rs.Sets {
		if l := p.live[s.Name]; l != nil {
			out = append(out, l)
		}
	}
	return out
}

// within is the set as a chain of a family asks for it.
func (s *LiveSet) within(f ruleset.Family) *LiveSet {
	return &LiveSet{Set: s.Set, families: f}
}

// TableRef is the name of the set's table in Output.Spec.
func (s *LiveSet) TableRef() string { return "table of " + s.Set.Name }

// ElementsRef is the name of the hash of its elements, which only dynamic sets have.
func (s *LiveSet) ElementsRef() string { return "elements of " + s.Set.Name }

type refSpec struct {
	ref  string
	spec *ebpf.MapSpec
}

// Flags of linux/bpf.h.
const noPrealloc, mmapable = 1, 1 << 10

// specs are the maps as they are to be made.
func (s *LiveSet) specs() []refSpec {
	out := []refSpec{{s.TableRef(), &ebpf.MapSpec{
		Name: "set_table_2", Type: ebpf.Array, KeySize: 4, ValueSize: uint32(s.tableBytes()), MaxEntries: 1, Flags: mmapable,
	}}}
	if s.Set.Live.Dynamic {
		out = append(out, refSpec{s.ElementsRef(), &ebpf.MapSpec{
			Name: "set_elements", Type: ebpf.Hash, KeySize: uint32(shapeOf(s.Set.Parts).bytes()), ValueSize: elementBytes, MaxEntries: s.Set.Live.Size(),
			Flags: noPrealloc,
		}})
	}
	return out
}

// The room of a table: two first levels of each of its roots, and bytes for an element. A feed's list is there twice while it is replaced.
const (
	bytesFirst   = 1 << 19
	bytesPrefix  = 24 // of the elements that a set may have, most are single addresses
	bytesPerFeed = 64
)

func (s *LiveSet) tableBytes() int {
	n := bytesPrefix
	if s.Set.Live.Feed != nil {
		n = bytesPerFeed
	}
	return settable.Size(bytesFirst + n*int(s.Set.Live.Size()))
}

// cond asks for one of the packet's addresses.
func (s *LiveSet) cond(field ruleset.FieldID, l *layout) cond {
	var any anyOf
	key := l.members[ruleset.Fields[field].Member].off
	for _, f := range []ruleset.Family{ruleset.FamilyIPv4, ruleset.FamilyIPv6} {
		if s.families.Covers(f) {
			any = append(any, allOf{(&matcher{layout: l}).isFamily(f), s.conds(f, l, key)})
		}
	}
	return shareable{id: fmt.Sprintf("set %q, %s, %s", s.Set.Name, field, s.families), levels: 2 * (wordsIPv4 + wordsIPv6), cond: any}
}

// conds are the ways for an address of a family, at an offset in the packet, to be in the set: the cheap ones first.
func (s *LiveSet) conds(f ruleset.Family, l *layout, key int) anyOf {
	table := tableLookup{base: regPkt, name: s.TableRef(), bytes: s.tableBytes(), levels: wordsIPv4, key: int16(key)}
	if f == ruleset.FamilyIPv6 {
		table.levels, table.root = wordsIPv6, 1
	}
	var out anyOf
	if s.Set.Live.Feed != nil {
		out = append(out, table)
	}
	if s.Set.Live.Dynamic {
		table.root += RootElements4
		single := element{set: s, family: f, layout: l, key: int16(key), at: stackKey}
		var network decider = timed{table}
		if s.Set.Live.Counters {
			network = inNetwork{timed{table}, single}
		}
		out = append(out, decided{network}, decided{single})
	}
	return out
}
