package netns

import (
	"strings"
	"testing"

	"github.com/bpfwall/bpfwall/internal/cases"
	"github.com/bpfwall/bpfwall/internal/lab"
	"github.com/bpfwall/bpfwall/ruleset"
)

// TestLimitsAsIptables sends the packets of the cases about limits through the kernel's own iptables, of both kinds: each gets the
// verdict that the evaluator and the compiled programs are held to.
func TestLimitsAsIptables(t *testing.T) {
	w := newWorld(t, lab.Options{Wires: true})
	if err := w.DUT.Sysctl("net.ipv4.conf.all.accept_local=1", "net.ipv4.conf.lan0.accept_local=1"); err != nil {
		t.Fatal(err)
	}
	if err := w.DUT.EverythingLocal("lan0"); err != nil {
		t.Fatal(err)
	}
	if _, err := w.DUT.Run(strings.NewReader(kept), "nft", "-f", "-"); err != nil {
		t.Fatal(err)
	}
	port := openPort(t, w.Client.OpenPort, "eth0")
	const empty = "*filter\n:INPUT ACCEPT [0:0]\nCOMMIT\n"
	for _, engine := range []lab.Engine{lab.Nft, lab.Legacy} {
		tried := 0
		for _, c := range cases.All() {
			rs, err := c.Ruleset()
			if err != nil {
				t.Fatal(err)
			}
			if !remembers(rs) || c.IPTablesSave() == "" {
				continue
			}
			if err := engine.Restore(w.DUT, c.IPTablesSave(), empty); err != nil {
				t.Errorf("%s: %v", c.Name, err)
				continue
			}
			for i, e := range c.Sequence {
				seen, passed, ok := arrive(t, w.DUT, port, e.Packet, ruleset.FamilyIPv4)
				if !ok || !seen {
					t.Errorf("%s: %s did not come to the rules", c.Name, e.Packet)
					continue
				}
				tried++
				if want := e.Verdict.Kind == ruleset.Accept; passed != want {
					t.Errorf("%s: packet %d, %s: the kernel accepts it: %v, the case says %s\n%s", c.Name, i+1, e.Packet, passed, e.Verdict.Kind, c.IPTablesSave())
				}
			}
			if err := engine.Restore(w.DUT, empty, empty); err != nil {
				t.Fatal(err)
			}
		}
		t.Logf("%v: %d packets", engine, tried)
	}
}

// kept counts what comes before the rules of INPUT and after them. What passes is kept, so that its connection begins, and nobody answers.
const kept = `table inet lab {
	counter seen { }
	counter passed { }
	chain before { type filter hook input priority -1000; policy accept; meta iifname "lan0" counter name seen; }
	chain after { type filter hook input priority 1000; policy accept; meta iifname "lan0" counter name passed; }
	chain silence { type filter hook output priority -1000; policy accept; meta oifname "lan0" drop; }
}
`

// remembers reports whether a verdict depends on the packets before.
func remembers(rs *ruleset.Ruleset) bool {
	for f := range ruleset.Fields {
		if id := ruleset.FieldID(f); id.Remembers() && rs.Uses(id) {
			return true
		}
	}
	return false
}
