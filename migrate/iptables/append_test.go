package iptables

import (
	"fmt"
	"net/netip"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/bpfwall/bpfwall/ruleset"
)

// manyRules is a file that several processors read, with commands between rules and, if bad is not 0, a mistake in every line whose number
// it divides.
func manyRules(bad int) string {
	var text strings.Builder
	text.WriteString("*filter\n")
	for i := range 5 * fewLines {
		switch {
		case i%700 == 0:
			fmt.Fprintf(&text, "-N LATER%d\n-A LATER%d -m quota --quota 5 -j RETURN\n-I INPUT -j LATER%d\n", i, i, i)
		case bad != 0 && i%bad == 0:
			fmt.Fprintf(&text, "[1:2] -A INPUT -p tcp --dports %d\n", i)
		case i%3 == 0:
			fmt.Fprintf(&text, "-A INPUT -m comment --comment \"rule %d\" -i eth%d -j LATER0\n", i, i%7)
		case i%50 == 1:
			fmt.Fprintf(&text, "-A INPUT -p tcp -m string --string %d --algo bm -j DROP\n", i)
		default:
			fmt.Fprintf(&text, "[3:4] -A INPUT -s 10.0.%d.%d,10.1.0.0/16 -p tcp -m tcp ! --dport %d -j ACCEPT\n", i>>8, i&255, i)
		}
	}
	return text.String() + "COMMIT\n"
}

// However many processors there are, the rules, the report and the mistakes are the same, and in the same order.
func TestSameOnAnyProcessors(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	type result struct {
		Rules  *ruleset.Ruleset
		Report *Report
		Errors string
	}
	read := func(text string, processors int) (r result) {
		runtime.GOMAXPROCS(processors)
		rs, report, err := Import([]Source{{Name: "f", Text: []byte(text)}}, Options{})
		if err != nil {
			r.Errors = err.Error()
		}
		r.Rules, r.Report = rs, report
		return r
	}
	for _, bad := range []int{0, 11} {
		text := manyRules(bad)
		one := read(text, 1)
		if (one.Errors != "") != (bad != 0) {
			t.Fatalf("a mistake in every %dth line: %s", bad, one.Errors)
		}
		for _, processors := range []int{2, 5} {
			if diff := cmp.Diff(one, read(text, processors), cmpopts.EquateComparable(netip.Addr{})); diff != "" {
				t.Errorf("%d processors, a mistake in every %dth line (-one +several):\n%s", processors, bad, diff)
			}
		}
	}
}
