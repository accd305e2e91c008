package iptables

import (
	"strings"
	"testing"
)

// TestSynProxy: the two rules that make a SYN proxy are imported together, each in its place, or the second is refused with the reason.
func TestSynProxy(t *testing.T) {
	const syn, states = "-A PREROUTING -i eth0 -p tcp -m tcp --dport 80 --syn -j CT --notrack", "-A INPUT -i eth0 -p tcp -m tcp --dport 80 -m conntrack --ctstate INVALID,UNTRACKED"
	for _, c := range []struct {
		name, raw, input string
		want             []string // lines of the ruleset
		why              string
	}{
		{"as iptables-save prints it", strings.Replace(syn, "--syn", "--tcp-flags FIN,SYN,RST,ACK SYN", 1), states + " -j SYNPROXY --sack-perm --timestamp --wscale 7 --mss 1460",
			[]string{"in eth0 tcp to port 80: synproxy", "in eth0 tcp to port 80 state new: accept"}, ""},
		{"old spellings, another order", "-A PREROUTING -p tcp -i eth0 -m tcp --syn --dport 80 -m comment --comment x -j NOTRACK",
			strings.Replace(states, "conntrack --ctstate", "state --state", 1) + " -j SYNPROXY", []string{"synproxy", "state new: accept"}, ""},
		{"other packets", strings.Replace(syn, "80", "81", 1), states + " -j SYNPROXY", []string{"81 flags syn/fin+syn+rst+ack: notrack"}, "needs a rule of raw for the same packets"},
		{"not only SYNs", strings.Replace(syn, " --syn", "", 1), states + " -j SYNPROXY", []string{"80: notrack"}, "needs a rule of raw for the same packets"},
		{"no rule of raw", "", states + " -j SYNPROXY", nil, "needs a rule of raw for the same packets"},
		{"all states", syn, strings.Replace(states, "INVALID,", "ESTABLISHED,", 1) + " -j SYNPROXY", nil, "INVALID,UNTRACKED"},
		{"forwarded", syn, strings.Replace(states, "INPUT", "FORWARD", 1) + " -j SYNPROXY", nil, "forwarded ones have none"},
		{"a user chain", syn, ":web - [0:0]\n-A INPUT -j web\n" + strings.Replace(states, "INPUT", "web", 1) + " -j SYNPROXY", nil, "not in other chains"},
	} {
		t.Run(c.name, func(t *testing.T) {
			rs, report := importText(t, "*filter\n:INPUT DROP [0:0]\n"+c.input+"\nCOMMIT\n*raw\n:PREROUTING ACCEPT [0:0]\n"+c.raw+"\nCOMMIT\n", Options{})
			for _, want := range c.want {
				if !strings.Contains(rs.String(), want) {
					t.Errorf("no %q in\n%s", want, rs)
				}
			}
			var lost []string
			for _, e := range report.Rules {
				if e.Status == NotDone {
					lost = append(lost, e.Why)
				}
			}
			if c.why == "" && len(lost) > 0 || c.why != "" && (len(lost) != 1 || !strings.Contains(lost[0], c.why) || !strings.Contains(lost[0], "[[guard]]")) {
				t.Errorf("not done: %q, want %q", lost, c.why)
			}
		})
	}
}
