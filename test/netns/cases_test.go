package netns

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/bpfwall/bpfwall/internal/cases"
	"github.com/bpfwall/bpfwall/internal/lab"
	"github.com/bpfwall/bpfwall/packet"
	"github.com/bpfwall/bpfwall/ruleset"
)

// TestCasesInKernel runs the shared cases through the kernel's own iptables: what the evaluator and the compiled programs are held
// to is what netfilter does. It takes the cases of INPUT that need nothing but the packet: no interface names, marks, states,
// address types or time.
func TestCasesInKernel(t *testing.T) {
	w := newWorld(t, lab.Options{Wires: true})
	if err := w.DUT.Sysctl("net.ipv4.conf.all.accept_local=1", "net.ipv4.conf.lan0.accept_local=1"); err != nil {
		t.Fatal(err)
	}
	if err := w.DUT.EverythingLocal("lan0"); err != nil {
		t.Fatal(err)
	}
	if _, err := w.DUT.Run(strings.NewReader(arrivals), "nft", "-f", "-"); err != nil {
		t.Fatal(err)
	}
	port := openPort(t, w.Client.OpenPort, "eth0")
	tried, unseen := 0, 0
	for _, c := range cases.All() {
		if !inKernel(t, &c) {
			continue
		}
		engine := lab.Nft
		if c.LegacyOnly {
			engine = lab.Legacy
		}
		empty := "*filter\n:INPUT ACCEPT [0:0]\nCOMMIT\n"
		v4, v6 := c.IPTablesSave(), c.IPTablesSave()
		switch c.Family {
		case ruleset.FamilyIPv4:
			v6 = empty
		case ruleset.FamilyIPv6:
			v4 = empty
		}
		if err := engine.Restore(w.DUT, v4, v6); err != nil {
			t.Errorf("%s: %v", c.Name, err)
			continue
		}
		for _, e := range c.Expects() {
			seen, passed, ok := arrive(t, w.DUT, port, e.Packet, c.Family)
			if !ok {
				continue
			}
			if tried++; !seen {
				unseen++ // fragments, which wait for the rest; martians
				continue
			}
			if want := e.Verdict.Kind == ruleset.Accept; passed != want {
				t.Errorf("%s: %s: the kernel accepts it: %v, the case says %s\n%s", c.Name, e.Packet, passed, e.Verdict.Kind, v4)
			}
		}
		if err := engine.Restore(w.DUT, empty, empty); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d packets, of which the stack refused %d before any rule", tried, unseen)
}

// arrivals counts what comes before the rules of INPUT and after them.
const arrivals = `table inet lab {
	counter seen { }
	counter passed { }
	chain before { type filter hook input priority -1000; policy accept; meta iifname "lan0" counter name seen; }
	chain after { type filter hook input priority 1000; policy accept; meta iifname "lan0" counter name passed drop; }
}
`

// inKernel reports whether the kernel can be asked about a case in this way.
func inKernel(t *testing.T, c *cases.Case) bool {
	t.Helper()
	if c.IPTablesSave() == "" || c.Table != "" || c.Hook != ruleset.HookNone && c.Hook != ruleset.HookInput {
		return false
	}
	rs, err := c.Ruleset()
	if err != nil {
		t.Fatal(err)
	}
	if remembers(rs) {
		return false
	}
	for _, f := range []ruleset.FieldID{ruleset.FieldInIface, ruleset.FieldOutIface, ruleset.FieldState, ruleset.FieldMark, ruleset.FieldSrcType,
		ruleset.FieldDstType, ruleset.FieldPktType, ruleset.FieldSrcMAC, ruleset.FieldConnected} {
		if rs.Uses(f) {
			return false
		}
	}
	return true
}

// arrive sends a packet and says whether it came to the rules, and past them. Not ok: it cannot be sent, or is another family's.
func arrive(t *testing.T, n *lab.NS, port *lab.Port, text string, f ruleset.Family) (seen, passed, ok bool) {
	t.Helper()
	lit, err := packet.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	if lit.Hook != ruleset.HookInput || !f.Covers(lit.Family) {
		return false, false, false
	}
	frame, err := packet.Frame(&lit.Packet)
	if err != nil || len(frame) > 1514 {
		return false, false, false
	}
	copy(frame, lab.LAN.DUTMAC)
	if err := port.Send(frame); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	seen, passed = counted(t, n)
	return seen, passed, true
}

// counted reads the counters of arrivals and sets them to 0.
func counted(t *testing.T, n *lab.NS) (seen, passed bool) {
	t.Helper()
	text, err := n.Run(nil, "nft", "-j", "reset", "counters", "table", "inet", "lab")
	if err != nil {
		t.Fatal(err)
	}
	var listing struct {
		Nftables []struct {
			Counter *struct {
				Name    string
				Packets int
			}
		}
	}
	if err := json.Unmarshal([]byte(text), &listing); err != nil {
		t.Fatal(err)
	}
	for _, o := range listing.Nftables {
		if o.Counter == nil || o.Counter.Packets == 0 {
			continue
		}
		seen, passed = seen || o.Counter.Name == "seen", passed || o.Counter.Name == "passed"
	}
	return seen, passed
}
