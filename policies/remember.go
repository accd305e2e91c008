package policies

import (
	"math/bits"
	"strconv"
	"strings"

	"github.com/bpfwall/bpfwall/ruleset"
)

// memory is a key of a rule whose condition depends on the packets that came to it before. Such conditions stand behind all others of
// the rule, in the order of the table, and before limit.
type memory struct {
	row
	field ruleset.FieldID
	parse func(m *ruleset.Match, s string) (ok bool)
	text  func(m *ruleset.Match) string
	bound bool // what it does not hold for is over the limit
}

var memories = []memory{
	{row{inRule | inAfter, "recent", isText, 0, "", "a list of addresses with the times of their packets: see [lists](#lists-of-recent-addresses)", `recent = "update source in ssh within 60s hits 4"`}, ruleset.FieldRecent, parseRecent, recentText, false},
	{row{tracked &^ inAlso, "max_flows", isText, 0, "", `the rule holds while the source has no more connections than so many, this one included; also "per destination", and "per source/24/56" for networks; with "!", beyond that`, `max_flows = "20 per source"`}, ruleset.FieldFlows, parseFlows, flowsText, true},
	{row{inRule | inAfter, "sample", isText, 0, "", `some of the packets: "1 of 10", "1 of 10 after 3" for the fourth of every ten, or by chance "5%"`, `sample = "1 of 10"`}, ruleset.FieldSample, parseSample, sampleText, false},
	{row{inRule | inAfter, "quota", isText, 0, "", `the rule holds for so many bytes, and for no more after the first packet that is too much; with "!", from then on`, `quota = "10GB"`}, ruleset.FieldQuota, parseQuota, quotaText, true},
}

// limitOrder is the place of limit and above among memories.
var limitOrder = len(memories) + 1

func memoryRows() []row {
	var rows []row
	for _, m := range memories {
		rows = append(rows, m.row)
	}
	return rows
}

// memoryOrder is the place of a field among memories, from 1; 0 if it is not one of them.
func memoryOrder(f ruleset.FieldID) int {
	if f == ruleset.FieldLimit {
		return limitOrder
	}
	for i, m := range memories {
		if m.field == f {
			return i + 1
		}
	}
	return 0
}

// remember reads the conditions of a table that depend on packets before. bound: the key of one that sets a limit, "" if none does.
func (b *builder) remember(t table) (out []ruleset.Match, bound string) {
	for i := range memories {
		k := &memories[i]
		v, ok := t.text(k.key)
		if !ok {
			continue
		}
		v, negated := v.negated()
		m := ruleset.Match{Field: k.field, Not: negated, Pos: v.pos}
		if !k.parse(&m, v.s) {
			b.p.fail(v.pos, "%s %q: not understood", k.key, v.s).Help = "write for example " + k.example
			continue
		}
		out = append(out, m)
		if k.bound && !negated {
			bound = k.key
		}
	}
	for _, key := range []string{"limit", "above"} {
		v, ok := t.text(key)
		if !ok {
			continue
		}
		if l := b.p.limit(v); l != nil {
			out = append(out, ruleset.Match{Field: ruleset.FieldLimit, Not: key == "above", Limit: l, Pos: v.pos})
		}
		if key == "limit" {
			bound = key
		}
	}
	return out, bound
}

// memoryText writes a condition that depends on packets before, as key = value.
func memoryText(m *ruleset.Match) string {
	if m.Field == ruleset.FieldLimit {
		return map[bool]string{false: "limit", true: "above"}[m.Not] + " = " + quote(limitText(m.Limit))
	}
	k := memories[memoryOrder(m.Field)-1]
	return k.key + " = " + quote(map[bool]string{true: "!"}[m.Not]+k.text(m))
}

// parseSample reads "1 of 4", "1 of 4 after 2" or "5%".
func parseSample(m *ruleset.Match, s string) bool {
	if n, isShare := strings.CutSuffix(s, "%"); isShare {
		share, ok := ruleset.Percent(n)
		m.Sample = &ruleset.Sample{Share: share}
		return ok
	}
	w := strings.Fields(s)
	if len(w) != 3 && len(w) != 5 || w[0] != "1" || w[1] != "of" || len(w) == 5 && w[3] != "after" {
		return false
	}
	every, err := strconv.ParseUint(w[2], 10, 32)
	m.Sample = &ruleset.Sample{Every: uint32(every)}
	if err == nil && len(w) == 5 {
		var skip uint64
		skip, err = strconv.ParseUint(w[4], 10, 32)
		m.Sample.Skip = uint32(skip)
	}
	return err == nil && m.Sample.Skip < m.Sample.Every
}

func sampleText(m *ruleset.Match) string { return m.Sample.String() }

// parseQuota reads a number of bytes, with a unit.
func parseQuota(m *ruleset.Match, s string) bool {
	for _, u := range byteUnits {
		n, ok := strings.CutSuffix(s, u.name)
		if !ok {
			continue
		}
		v, err := strconv.ParseUint(n, 10, 64)
		high, low := bits.Mul64(v, u.value)
		m.Quota = &ruleset.Quota{Bytes: low}
		return err == nil && high == 0
	}
	return false
}

func quotaText(m *ruleset.Match) string { return amountText(m.Quota.Bytes, true) }
