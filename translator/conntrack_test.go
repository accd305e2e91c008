package translator

import (
	"testing"

	"github.com/bpfwall/bpfwall/bpf"
	"github.com/bpfwall/bpfwall/ruleset"
)

// The timeouts of the ruleset are those of the C code, in their order.
func TestTimeouts(t *testing.T) {
	spec, err := bpf.LoadClassifier()
	if err != nil {
		t.Fatal(err)
	}
	v := spec.Variables["cfg_ct_timeouts"]
	defaults := make([]uint32, v.Size()/4)
	if err := v.Get(defaults); err != nil {
		t.Fatal(err)
	}
	for i, s := range defaults {
		switch {
		case i < len(ruleset.ConntrackTimeouts) && ruleset.ConntrackTimeouts[i].Default != s:
			t.Errorf("%s: %d s, in C %d s", ruleset.ConntrackTimeouts[i].Name, ruleset.ConntrackTimeouts[i].Default, s)
		case i >= len(ruleset.ConntrackTimeouts) && s != 0:
			t.Errorf("timeout %d has no name", i)
		}
	}
	out, err := Translate(&ruleset.Ruleset{Conntrack: &ruleset.Conntrack{
		Max: 1000, HalfOpen: 500, Strict: true, Liberal: true, Timeouts: map[string]uint32{"udp": 7, "sctp_heartbeat_sent": 8},
	}}, Slots{})
	if err != nil {
		t.Fatal(err)
	}
	var loose, liberal uint8
	must(t, out.Spec.Variables["cfg_ct_timeouts"].Get(defaults))
	must(t, out.Spec.Variables["cfg_tcp_loose"].Get(&loose))
	must(t, out.Spec.Variables["cfg_tcp_liberal"].Get(&liberal))
	if defaults[12] != 7 || defaults[27] != 8 || defaults[3] != 432000 || loose != 0 || liberal != 1 {
		t.Errorf("timeouts %d, loose %d, liberal %d", defaults, loose, liberal)
	}
	if ct, half := out.Spec.Maps["ct"].MaxEntries, out.Spec.Maps["ct_new"].MaxEntries; ct != 1000 || half != 500 {
		t.Errorf("%d and %d entries", ct, half)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
