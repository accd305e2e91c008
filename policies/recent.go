package policies

import (
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/bpfwall/bpfwall/ruleset"
)

var recentOps = []word{
	{"set", uint64(ruleset.RecentSet)}, {"check", uint64(ruleset.RecentCheck)}, {"update", uint64(ruleset.RecentUpdate)}, {"remove", uint64(ruleset.RecentRemove)},
}

// parseRecent reads "update source/24 in ssh within 60s hits 4 same ttl reap".
func parseRecent(m *ruleset.Match, s string) bool {
	w := strings.Fields(s)
	if len(w) < 4 || w[2] != "in" {
		return false
	}
	op, ok := named(recentOps, w[0])
	side, given, _ := strings.Cut(w[1], "/")
	count, ok2 := parseBits(given)
	name, err := url.PathUnescape(w[3])
	if !ok || !ok2 || err != nil || side != "source" && side != "destination" {
		return false
	}
	m.Recent = &ruleset.Recent{List: name, Op: ruleset.RecentOp(op), Dest: side == "destination", Bits: *count}
	for w = w[4:]; len(w) > 0; {
		n := recentPart(m.Recent, w)
		if n == 0 {
			return false
		}
		w = w[n:]
	}
	return true
}

// recentPart reads what follows the name of a list, one part: n words of it, 0 if they are not understood.
func recentPart(r *ruleset.Recent, w []string) (n int) {
	arg := ""
	if len(w) > 1 {
		arg = w[1]
	}
	switch w[0] {
	case "within":
		d, err := time.ParseDuration(arg)
		r.Within = uint32(d / time.Second)
		if err != nil || d <= 0 || d%time.Second != 0 || d/time.Second > 1<<32-1 {
			return 0
		}
	case "hits":
		hits, err := strconv.ParseUint(arg, 10, 32)
		r.Hits = uint32(hits)
		if err != nil {
			return 0
		}
	case "same":
		r.TTL = true
		if arg != "ttl" {
			return 0
		}
	case "reap":
		r.Reap = true
		return 1
	default:
		return 0
	}
	return 2
}

func recentText(m *ruleset.Match) string {
	r := m.Recent
	side := "source"
	if r.Dest {
		side = "destination"
	}
	op, _ := nameOf(recentOps, uint64(r.Op))
	s := op + " " + side + bitsText(&r.Bits) + " in " + url.PathEscape(r.List)
	if r.Within != 0 {
		s += " within " + (time.Duration(r.Within) * time.Second).String()
	}
	if r.Hits != 0 {
		s += " hits " + decimal(uint64(r.Hits))
	}
	if r.TTL {
		s += " same ttl"
	}
	if r.Reap {
		s += " reap"
	}
	return s
}
