package ruleset

import (
	"fmt"
	"math"
	"strconv"
)

// Sample picks some of the packets that come to it (xt_statistic): the one after Skip others of every Every of them, or with Every 0
// by chance. Every rule counts for itself.
type Sample struct {
	Every uint32 `json:"every,omitempty"`
	Skip  uint32 `json:"skip,omitempty"`  // below Every
	Share uint32 `json:"share,omitempty"` // of SampleAll, by chance
}

// SampleAll is the share of all packets.
const SampleAll = 1 << 31

// Quota matches until the packets that came to it have so many bytes, as FieldLength counts them. The first that is too much ends it
// for good (xt_quota).
type Quota struct {
	Bytes uint64 `json:"bytes"`
}

func (s *Sample) problem() string {
	switch {
	case s.Every == 0 && s.Share > SampleAll:
		return fmt.Sprintf("a share of %d in %d", s.Share, SampleAll)
	case s.Every != 0 && (s.Skip >= s.Every || s.Share != 0):
		return fmt.Sprintf("of every %d packets there is none after %d others", s.Every, s.Skip)
	}
	return ""
}

// String is which packets: `1 of 4 after 2`, or `5%`.
func (s *Sample) String() string {
	switch {
	case s.Every == 0:
		return percent(s.Share)
	case s.Skip != 0:
		return fmt.Sprintf("1 of %d after %d", s.Every, s.Skip)
	}
	return fmt.Sprintf("1 of %d", s.Every)
}

// percent is a share in as few digits as tell it from others.
func percent(share uint32) string {
	digits := 1
	text := func() string { return strconv.FormatFloat(float64(share)*100/SampleAll, 'f', digits-1, 64) }
	for ; digits < 10; digits++ {
		if n, ok := Percent(text()); ok && n == share {
			break
		}
	}
	return text() + "%"
}

// Percent is the share that a number of percent stands for, rounded as iptables does.
func Percent(s string) (share uint32, ok bool) {
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || !(f >= 0 && f <= 100) {
		return 0, false
	}
	return uint32(math.Round(f / 100 * SampleAll)), true
}

// String is the bytes.
func (q *Quota) String() string { return fmt.Sprintf("%dB", q.Bytes) }

// sample reports whether a rule's i-th match picks a packet. Without a state to count in, the first packet comes to it; without chance
// only a share of everything is picked.
func (st *State) sample(r *Rule, i int) bool {
	s := r.Matches[i].Sample
	switch {
	case s.Every == 0 && (st == nil || st.Chance == nil):
		return s.Share == SampleAll
	case s.Every == 0:
		return st.Chance() < s.Share
	case st == nil:
		return s.Skip == 0
	}
	n := st.count(r, i)
	*n++
	return (*n-1)%uint64(s.Every) == uint64(s.Skip)
}

// quota reports whether a packet is within the quota of a rule's i-th match.
func (st *State) quota(r *Rule, i int, length uint64) bool {
	q := r.Matches[i].Quota
	if st == nil {
		return length <= q.Bytes
	}
	used := st.count(r, i)
	if *used > q.Bytes || length > q.Bytes-*used {
		*used = max(*used, q.Bytes)
		return false
	}
	*used += length
	return true
}

// count is what a rule's i-th match has counted.
func (st *State) count(r *Rule, i int) *uint64 {
	key := bucketKey{id: r.ID, match: i}
	if r.ID == "" {
		key.rule = r
	}
	if st.counts == nil {
		st.counts = map[bucketKey]*uint64{}
	}
	if st.counts[key] == nil {
		st.counts[key] = new(uint64)
	}
	return st.counts[key]
}
