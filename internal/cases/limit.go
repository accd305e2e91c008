package cases

import "github.com/bpfwall/bpfwall/ruleset"

// eachSource is a rate for every source address.
func eachSource(l ruleset.Limit, v4, v6 uint8) ruleset.Match {
	l.Each = &ruleset.Key{Source: &ruleset.KeyBits{IPv4: v4, IPv6: v6}}
	return keyed(l)
}

func keyed(l ruleset.Limit) ruleset.Match {
	return ruleset.Match{Field: ruleset.FieldLimit, Limit: &l}
}

var twoAnHour = ruleset.Limit{Rate: 1, Per: hour, Burst: 2}

func sharedBy(m ruleset.Match, table string) ruleset.Match {
	l := *m.Limit
	l.Table = table
	m.Limit = &l
	return m
}

// limitCases are the limits of keys.
var limitCases = []Case{
	{Name: "limit per source", Family: ruleset.FamilyIPv4, Accept: all(tcp, eachSource(twoAnHour, 32, 128)),
		Sequence: []Expect{
			{Packet: "tcp 192.0.2.1 -> :1", Verdict: accept}, {Packet: "tcp 192.0.2.1 -> :7", Verdict: accept}, {Packet: "tcp 192.0.2.1 -> :1", Verdict: drop},
			{Packet: "tcp 192.0.2.2 -> :1", Verdict: accept}, {Packet: "udp 192.0.2.3 -> :1", Verdict: drop}, {Packet: "tcp 192.0.2.3 -> :1", Verdict: accept},
		},
		IPTables: []string{"-A INPUT -p tcp -m hashlimit --hashlimit-upto 1/hour --hashlimit-burst 2 --hashlimit-mode srcip --hashlimit-name c1 --hashlimit-htable-expire 7200000 -j ACCEPT"}},
	{Name: "limit per source, IPv6", Family: ruleset.FamilyIPv6, Accept: all(tcp, eachSource(twoAnHour, 32, 64)),
		Sequence: []Expect{
			{Packet: "tcp [2001:db8::1]:5 -> [::1]:1", Verdict: accept}, {Packet: "tcp [2001:db8::2]:5 -> [::1]:1", Verdict: accept},
			{Packet: "tcp [2001:db8::3]:5 -> [::1]:1", Verdict: drop}, {Packet: "tcp [2001:db8:0:1::1]:5 -> [::1]:1", Verdict: accept},
		}},
	{Name: "limit per network", Accept: all(eachSource(twoAnHour, 20, 64)),
		Sequence: []Expect{
			{Packet: "tcp 192.0.2.1 -> :1", Verdict: accept}, {Packet: "tcp 192.0.15.1 -> :1", Verdict: accept}, {Packet: "tcp 192.0.3.1 -> :1", Verdict: drop},
			{Packet: "tcp 192.0.16.1 -> :1", Verdict: accept},
		}},
	{Name: "limit exceeded", Family: ruleset.FamilyIPv4, Accept: all(not(eachSource(twoAnHour, 32, 128))),
		Sequence: []Expect{
			{Packet: "tcp 192.0.2.1 -> :1", Verdict: drop}, {Packet: "tcp 192.0.2.1 -> :1", Verdict: drop}, {Packet: "tcp 192.0.2.1 -> :1", Verdict: accept},
			{Packet: "tcp 192.0.2.2 -> :1", Verdict: drop},
		},
		IPTables: []string{"-A INPUT -m hashlimit --hashlimit-above 1/hour --hashlimit-burst 2 --hashlimit-mode srcip --hashlimit-name c2 --hashlimit-htable-expire 7200000 -j ACCEPT"}},
	{Name: "limit per destination and port", Accept: all(keyed(ruleset.Limit{Rate: 1, Per: hour, Burst: 1, Each: &ruleset.Key{
		Dest: &ruleset.KeyBits{IPv4: 32, IPv6: 128}, DestPort: true}})),
		Sequence: []Expect{
			{Packet: "tcp -> 192.0.2.1:1", Verdict: accept}, {Packet: "udp -> 192.0.2.1:1", Verdict: drop}, {Packet: "tcp -> 192.0.2.1:2", Verdict: accept},
			{Packet: "tcp -> 192.0.2.2:1", Verdict: accept}, {Packet: "icmp -> 192.0.2.1", Verdict: accept}, {Packet: "icmp -> 192.0.2.1", Verdict: drop},
		}},
	{Name: "limit per source port", Accept: all(keyed(ruleset.Limit{Rate: 1, Per: hour, Burst: 1, Each: &ruleset.Key{SourcePort: true}})),
		Sequence: []Expect{
			{Packet: "tcp 192.0.2.1:7 -> :1", Verdict: accept}, {Packet: "tcp [::2]:7 -> [::1]:1", Verdict: drop}, {Packet: "tcp 192.0.2.1:8 -> :1", Verdict: accept},
		}},
	{Name: "limit of a table", Family: ruleset.FamilyIPv4, Chains: []*ruleset.Chain{base(ruleset.HookInput, ruleset.Drop,
		rule(accept, tcp, sharedBy(eachSource(twoAnHour, 32, 128), "t")),
		rule(accept, udp, sharedBy(eachSource(twoAnHour, 32, 128), "t")),
		rule(accept, udp, sharedBy(eachSource(twoAnHour, 32, 128), "u")))},
		Sequence: []Expect{
			{Packet: "tcp 192.0.2.1 -> :1", Verdict: accept}, {Packet: "udp 192.0.2.1 -> :1", Verdict: accept}, {Packet: "tcp 192.0.2.1 -> :1", Verdict: drop},
			{Packet: "udp 192.0.2.1 -> :1", Verdict: accept}, {Packet: "udp 192.0.2.1 -> :1", Verdict: accept}, {Packet: "udp 192.0.2.1 -> :1", Verdict: drop},
		},
		// the rate of the second rule is that of the first, which has the name
		IPTables: []string{":INPUT DROP",
			"-A INPUT -p tcp -m hashlimit --hashlimit-upto 1/hour --hashlimit-burst 2 --hashlimit-mode srcip --hashlimit-name c3 --hashlimit-htable-expire 7200000 -j ACCEPT",
			"-A INPUT -p udp -m hashlimit --hashlimit-upto 9/sec --hashlimit-burst 9 --hashlimit-mode srcip,dstip --hashlimit-name c3 -j ACCEPT",
			"-A INPUT -p udp -m hashlimit --hashlimit-upto 1/hour --hashlimit-burst 2 --hashlimit-mode srcip --hashlimit-name c4 --hashlimit-htable-expire 7200000 -j ACCEPT"}},
	{Name: "limit of bytes", Accept: all(keyed(ruleset.Limit{Rate: 1, Per: hour, Burst: 250, Bytes: true})),
		Sequence: []Expect{
			{Packet: "udp len 100", Verdict: accept}, {Packet: "udp len 100", Verdict: accept}, {Packet: "udp len 100", Verdict: drop}, {Packet: "udp len 40", Verdict: accept},
		}},
}
