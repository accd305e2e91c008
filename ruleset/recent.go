package ruleset

import (
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// Recent asks a list of addresses when packets of the packet's address were noted, or notes this one (xt_recent).
type Recent struct {
	List string   `json:"list"`
	Op   RecentOp `json:"op,omitempty"`
	Dest bool     `json:"dest,omitempty"` // the destination address; else the source
	Bits KeyBits  `json:"bits"`           // the first bits of an address, which are noted
	// Within and Hits: so many packets (0 is one) were noted in so many seconds (0: whenever). For RecentCheck and RecentUpdate.
	Within uint32 `json:"within,omitempty"`
	Hits   uint32 `json:"hits,omitempty"`
	TTL    bool   `json:"ttl,omitempty"`  // the last of them had the TTL of this packet
	Reap   bool   `json:"reap,omitempty"` // an address that was last noted longer than Within ago is taken off
}

// RecentOp is what is done with an address that a list has.
type RecentOp uint8

// The operations. RecentSet always holds, the others if the list has the address.
const (
	RecentCheck  RecentOp = iota
	RecentSet             // note it, whether or not it was there
	RecentUpdate          // note it again if the match holds
	RecentRemove          // take it off
	recentOps
)

func (o RecentOp) String() string { return nth(o, "check", "set", "update", "remove") }

// MaxRecentHits is how many packets of an address a list can remember.
const MaxRecentHits = 1024

func (r *Recent) problem() string {
	switch {
	case r.List == "":
		return "the list has no name"
	case r.Op >= recentOps:
		return fmt.Sprintf("no operation has the number %d", r.Op)
	case r.Bits.IPv4 > 32 || r.Bits.IPv6 > 128:
		return fmt.Sprintf("an address has no %d or %d bits", r.Bits.IPv4, r.Bits.IPv6)
	case r.Hits > MaxRecentHits:
		return fmt.Sprintf("%d packets of an address are more than the %d that are remembered", r.Hits, MaxRecentHits)
	case (r.Op == RecentSet || r.Op == RecentRemove) && (r.Within != 0 || r.Hits != 0 || r.TTL || r.Reap):
		return fmt.Sprintf("%s asks for nothing", r.Op)
	case r.Reap && r.Within == 0:
		return "reap needs a time"
	}
	return ""
}

// String is what is asked: `update source/32/128 in SSH within 1m0s hits 4`.
func (r *Recent) String() string {
	side := "source"
	if r.Dest {
		side = "destination"
	}
	s := fmt.Sprintf("%s %s/%d/%d in %s", r.Op, side, r.Bits.IPv4, r.Bits.IPv6, word(r.List))
	if r.Within != 0 {
		s += " within " + (time.Duration(r.Within) * time.Second).String()
	}
	if r.Hits != 0 {
		s += fmt.Sprintf(" hits %d", r.Hits)
	}
	if r.TTL {
		s += " same ttl"
	}
	if r.Reap {
		s += " reap"
	}
	return s
}

// RecentLists are the names of the lists that rules ask, sorted.
func (rs *Ruleset) RecentLists() (names []string) {
	rs.any(func(m *Match) bool {
		if m.Recent != nil {
			names = append(names, m.Recent.List)
		}
		return false
	})
	slices.Sort(names)
	return slices.Compact(names)
}

// recentKey is an address on a list.
type recentKey struct {
	list string
	addr netip.Prefix
}

// noted is when packets of an address were, and the TTL of the last.
type noted struct {
	at  []uint64 // ns
	ttl uint8
}

// recent reports whether a match of a list holds, before negation, and changes the list.
func (st *State) recent(m *Match, p *Packet, h Hook) bool {
	r := m.Recent
	if st == nil {
		return r.Op == RecentSet
	}
	if st.lists == nil {
		st.lists = map[recentKey]*noted{}
	}
	ttl := p.TTL
	if h == HookForward {
		ttl++ // as it was before it was forwarded
	}
	field := FieldSrcAddr
	if r.Dest {
		field = FieldDstAddr
	}
	key := recentKey{r.List, r.Bits.of(p.addr(field))}
	e := st.lists[key]
	if e != nil && r.TTL && e.ttl != 0 && ttl != 0 && e.ttl != ttl {
		e = nil
	}
	switch {
	case r.Op == RecentSet:
		if e == nil {
			e = &noted{}
			st.lists[key] = e
		}
		e.note(st.Now, ttl)
		return true
	case e == nil:
		return false
	case r.Op == RecentRemove:
		delete(st.lists, key)
		return true
	}
	hit := e.hit(r, st.Now)
	switch {
	case r.Op == RecentUpdate && hit != m.Not:
		e.note(st.Now, ttl)
	case r.Reap && e.at[len(e.at)-1]+uint64(r.Within)*1e9 < st.Now:
		delete(st.lists, key)
	}
	return hit
}

func (e *noted) note(now uint64, ttl uint8) {
	e.at, e.ttl = append(e.at, now), ttl
}

// hit reports whether enough packets were noted in the time that a match asks for.
func (e *noted) hit(r *Recent, now uint64) bool {
	n := max(int(r.Hits), 1)
	return len(e.at) >= n && (r.Within == 0 || e.at[len(e.at)-n]+uint64(r.Within)*1e9 >= now)
}
