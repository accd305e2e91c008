package dataplane

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/cilium/ebpf"

	"github.com/bpfwall/bpfwall/bpf"
	"github.com/bpfwall/bpfwall/ruleset"
	"github.com/bpfwall/bpfwall/translator"
)

// Noted is an address on a list of recent addresses.
type Noted struct {
	List  string // "" if no rule in force has it
	Addr  netip.Addr
	Last  time.Duration // since it was last noted
	Times uint64        // that it was noted
	TTL   uint8         // of the last packet
}

// Recent is what the lists of recent addresses have, those noted last first. Returns ErrNotLoaded.
func (d *Dataplane) Recent() ([]Noted, error) {
	_, rs, err := d.Live()
	if err != nil {
		return nil, err
	}
	m, err := d.openPinned("recents")
	if err != nil {
		return nil, err
	}
	defer m.Close()
	names := map[uint64]string{}
	for _, list := range rs.RecentLists() {
		names[translator.RecentID(list)] = list
	}
	var all []Noted
	now := monotonic()
	err = eachRecent(m, func(k bpf.RecentKey, value []byte) error {
		e := recentEntry(value)
		n := Noted{List: names[k.Id], Addr: recentAddr(k), Times: e.count(), TTL: value[8]}
		if last := e.stamp(e.count() - 1); last < now {
			n.Last = time.Duration(now - last)
		}
		all = append(all, n)
		return nil
	})
	slices.SortFunc(all, func(a, b Noted) int { return cmp.Or(cmp.Compare(a.List, b.List), cmp.Compare(a.Last, b.Last)) })
	if err != nil {
		return nil, fmt.Errorf("map recents: %w", errKernel(err))
	}
	return all, nil
}

func recentAddr(k bpf.RecentKey) netip.Addr {
	var b [16]byte
	for i, w := range k.Addr {
		binary.NativeEndian.PutUint32(b[4*i:], w)
	}
	if ruleset.Family(k.Family) == ruleset.FamilyIPv4 {
		return netip.AddrFrom4([4]byte(b[:4]))
	}
	return netip.AddrFrom16(b)
}

func eachRecent(m *ebpf.Map, fn func(bpf.RecentKey, []byte) error) error {
	var k bpf.RecentKey
	var v []byte
	all := m.Iterate()
	for all.Next(&k, &v) {
		if err := fn(k, v); err != nil {
			return err
		}
	}
	return all.Err()
}

// recentEntry is struct recent_entry (bpf/fw.h) with as many times as its map has room for.
type recentEntry []byte

// recentHead is the bytes before the times.
const recentHead = 16

func (e recentEntry) count() uint64 { return binary.NativeEndian.Uint64(e) }

func (e recentEntry) room() uint64 { return uint64(len(e)-recentHead) / 8 }

func (e recentEntry) at(n uint64) []byte { return e[recentHead+8*(n&(e.room()-1)):][:8] }

func (e recentEntry) stamp(n uint64) uint64 { return binary.NativeEndian.Uint64(e.at(n)) }

// resized is the entry with another number of times, the last ones.
func (e recentEntry) resized(bytes int) recentEntry {
	to := make(recentEntry, bytes)
	copy(to, e[:recentHead])
	for n := e.count() - min(e.count(), e.room(), to.room()); n < e.count(); n++ {
		copy(to.at(n), e.at(n))
	}
	return to
}

// copyRecents takes over the lists, into a map that may have room for more times of each address, or fewer.
func copyRecents(to, from *ebpf.Map) error {
	return eachRecent(from, func(k bpf.RecentKey, v []byte) error {
		return to.Put(k, []byte(recentEntry(v).resized(int(to.ValueSize()))))
	})
}
