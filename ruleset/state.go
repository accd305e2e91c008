package ruleset

// State is what rules remember from packet to packet: the token buckets of limits. A nil State remembers nothing, so that every
// bucket is full.
type State struct {
	Now     uint64 // ns; time moves only when the caller moves it
	buckets map[bucketKey]*bucket
}

// bucketKey is a limit's identity: its rule's, and its place among the rule's matches. A rule without an ID is itself.
type bucketKey struct {
	id    string
	rule  *Rule
	match int
}

// bucket holds tokens as nanoseconds, as nft_limit does: a packet costs Per/Rate of them, and they accrue with time up to Burst packets' worth.
type bucket struct{ tokens, last uint64 }

// Cost is the tokens in ns that one packet takes from a limit's bucket.
func (l *Limit) Cost() uint64 {
	if l.Rate == 0 {
		return 0
	}
	return l.Per / l.Rate
}

// Max is the tokens in ns that a limit's bucket holds.
func (l *Limit) Max() uint64 { return l.Cost() * l.Burst }

// take takes a packet's tokens from the bucket of a rule's i-th match, if it has them.
func (st *State) take(r *Rule, i int) bool {
	l := r.Matches[i].Limit
	if st == nil {
		return l.Burst > 0
	}
	b := st.bucket(r, i, l)
	b.tokens = min(b.tokens+st.Now-b.last, l.Max())
	b.last = st.Now
	if b.tokens < l.Cost() {
		return false
	}
	b.tokens -= l.Cost()
	return true
}

// bucket finds a bucket; a new one is full.
func (st *State) bucket(r *Rule, i int, l *Limit) *bucket {
	key := bucketKey{id: r.ID, match: i}
	if r.ID == "" {
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
