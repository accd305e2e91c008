package cases

import "github.com/bpfwall/bpfwall/ruleset"

// atMost is so many flows of a source.
func atMost(n uint32, v4, v6 uint8) ruleset.Match {
	return ruleset.Match{Field: ruleset.FieldFlows, Flows: &ruleset.Flows{Max: n, Bits: ruleset.KeyBits{IPv4: v4, IPv6: v6}}}
}

// flowCountCases limit flows. None of them ends.
var flowCountCases = []Case{
	{Name: "two flows of a source", Family: ruleset.FamilyIPv4, Accept: all(udp, atMost(2, 32, 128)),
		Sequence: []Expect{
			pass.of("udp 192.0.2.1:1001 -> :53"), pass.of("udp 192.0.2.1:1002 -> :53"), pass.of("udp 192.0.2.1:1001 -> :53"), stop.of("udp 192.0.2.1:1003 -> :53"),
			stop.of("udp 192.0.2.1:1004 -> :53"), pass.of("udp 192.0.2.2:1001 -> :53"), stop.of("udp 192.0.2.1:1003 -> :53"),
			pass.of("udp 192.0.2.2:1002 -> :53"), pass.of("udp 192.0.2.2:1002 -> :53"), stop.of("udp 192.0.2.2:1003 -> :53"),
		},
		IPTables: []string{"-A INPUT -p udp -m connlimit --connlimit-upto 2 -j ACCEPT"}},
	{Name: "flows that were refused do not count", Family: ruleset.FamilyIPv4, Accept: all(udp, atMost(2, 32, 128)), // as docs/semantics.md says
		Sequence: []Expect{
			pass.of("udp 192.0.2.1:1001 -> :53"), pass.of("udp 192.0.2.1:1002 -> :53"), stop.of("udp 192.0.2.1:1003 -> :53"), stop.of("udp 192.0.2.1:1004 -> :53"),
			pass.of("udp 192.0.2.1:1001 -> :53"), pass.of("udp 192.0.2.1:1002 -> :53"), stop.of("udp 192.0.2.1:1003 -> :53"), pass.of("udp 192.0.2.1:1002 -> :53"),
		}},
	{Name: "beyond two flows of a source", Family: ruleset.FamilyIPv4, Chains: []*ruleset.Chain{base(ruleset.HookInput, ruleset.Accept,
		rule(drop, udp, not(atMost(2, 32, 128))))},
		Sequence: []Expect{
			pass.of("udp 192.0.2.1:1001 -> :53"), pass.of("udp 192.0.2.1:1002 -> :53"), pass.of("udp 192.0.2.1:1002 -> :53"), stop.of("udp 192.0.2.1:1003 -> :53"),
			stop.of("udp 192.0.2.1:1003 -> :53"), pass.of("udp 192.0.2.2:1001 -> :53"),
		},
		IPTables: []string{":INPUT ACCEPT", "-A INPUT -p udp -m connlimit --connlimit-above 2 -j DROP"}},
	{Name: "flows of a network", Family: ruleset.FamilyIPv4, Accept: all(atMost(2, 20, 128)),
		Sequence: []Expect{
			pass.of("udp 192.0.2.1:1001 -> :53"), pass.of("udp 192.0.15.9:1001 -> :53"), stop.of("udp 192.0.3.3:1001 -> :53"), pass.of("udp 192.0.16.1:1001 -> :53"),
		},
		IPTables: []string{"-A INPUT -m connlimit --connlimit-upto 2 --connlimit-mask 20 -j ACCEPT"}},
	{Name: "flows of all", Family: ruleset.FamilyIPv4, Accept: all(atMost(3, 0, 0)),
		Sequence: []Expect{
			pass.of("udp 192.0.2.1:1001 -> :53"), pass.of("tcp 192.0.15.9:1001 -> :53"), pass.of("icmp 10.0.3.3"), stop.of("udp 10.0.16.1:1001 -> :53"),
		},
		IPTables: []string{"-A INPUT -m connlimit --connlimit-upto 3 --connlimit-mask 0 -j ACCEPT"}},
	{Name: "no flows", Family: ruleset.FamilyIPv4, Accept: all(not(atMost(0, 32, 128)), udp),
		Sequence: []Expect{pass.of("udp 192.0.2.1:1001 -> :53"), pass.of("udp 192.0.2.1:1002 -> :53"), stop.of("tcp 192.0.2.1:1002 -> :53")},
		IPTables: []string{"-A INPUT -m connlimit --connlimit-above 0 -p udp -j ACCEPT"}},
	{Name: "flows of each rule", Family: ruleset.FamilyIPv4, Chains: []*ruleset.Chain{base(ruleset.HookInput, ruleset.Drop,
		rule(accept, is(dport, 1), atMost(1, 32, 128)), rule(accept, udp, atMost(1, 32, 128)))},
		Sequence: []Expect{
			pass.of("udp 192.0.2.1:1001 -> :1"), pass.of("udp 192.0.2.1:1002 -> :1"), stop.of("udp 192.0.2.1:1003 -> :1"), stop.of("udp 192.0.2.1:1003 -> :2"),
			pass.of("udp 192.0.2.2:1003 -> :2"),
		},
		IPTables: []string{":INPUT DROP", "-A INPUT -p udp --dport 1 -m connlimit --connlimit-upto 1 -j ACCEPT", "-A INPUT -p udp -m connlimit --connlimit-upto 1 -j ACCEPT"}},
	{Name: "flows to a destination", Family: ruleset.FamilyIPv4, Accept: all(ruleset.Match{Field: ruleset.FieldFlows, Flows: &ruleset.Flows{Max: 1, Dest: true,
		Bits: ruleset.KeyBits{IPv4: 32, IPv6: 128}}}),
		Sequence: []Expect{
			pass.of("udp 192.0.2.1:1001 -> 10.1.0.1:53"), stop.of("udp 192.0.2.2:1001 -> 10.1.0.1:53"), pass.of("udp 192.0.2.2:1001 -> 10.1.0.2:53"),
		},
		IPTables: []string{"-A INPUT -m connlimit --connlimit-upto 1 --connlimit-daddr -j ACCEPT"}},
	{Name: "flows, IPv6", Family: ruleset.FamilyIPv6, Accept: all(atMost(1, 32, 60)),
		Sequence: []Expect{
			pass.of("udp [2001:db8::1]:1001 -> [fd00::1]:53"), stop.of("udp [2001:db8:0:f::1]:1001 -> [fd00::1]:53"), pass.of("udp [2001:db8:0:10::1]:1001 -> [fd00::1]:53"),
			pass.of("udp [2001:db8::1]:1001 -> [fd00::1]:53"),
		}},
}
