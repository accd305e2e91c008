package volume

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/bpfwall/bpfwall/ruleset"
)

// report makes a disagreement as small as it can and prints it as a row for known.
func report(t *testing.T, m *machine, rs *ruleset.Ruleset, f *frame, seed uint64, diff string) {
	t.Helper()
	saw := *m.pkt()
	one := *f
	one.data = slices.Clone(f.data)
	if d := m.differ(rs, &one); d == "" {
		t.Errorf("seed %d: only after the frames before it: %s\n%s\nthe program saw %+v\n%s\n%s", seed, &one, diff, saw, rs, identities(rs))
		return
	}
	rs = m.shrinkRules(rs, &one)
	m.shrinkFrame(rs, &one)
	diff = m.differ(rs, &one)
	text, err := json.Marshal(rs)
	if err != nil {
		t.Error(err)
	}
	t.Errorf("seed %d:\n%s\n%s\nas a row of known:\n\t{%t, %s,\n\t\t`%s`},",
		seed, diff, strings.TrimSpace(rs.String()), m.router, &one, text)
}

// identities lists the rules by ID, as diff names them.
func identities(rs *ruleset.Ruleset) string {
	var b strings.Builder
	for _, c := range rs.Chains {
		for i, r := range c.Rules {
			fmt.Fprintf(&b, "%s: rule %d of %s\n", r.ID, i+1, c.Name)
		}
	}
	return b.String()
}

// String is the frame as Go has it.
func (f *frame) String() string {
	return fmt.Sprintf("frame{data: unhex(%q), way: way{%t, %t}, dev: %d, from: %d, mark: %#x}", hex.EncodeToString(f.data), f.egress,
		f.forwarded, f.dev, f.from, f.mark)
}

// differ loads a ruleset and tells how the two sides disagree on a frame; "" if they do not.
func (m *machine) differ(rs *ruleset.Ruleset, f *frame) string {
	if err := m.load(rs); err != nil {
		return ""
	}
	return m.differNow(rs, f)
}

func (m *machine) differNow(rs *ruleset.Ruleset, f *frame) string {
	ret, err := m.verdict(f)
	if err != nil {
		return ""
	}
	return m.agrees(m.expected(rs, f), ret)
}

// shrinkRules takes out chains, rules, matches and statements as long as the two sides disagree.
func (m *machine) shrinkRules(rs *ruleset.Ruleset, f *frame) *ruleset.Ruleset {
	for again := true; again; {
		again = false
		for _, smaller := range reductions(rs) {
			if smaller.Check() == nil && m.differ(smaller, f) != "" {
				rs, again = smaller, true
				break
			}
		}
	}
	return rs
}

// reductions are a ruleset made smaller in one way each, the large steps first.
func reductions(rs *ruleset.Ruleset) []*ruleset.Ruleset {
	var out []*ruleset.Ruleset
	edit := func(change func(rs *ruleset.Ruleset)) {
		c := clone(rs)
		change(c)
		out = append(out, c)
	}
	for i := range rs.Chains {
		edit(func(c *ruleset.Ruleset) { c.Chains = slices.Delete(c.Chains, i, i+1) })
	}
	for i, c := range rs.Chains {
		for size := len(c.Rules); size > 0; size /= 2 {
			for from := 0; from+size <= len(c.Rules); from += size {
				edit(func(c *ruleset.Ruleset) { c.Chains[i].Rules = slices.Delete(c.Chains[i].Rules, from, from+size) })
			}
		}
		for j, r := range c.Rules {
			for k := range r.Matches {
				edit(func(c *ruleset.Ruleset) {
					c.Chains[i].Rules[j].Matches = slices.Delete(c.Chains[i].Rules[j].Matches, k, k+1)
				})
			}
			if len(r.Statements) > 0 {
				edit(func(c *ruleset.Ruleset) { c.Chains[i].Rules[j].Statements = nil })
			}
		}
	}
	for i := range rs.Sets {
		edit(func(c *ruleset.Ruleset) { c.Sets = slices.Delete(c.Sets, i, i+1) })
	}
	return out
}

func clone(rs *ruleset.Ruleset) *ruleset.Ruleset {
	out := *rs
	out.Sets, out.Chains = slices.Clone(rs.Sets), nil
	for _, from := range rs.Chains {
		c := *from
		c.Rules = nil
		for _, r := range from.Rules {
			rule := *r
			rule.ID, rule.Matches, rule.Statements = "", slices.Clone(r.Matches), slices.Clone(r.Statements)
			c.Rules = append(c.Rules, &rule)
		}
		out.Chains = append(out.Chains, &c)
	}
	return &out
}

// shrinkFrame shortens a frame and makes bytes 0 as long as the two sides disagree.
func (m *machine) shrinkFrame(rs *ruleset.Ruleset, f *frame) {
	if m.load(rs) != nil {
		return
	}
	try := func(change func(*frame)) {
		g := *f
		g.data = slices.Clone(f.data)
		change(&g)
		if len(g.data) >= 14 && m.differNow(rs, &g) != "" {
			*f = g
		}
	}
	for size := len(f.data) / 2; size > 0; size /= 2 {
		try(func(g *frame) { g.data = g.data[:max(14, len(g.data)-size)] })
	}
	for i := range f.data {
		try(func(g *frame) { g.data[i] = 0 })
	}
	for _, change := range []func(*frame){
		func(g *frame) { g.egress = false }, func(g *frame) { g.forwarded = false }, func(g *frame) { g.dev = 0 },
		func(g *frame) { g.from = 0 }, func(g *frame) { g.mark = 0 },
	} {
		try(change)
	}
}
