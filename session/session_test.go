package session

import (
	"strings"
	"testing"

	"github.com/bpfwall/bpfwall/ruleset"
)

func TestParse(t *testing.T) {
	tests := []struct{ value, want, problem string }{
		{"", "", ""},
		{"203.0.113.50 51812 127.0.0.1 22", "203.0.113.50:51812 127.0.0.1:22 lo", ""},
		{"fe80::9%eth9 51812 fe80::1%eth9 2222", "[fe80::9]:51812 [fe80::1]:2222 eth9", ""},
		{"::ffff:203.0.113.50 1 ::ffff:127.0.0.1 22", "203.0.113.50:1 127.0.0.1:22 lo", ""},
		{"203.0.113.50 51812", "", "want four words"},
		{"host 51812 192.0.2.1 22", "", "unable to parse"},
		{"203.0.113.50 99999 192.0.2.1 22", "", "out of range"},
	}
	for _, test := range tests {
		s, err := Parse(test.value)
		if err != nil || test.problem != "" {
			if err == nil || test.problem == "" || !strings.Contains(err.Error(), test.problem) {
				t.Errorf("%q: got %v, want an error with %q", test.value, err, test.problem)
			}
			continue
		}
		got := ""
		if s != nil {
			got = s.Client.String() + " " + s.Server.String() + " " + s.Iface
		}
		if got != test.want {
			t.Errorf("%q: got %q, want %q", test.value, got, test.want)
		}
	}
}

// port22 is a rule about new or known connections to port 22.
func port22(state uint64, kind ruleset.VerdictKind) *ruleset.Rule {
	return &ruleset.Rule{
		Matches: []ruleset.Match{
			{Field: ruleset.FieldProto, Ranges: []ruleset.Range{{From: 6, To: 6}}},
			{Field: ruleset.FieldDstPort, Ranges: []ruleset.Range{{From: 22, To: 22}}},
			{Field: ruleset.FieldState, Masked: []ruleset.Masked{{Value: state, Mask: state}}},
		},
		Verdict: ruleset.Verdict{Kind: kind},
	}
}

func TestCutBy(t *testing.T) {
	s, err := Parse("203.0.113.50 51812 127.0.0.1 22")
	if err != nil {
		t.Fatal(err)
	}
	const anew, known = ruleset.StateNew, ruleset.StateEstablished
	tests := []struct {
		name    string
		rules   []*ruleset.Rule
		tracked bool
		cut     string
	}{
		{"allowed", []*ruleset.Rule{port22(anew|known, ruleset.Accept)}, false, ""},
		{"no rule", nil, false, "the next packet"},
		{"rejected", []*ruleset.Rule{port22(anew|known, ruleset.Reject)}, false, "the next packet"},
		{"known connections only", []*ruleset.Rule{port22(known, ruleset.Accept)}, true, "a new session"},
		{"new connections only, session known", []*ruleset.Rule{port22(anew, ruleset.Accept)}, true, "the next packet"},
	}
	for _, test := range tests {
		rs := &ruleset.Ruleset{Chains: []*ruleset.Chain{{Name: "in", Hook: ruleset.HookInput, Policy: ruleset.Drop, Rules: test.rules}}}
		cut := s.CutBy(rs, test.tracked)
		switch {
		case cut == nil && test.cut != "":
			t.Errorf("%s: not cut, want %q", test.name, test.cut)
		case cut != nil && (test.cut == "" || !strings.HasPrefix(cut.What, test.cut)):
			t.Errorf("%s: cut %q, want %q", test.name, cut.What, test.cut)
		}
	}
	closed := &ruleset.Ruleset{Chains: []*ruleset.Chain{{Name: "out", Hook: ruleset.HookOutput, Policy: ruleset.Drop}}}
	if cut := s.CutBy(closed, true); cut == nil || !strings.HasPrefix(cut.What, "the answers") {
		t.Errorf("closed output: got %v, want the answers to be cut", cut)
	}
}
