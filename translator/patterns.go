package translator

import (
	"fmt"
	"slices"
	"strings"

	"github.com/bpfwall/bpfwall/ruleset"
	"github.com/bpfwall/bpfwall/translator/classify"
)

// patterns is what the rules of a classifier ask for beside addresses and ports: different combinations of tests, as bits of 64. Which
// of them a packet meets is found out once: small fields say it by a table, other tests by a comparison each.
type patterns struct {
	ids   map[string]uint8
	known map[uint64][]knownPattern // by a hash of the tests: most rules ask for what others asked for, in the same order
	list  []*pattern
	tests []*test // that are no tables: comparisons
	masks []uint64
}

// pattern is the tests of a combination.
type pattern struct {
	tests []*test
	keys  []string
}

// maxPatterns and maxComparisons bound a classifier's patterns.
const (
	maxPatterns    = 64
	maxComparisons = 24
)

func newPatterns() *patterns {
	return &patterns{ids: map[string]uint8{}, known: map[uint64][]knownPattern{}}
}

// key tells tests apart.
func (t *test) key() string {
	return fmt.Sprint(t.Field, t.Not, t.Ranges, t.Masked, t.Names, t.Addrs)
}

// tabled reports whether a field's values say by a table which patterns they meet: those of at most 9 bits.
func tabled(f ruleset.FieldID) bool {
	info := ruleset.Fields[f]
	return info.Bits <= 8 && info.Member != "" && f != ruleset.FieldTCPOption && f != ruleset.FieldFamily &&
		(info.Kind == ruleset.KindNumber || info.Kind == ruleset.KindFlags || info.Kind == ruleset.KindBits)
}

// knownPattern is tests whose bit has been asked for before.
type knownPattern struct {
	tests []*test
	bit   uint8
}

// add is the bit of some tests; false if there is no room for one more.
func (p *patterns) add(tests []*test) (bit uint8, ok bool) {
	hash := uint64(14695981039346656037)
	for _, t := range tests {
		hash = t.hash(hash)
	}
	for _, k := range p.known[hash] {
		if slices.EqualFunc(k.tests, tests, (*test).same) {
			return k.bit, true
		}
	}
	tests = slices.Clone(tests)
	if bit, ok = p.addNew(tests); ok {
		p.known[hash] = append(p.known[hash], knownPattern{tests, bit})
	}
	return bit, ok
}

// same reports whether two tests have the same key.
func (t *test) same(as *test) bool {
	return t.Field == as.Field && t.Not == as.Not && slices.Equal(t.Ranges, as.Ranges) && slices.Equal(t.Masked, as.Masked) &&
		slices.Equal(t.Names, as.Names) && slices.Equal(t.Addrs, as.Addrs)
}

// hash goes on with a hash (FNV-1a, by words) of the smaller operands.
func (t *test) hash(h uint64) uint64 {
	add := func(v uint64) { h = (h ^ v) * 1099511628211 }
	add(uint64(t.Field))
	for _, r := range t.Ranges {
		add(r.From)
		add(r.To)
	}
	for _, m := range t.Masked {
		add(m.Value)
		add(m.Mask)
	}
	return h
}

// addNew is add for tests that are not known in this order.
func (p *patterns) addNew(tests []*test) (bit uint8, ok bool) {
	one := &pattern{tests: tests}
	for _, t := range tests {
		one.keys = append(one.keys, t.key())
	}
	order := make([]string, len(one.keys))
	copy(order, one.keys)
	slices.Sort(order)
	key := strings.Join(order, ";")
	if bit, ok = p.ids[key]; ok {
		return bit, true
	}
	fresh := 0
	for i, t := range tests {
		if !tabled(t.Field) && p.comparison(one.keys[i]) < 0 {
			fresh++
		}
	}
	if len(p.list) == maxPatterns || len(p.tests)+fresh > maxComparisons {
		return 0, false
	}
	bit = uint8(len(p.list))
	p.ids[key] = bit
	p.list = append(p.list, one)
	for i, t := range tests {
		if !tabled(t.Field) {
			p.compare(t, one.keys[i], bit)
		}
	}
	return bit, true
}

// comparison is the number of a comparison; -1 if there is no such yet.
func (p *patterns) comparison(key string) int {
	return slices.IndexFunc(p.tests, func(t *test) bool { return t.key() == key })
}

// compare notes that a pattern needs a comparison.
func (p *patterns) compare(t *test, key string, bit uint8) {
	i := p.comparison(key)
	if i < 0 {
		i = len(p.tests)
		p.tests, p.masks = append(p.tests, t), append(p.masks, 0)
	}
	p.masks[i] |= 1 << bit
}

// sort puts the comparisons in an order that is the same whichever rule asked first.
func (p *patterns) sort() {
	by := make([]int, len(p.tests))
	keys := make([]string, len(p.tests))
	for i, t := range p.tests {
		by[i], keys[i] = i, t.key()
	}
	slices.SortFunc(by, func(a, b int) int { return strings.Compare(keys[a], keys[b]) })
	tests, masks := p.tests, p.masks
	p.tests, p.masks = nil, nil
	for _, i := range by {
		p.tests, p.masks = append(p.tests, tests[i]), append(p.masks, masks[i])
	}
}

// unmet is, for each comparison, the bits of the patterns that a packet may meet though it fails it: as many as there may be, so that what
// is behind them in a map stays where it is.
func (p *patterns) unmet() []uint64 {
	out := make([]uint64, maxComparisons)
	for i, mask := range p.masks {
		out[i] = ^mask
	}
	return out
}

// all is the bits of all patterns.
func (p *patterns) all() uint64 { return ^uint64(0) >> (64 - len(p.list)) }

// fields is the fields with tables.
func (p *patterns) fields() (out []ruleset.FieldID) {
	for f := range ruleset.Fields {
		id := ruleset.FieldID(f)
		asks := func(t *test) bool { return t.Field == id }
		if tabled(id) && slices.ContainsFunc(p.list, func(one *pattern) bool { return slices.ContainsFunc(one.tests, asks) }) {
			out = append(out, id)
		}
	}
	return out
}

// table is, by the value of a field's member, the patterns that do not speak against it.
func (p *patterns) table(f ruleset.FieldID) []uint64 {
	out := make([]uint64, 256)
	if canLack(f) {
		out = make([]uint64, 512)
	}
	for v := range out {
		for bit, one := range p.list {
			if !slices.ContainsFunc(one.tests, func(t *test) bool { return t.Field == f && !t.value(uint64(v)) }) {
				out[v] |= 1 << bit
			}
		}
	}
	return out
}

// value reports whether a test holds for the value of a member, which may say that the packet has no such field.
func (t *test) value(v uint64) bool {
	if v&absent(t.Field) != 0 {
		return false
	}
	holds := t.number(v)
	if ruleset.Fields[t.Field].Kind == ruleset.KindBits {
		holds = slices.ContainsFunc(t.Masked, func(k ruleset.Masked) bool { return v&k.Mask != 0 })
	}
	return holds != t.Not
}

// covers has, for each pattern, the bits of those whose packets all meet it too.
func (p *patterns) covers() (out [64]uint64) {
	for i := range out {
		out[i] = p.all()
	}
	for _, f := range p.fields() {
		for _, met := range p.table(f) {
			for i := range p.list {
				if met>>i&1 == 0 {
					out[i] &^= met
				}
			}
		}
	}
	for i := range p.list {
		for _, mask := range p.masks {
			if mask>>i&1 != 0 {
				out[i] &= mask
			}
		}
		out[i] |= ^p.all()
	}
	return out
}

// maxCombinations is how many of its patterns a dimension of bit vectors may have.
const maxCombinations = 256

// groups is the patterns in groups, each with the combinations of them that a packet can meet: 8 groups at most, since 8 patterns have 256.
func (p *patterns) groups() (out []classify.PatternGroup) {
	for bit := range p.list {
		one := uint64(1) << bit
		if n := len(out); n > 0 {
			last := &out[n-1]
			if values := p.combinations(last.Mask | one); values != nil {
				last.Mask, last.Values = last.Mask|one, values
				continue
			}
		}
		out = append(out, classify.PatternGroup{Mask: one, Values: p.combinations(one)})
	}
	return out
}

// combinations is what packets can meet of some patterns, sorted; nil if it is too much.
func (p *patterns) combinations(mask uint64) []uint64 {
	all := []uint64{mask}
	with := func(masks []uint64) {
		var next []uint64
		for _, m := range all {
			for _, by := range masks {
				next = append(next, m&by)
			}
		}
		slices.Sort(next)
		if all = slices.Compact(next); len(all) > maxCombinations {
			all = nil
		}
	}
	for _, f := range p.fields() {
		masks := p.table(f)
		slices.Sort(masks)
		with(slices.Compact(masks))
	}
	for _, m := range p.masks {
		with([]uint64{^uint64(0), ^m})
	}
	return all
}
