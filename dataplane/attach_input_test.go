package dataplane

import (
	"context"
	"os"
	"testing"

	"github.com/bpfwall/bpfwall/ruleset"
)

// The kernel puts fragments together only while a ruleset is in force that tracks connections, as with netfilter.
func TestDefragmentsForConntrackOnly(t *testing.T) {
	w := newWorld(t)
	stateful := inputRules(80)
	stateful.Chains[0].Rules[0].Matches = append(stateful.Chains[0].Rules[0].Matches, ruleset.Match{
		Field: ruleset.FieldState, Masked: []ruleset.Masked{{Value: ruleset.StateNew, Mask: ruleset.StateNew}},
	})
	d := w.open()
	attached := func(what string, want bool) {
		t.Helper()
		for _, h := range netfilterHooks {
			if _, err := os.Stat(d.at.netfilterPin(h)); (err == nil) != want {
				t.Errorf("%s, %s: attached %t", what, h.name, !want)
			}
		}
		s, err := d.Status()
		must(t, err)
		if len(s.Warnings) != 0 || s.Generation.Defrag != want {
			t.Errorf("%s: warnings %q, defrag %t", what, s.Warnings, s.Generation.Defrag)
		}
	}
	w.apply(inputRules(80), Options{})
	attached("stateless", false)
	w.apply(stateful, Options{})
	attached("stateful", true)
	w.apply(inputRules(81), Options{})
	attached("stateless again", false)
	_, err := d.Rollback(context.Background(), Meta{})
	must(t, err)
	attached("rolled back", true)
	w.disable()
	for _, h := range netfilterHooks {
		if _, err := os.Stat(d.at.netfilterPin(h)); err == nil {
			t.Errorf("%s: attached after disable", h.name)
		}
	}
}
