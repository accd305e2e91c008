package ruleset

import "net/netip"

// State is what rules remember from packet to packet: the token buckets of limits, and the elements of live sets. A nil State remembers
// nothing, so that every bucket is full and sets have their members only.
type State struct {
	Now uint64 // ns; time moves only when the caller moves it
	// Member, if there is one, knows further elements of live sets: asked for what a packet has.
	Member func(set string, t Tuple) bool
	// Chance, if there is one, draws a number below SampleAll, for rules that pick packets by chance.
	Chance func() uint32

	buckets  map[bucketKey]*bucket
	counts   map[bucketKey]*uint64
	lists    map[recentKey]*noted
	open     map[bucketKey]map[flowEnds]bool
	begun    []func()                    // what the packet at hand has added to open, and how to take it back
	elements map[string]map[Tuple]uint64 // by set: when they are over in ns, 0 for never
}

// bucketKey is a bucket's identity: its table's, or its rule's and its place among the rule's matches, and the value of its key. A rule
// without an ID is itself.
type bucketKey struct {
	table string
	id    string
	rule  *Rule
	match int
	value keyValue
}

// bucket holds tokens as nanoseconds, as nft_limit does: a packet costs Per/Rate of them, and they accrue with time up to Burst packets' worth.
type bucket struct{ tokens, last uint64 }

// take takes a packet's tokens from the bucket of a rule's i-th match, if it has them.
func (st *State) take(r *Rule, i int, p *Packet) bool {
	l := r.Matches[i].Limit
	cost := l.Cost(p.number(FieldLength))
	if st == nil {
		return l.Max() >= cost
	}
	b := st.bucket(r, i, l, l.Each.of(p))
	b.tokens = min(b.tokens+st.Now-b.last, l.Max())
	if l.Idle != 0 && st.Now-b.last >= l.Idle {
		b.tokens = l.Max()
	}
	b.last = st.Now
	if b.tokens < cost {
		return false
	}
	b.tokens -= cost
	return true
}

// bucket finds a bucket; a new one is full.
func (st *State) bucket(r *Rule, i int, l *Limit, v keyValue) *bucket {
	key := bucketKey{id: r.ID, match: i, value: v}
	switch {
	case l.Table != "":
		key = bucketKey{table: l.Table, value: v}
	case r.ID == "":
		key.rule = r
	}
	if st.buckets == nil {
		st.buckets = map[bucketKey]*bucket{}
	}
	if st.buckets[key] == nil {
		st.buckets[key] = &bucket{tokens: l.Max(), last: st.Now}
	}
	return st.buckets[key]
}

// Put puts an element into a set, until a time in ns; 0 stands for good.
func (st *State) Put(set string, t Tuple, until uint64) {
	if st.elements == nil {
		st.elements = map[string]map[Tuple]uint64{}
	}
	if st.elements[set] == nil {
		st.elements[set] = map[Tuple]uint64{}
	}
	if t.Net.IsValid() {
		t.Net = t.Net.Masked()
	}
	st.elements[set][t] = until
}

// contains reports whether an address is in an element of a set that is not over.
func (st *State) contains(set string, a netip.Addr) bool {
	return a.IsValid() && st.containsTuple(set, Tuple{Net: netip.PrefixFrom(a, a.BitLen())})
}

func (st *State) containsTuple(set string, t Tuple) bool {
	if st == nil || set == "" {
		return false
	}
	if st.Member != nil && st.Member(set, t) {
		return true
	}
	return t.Within(func(t Tuple) bool {
		until, ok := st.elements[set][t]
		return ok && (until == 0 || st.Now < until)
	})
}

// change does what a rule does to a set.
func (st *State) change(s *Set, c *SetChange, t Tuple) {
	if st == nil || s == nil || s.Live == nil {
		return
	}
	until, there := st.elements[s.Name][t]
	switch over := there && until != 0 && until <= st.Now; {
	case c.Delete:
		delete(st.elements[s.Name], t)
	case there && !over && !c.Renew:
	case !there && len(st.elements[s.Name]) >= int(s.Live.Size()):
	default:
		st.Put(s.Name, t, c.until(st.Now, s.Live))
	}
}

// until is when an element that is added now is over, in ns; 0 for never.
func (c *SetChange) until(now uint64, l *Live) uint64 {
	if s := c.Seconds(l); s > 0 {
		return now + s*1e9
	}
	return 0
}

// Seconds is how long an address stays that the change adds to a set; 0: for good.
func (c *SetChange) Seconds(l *Live) uint64 {
	switch {
	case c.Timeout > 0:
		return uint64(c.Timeout)
	case c.Timeout < 0:
		return 0
	}
	return uint64(l.Timeout)
}
