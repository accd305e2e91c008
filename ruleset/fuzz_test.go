package ruleset_test

import (
	"encoding/json"
	"testing"

	"github.com/bpfwall/bpfwall/internal/cases"
	"github.com/bpfwall/bpfwall/ruleset"
)

// FuzzCheck: any ruleset that can be stored gets an answer from Check, and one that passes can be judged by, printed and named.
func FuzzCheck(f *testing.F) {
	packets := []*ruleset.Packet{
		&literal(f, "tcp syn mss 1460 in eth0 mark 1").Packet,
		&literal(f, "udp 2001:db8::1 frag in eth0").Packet,
		&literal(f, "icmp malformed in eth0").Packet,
	}
	for _, c := range cases.All() {
		rs, err := c.Ruleset()
		if err != nil {
			f.Fatal(err)
		}
		text, err := json.Marshal(rs)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte(`{"chains":[null,{"rules":[null]}],"sets":[null]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		rs := &ruleset.Ruleset{}
		if json.Unmarshal(text, rs) != nil {
			return
		}
		if rs.Check() != nil {
			return
		}
		rs.AssignIDs()
		_ = rs.String()
		for _, p := range packets {
			for _, h := range ruleset.Hooks {
				v, trace := rs.Eval(h, p, &ruleset.State{})
				if v.Kind != ruleset.Accept && v.Kind != ruleset.Drop && v.Kind != ruleset.Reject || trace.Reason == ruleset.ReasonUnchecked {
					t.Fatalf("%s on %s: %s", v, h, trace.String())
				}
			}
		}
	})
}
