package dataplane

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bpfwall/bpfwall/ruleset"
)

func TestAbsentInterfaces(t *testing.T) {
	at := func(line int, not bool, names ...string) *ruleset.Rule {
		return &ruleset.Rule{Matches: []ruleset.Match{{Field: ruleset.FieldInIface, Not: not, Names: names, Pos: ruleset.Pos{Line: line}}}}
	}
	rs := &ruleset.Ruleset{Chains: []*ruleset.Chain{{Rules: []*ruleset.Rule{
		at(1, false, "lo", "eth0"), at(2, false, "etc0", "wg+"), at(3, false, "etc0"), at(4, true, "docker0"),
	}}}}
	want := []ruleset.Match{{Names: []string{"etc0"}, Pos: ruleset.Pos{Line: 2}}}
	if diff := cmp.Diff(want, absentInterfaces(rs, []string{"lo", "eth0"})); diff != "" {
		t.Error(diff)
	}
}
