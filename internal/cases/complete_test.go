package cases_test

import (
	"fmt"
	"testing"

	"github.com/bpfwall/bpfwall/internal/cases"
	"github.com/bpfwall/bpfwall/packet"
	"github.com/bpfwall/bpfwall/ruleset"
)

// TestEveryFieldIsCovered derives from ruleset.Fields what needs a case, and fails for what has none. A case counts only if
// some packet's fate would change were the match not there.
func TestEveryFieldIsCovered(t *testing.T) {
	covered := map[string]bool{}
	for _, c := range cases.All() {
		for _, what := range decisive(t, &c) {
			covered[what] = true
		}
	}
	for _, want := range wanted() {
		if !covered[want] {
			t.Errorf("no case for %s", want)
		}
	}
}

// wanted is everything that needs a case: every field, negated or not, with each sort of operand that fields of its kind take.
func wanted() []string {
	var out []string
	for f := range ruleset.Fields {
		id := ruleset.FieldID(f)
		for _, not := range []string{"", "not "} {
			out = append(out, fmt.Sprintf("%s%s", not, id))
		}
		switch ruleset.Fields[f].Kind {
		case ruleset.KindAddr:
			out = append(out, id.String()+": 2 operands")
		case ruleset.KindLimit, ruleset.KindSample, ruleset.KindQuota, ruleset.KindRecent, ruleset.KindFlows, ruleset.KindElement:
		case ruleset.KindNumber:
			if ruleset.Fields[f].Bits > 1 && id != ruleset.FieldFamily {
				out = append(out, id.String()+": range")
			}
		}
	}
	for _, f := range []ruleset.FieldID{ruleset.FieldSrcAddr, ruleset.FieldDstAddr} {
		out = append(out, f.String()+": set", f.String()+": mask with holes", f.String()+": range")
	}
	return out
}

// decisive lists what the case's matches cover, those only that decide over some packet.
func decisive(t *testing.T, c *cases.Case) []string {
	var out []string
	rs, err := c.Ruleset()
	if err != nil {
		t.Fatal(err)
	}
	before := outcome(t, c, rs)
	for _, chain := range rs.Chains {
		for _, r := range chain.Rules {
			all := r.Matches
			for i := range all {
				r.Matches = append(append([]ruleset.Match{}, all[:i]...), all[i+1:]...)
				if outcome(t, c, rs) != before {
					out = append(out, describe(&all[i])...)
				}
			}
			r.Matches = all
		}
	}
	return out
}

// describe says what a match is an example of.
func describe(m *ruleset.Match) []string {
	name := m.Field.String()
	out := []string{name}
	if m.Not {
		out[0] = "not " + name
	}
	if len(m.Ranges)+len(m.Masked)+len(m.Addrs) > 1 {
		out = append(out, name+": 2 operands")
	}
	for _, r := range m.Ranges {
		if r.From < r.To {
			out = append(out, name+": range")
		}
	}
	if m.Set != "" {
		out = append(out, name+": set")
	}
	for _, a := range m.Addrs {
		switch _, isPrefix := a.Prefix(); {
		case !a.Mask.IsValid() && a.From != a.To:
			out = append(out, name+": range")
		case !isPrefix:
			out = append(out, name+": mask with holes")
		}
	}
	return out
}

// outcome is the fate of all packets of a case, as text.
func outcome(t *testing.T, c *cases.Case, rs *ruleset.Ruleset) string {
	t.Helper()
	s := ""
	var st ruleset.State
	for _, e := range append(c.Expects(), c.Sequence...) {
		l, err := packet.Parse(e.Packet)
		if err != nil {
			t.Fatalf("%s: %s: %v", c.Name, e.Packet, err)
		}
		v, trace := rs.Eval(l.Hook, &l.Packet, &st)
		s += fmt.Sprintln(v, trace.Packet.Mark, trace.NoTrack, trace.SynProxy)
	}
	return s
}

// Every hook, verdict and statement occurs in some case.
func TestEveryVerdictIsCovered(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range cases.All() {
		rs, err := c.Ruleset()
		if err != nil {
			t.Fatal(err)
		}
		for _, chain := range rs.Chains {
			seen[chain.Hook.String()] = true
			for _, r := range chain.Rules {
				seen[r.Verdict.Kind.String()] = true
				for _, s := range r.Statements {
					seen[fmt.Sprint(s.Log != nil, s.SetMark != nil, s.NoTrack != nil, s.Change != nil, s.SynProxy != nil)] = true
				}
			}
		}
	}
	want := []string{"continue", "accept", "drop", "reject", "return", "jump", "goto", "true false false false false", "false true false false false", "false false true false false", "false false false true false", "false false false false true"}
	for _, h := range ruleset.Hooks {
		want = append(want, h.String())
	}
	for _, w := range want {
		if !seen[w] {
			t.Errorf("no case has %s", w)
		}
	}
}

func TestNamesAreUnique(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range cases.All() {
		if seen[c.Name] {
			t.Errorf("two cases are called %q", c.Name)
		}
		seen[c.Name] = true
	}
}
