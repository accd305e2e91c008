package ruleset_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bpfwall/bpfwall/ruleset"
)

func idsOf(rs *ruleset.Ruleset) []string {
	rs.AssignIDs()
	var out []string
	for _, c := range rs.Chains {
		for _, r := range c.Rules {
			out = append(out, r.ID)
		}
	}
	return out
}

func named(name string, r *ruleset.Rule) *ruleset.Rule {
	r.Name = name
	return r
}

func TestAssignIDs(t *testing.T) {
	given := rule(drop)
	given.ID = "given"
	rs := &ruleset.Ruleset{Chains: []*ruleset.Chain{
		{Name: "inbound", Rules: []*ruleset.Rule{named("site", rule(accept, port(80))), rule(accept, port(22)), given, rule(accept, port(22)), rule(accept, port(22))}},
		{Name: "INPUT", Family: 4, Rules: []*ruleset.Rule{rule(accept, port(22))}},
		{Name: "INPUT", Family: 6, Rules: []*ruleset.Rule{rule(accept, port(22))}},
	}}
	const hash = "#02514a55ad"
	want := []string{"inbound/site", "inbound" + hash, "given", "inbound" + hash + "~2", "inbound" + hash + "~3", "INPUT/ipv4" + hash, "INPUT/ipv6" + hash}
	if diff := cmp.Diff(want, idsOf(rs)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Editing one place changes no identity elsewhere, and neither names nor notes nor positions matter to a hash.
func TestIDsSurviveEdits(t *testing.T) {
	build := func() *ruleset.Chain {
		return chain("a", rule(accept, port(1)), rule(drop, port(2)), named("x", rule(drop, port(3))), rule(drop, port(2)))
	}
	before := idsOf(&ruleset.Ruleset{Chains: []*ruleset.Chain{build()}})
	edited := build()
	edited.Rules[0].Note, edited.Rules[0].Text, edited.Rules[0].Pos.Line = "n", "t", 7
	edited.Rules[2].Matches[0] = port(4) // a named rule stays itself
	edited.Rules = slices.Insert(edited.Rules, 0, rule(accept, port(9)))
	after := idsOf(&ruleset.Ruleset{Chains: []*ruleset.Chain{chain("new", rule(accept, port(1))), edited}})
	if diff := cmp.Diff(before, after[2:]); diff != "" {
		t.Errorf("(-before +after):\n%s", diff)
	}
}

func TestIDsAreUnique(t *testing.T) {
	clash := rule(accept)
	clash.ID = "a/x~2"
	rs := &ruleset.Ruleset{Chains: []*ruleset.Chain{
		chain("a", named("x", rule(accept)), named("x", rule(drop)), clash, named("x~2", rule(drop))),
		chain("a/x"), chain("a", named("x", rule(accept))),
	}}
	ids := idsOf(rs)
	slices.Sort(ids)
	if n := len(slices.Compact(slices.Clone(ids))); n != len(ids) {
		t.Errorf("got %q", ids)
	}
}

func TestUses(t *testing.T) {
	rs := set(chain("a", rule(accept, port(1))), chain("b", rule(accept, bits(ruleset.FieldState, 1, 1))))
	none := set(chain("a", rule(accept, one(ruleset.FieldProto, 6))))
	if !rs.UsesConntrack() || none.UsesConntrack() {
		t.Error("UsesConntrack")
	}
	if !rs.Uses(ruleset.FieldDstPort) || rs.Uses(ruleset.FieldSrcPort) {
		t.Error("Uses")
	}
	for f := range ruleset.Fields {
		m := one(ruleset.FieldID(f), 1)
		l := ruleset.Fields[f].Layer
		want := l == ruleset.LayerPorts || l == ruleset.LayerTCP || l == ruleset.LayerICMP
		if got := set(chain("a", rule(accept, m))).ReadsTransport(); got != want {
			t.Errorf("%s: ReadsTransport is %v", m.Field, got)
		}
	}
}

func TestReach(t *testing.T) {
	rs := set(base(ruleset.HookInput, ruleset.Drop, rule(to(ruleset.Jump, "a"))), base(ruleset.HookOutput, ruleset.Drop, rule(to(ruleset.Goto, "b"))),
		chain("a", rule(to(ruleset.Jump, "b"))), chain("b"), chain("c", rule(to(ruleset.Jump, "b"))))
	want := map[string]string{"INPUT": "input", "OUTPUT": "output", "a": "input", "b": "input output", "c": ""}
	got := map[string]string{}
	for _, c := range rs.Chains {
		got[c.Name] = ""
	}
	for _, h := range ruleset.Hooks {
		for _, c := range rs.ReachedFrom(h) {
			got[c.Name] = strings.TrimSpace(got[c.Name] + " " + h.String())
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestTrace(t *testing.T) {
	rs := set(base(ruleset.HookInput, ruleset.Drop, rule(to(ruleset.Jump, "web"), one(ruleset.FieldProto, 6)), rule(accept, one(ruleset.FieldProto, 17))),
		chain("web", rule(accept, port(80), one(ruleset.FieldTTL, 255))))
	l := literal(t, "tcp -> :80")
	_, trace := rs.Eval(l.Hook, &l.Packet, nil)
	const want = `INPUT: tcp: jump web: matched
  web: to port 80 ttl 255: accept: no match: ttl 255
INPUT: udp: accept: no match: udp
INPUT: policy drop
`
	if diff := cmp.Diff(want, trace.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for text, want := range map[string]string{
		"udp malformed":       "drop: " + ruleset.ReasonMalformed + "\n",
		"udp -> :80 out eth0": "accept: no chain judges ipv4 packets on output\n",
	} {
		l := literal(t, text)
		if _, trace := rs.Eval(l.Hook, &l.Packet, nil); trace.String() != want {
			t.Errorf("%s: got %q, want %q", text, trace.String(), want)
		}
	}
}
