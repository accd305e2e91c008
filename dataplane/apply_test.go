package dataplane

import (
	"testing"
)

func TestApply(t *testing.T) {
	w := newWorld(t)
	w.serve(80)
	w.serve(81)
	if !w.reaches(80) || !w.reaches(81) {
		t.Fatal("the world is broken: no answer without a firewall")
	}
	res := w.apply(inputRules(80), Options{})
	t.Logf("%+v", res)
	if res.Generation != 1 || res.Previous != 0 {
		t.Errorf("generation %d after %d, want 1 after 0", res.Generation, res.Previous)
	}
	if !w.reaches(80) || w.reaches(81) {
		t.Error("want 80 open and 81 closed")
	}
	res = w.apply(inputRules(81), Options{})
	if res.Generation != 2 || res.Previous != 1 {
		t.Errorf("generation %d after %d, want 2 after 1", res.Generation, res.Previous)
	}
	if w.reaches(80) || !w.reaches(81) {
		t.Error("want 80 closed and 81 open")
	}
}
