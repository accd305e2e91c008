package bpf

import "testing"

// What is done to one copy of an object is not in the next.
func TestObjectCopies(t *testing.T) {
	a, err := Classifier.Spec()
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Variables["cfg_nat"].Set(true); err != nil {
		t.Fatal(err)
	}
	a.Maps["ct"].MaxEntries++
	a.Programs["tc_ingress"].Instructions[0].Constant++
	delete(a.Programs, "tc_egress")
	b, err := Classifier.Spec()
	if err != nil {
		t.Fatal(err)
	}
	var on bool
	if err := b.Variables["cfg_nat"].Get(&on); err != nil || on {
		t.Errorf("cfg_nat is %t, %v", on, err)
	}
	if a.Maps["ct"].MaxEntries == b.Maps["ct"].MaxEntries || b.Programs["tc_egress"] == nil ||
		a.Programs["tc_ingress"].Instructions[0].Constant == b.Programs["tc_ingress"].Instructions[0].Constant {
		t.Error("a copy has what was done to another one")
	}
}
