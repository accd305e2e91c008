package cases

import "github.com/bpfwall/bpfwall/ruleset"

// oneOf picks a packet of every so many, the one after some others.
func oneOf(every, skip uint32) ruleset.Match {
	return ruleset.Match{Field: ruleset.FieldSample, Sample: &ruleset.Sample{Every: every, Skip: skip}}
}

func share(of uint32) ruleset.Match {
	return ruleset.Match{Field: ruleset.FieldSample, Sample: &ruleset.Sample{Share: of}}
}

func quota(bytes uint64) ruleset.Match {
	return ruleset.Match{Field: ruleset.FieldQuota, Quota: &ruleset.Quota{Bytes: bytes}}
}

// sampleCases pick packets, or count their bytes.
var sampleCases = []Case{
	{Name: "one of three", Family: ruleset.FamilyIPv4, Accept: all(udp, oneOf(3, 1)),
		Sequence: []Expect{
			stop.of("udp 192.0.2.1"), pass.of("udp 192.0.2.1"), stop.of("tcp 192.0.2.1"), stop.of("udp 192.0.2.2"), stop.of("udp 192.0.2.1"),
			pass.of("udp 192.0.2.3"), stop.of("udp 192.0.2.1"), stop.of("udp 192.0.2.1"), pass.of("udp 192.0.2.1"),
		},
		IPTables: []string{"-A INPUT -p udp -m statistic --mode nth --every 3 --packet 1 -j ACCEPT"}},
	{Name: "not one of two", Family: ruleset.FamilyIPv4, Accept: all(not(oneOf(2, 0))),
		Sequence: []Expect{stop.of("udp 192.0.2.1"), pass.of("tcp 192.0.2.1"), stop.of("udp 192.0.2.2"), pass.of("udp 192.0.2.1")},
		IPTables: []string{"-A INPUT -m statistic --mode nth ! --every 2 --packet 0 -j ACCEPT"}},
	{Name: "samples of samples", Family: ruleset.FamilyIPv4, Chains: []*ruleset.Chain{base(ruleset.HookInput, ruleset.Drop,
		rule(accept, oneOf(3, 0)), rule(accept, udp, oneOf(2, 0)))},
		Sequence: []Expect{
			pass.of("udp 192.0.2.1"), pass.of("udp 192.0.2.1"), stop.of("udp 192.0.2.1"), pass.of("udp 192.0.2.1"), stop.of("tcp 192.0.2.1"),
			pass.of("udp 192.0.2.1"), pass.of("tcp 192.0.2.1"), stop.of("udp 192.0.2.1"),
		},
		IPTables: []string{":INPUT DROP", "-A INPUT -m statistic --mode nth --every 3 --packet 0 -j ACCEPT", "-A INPUT -p udp -m statistic --mode nth --every 2 --packet 0 -j ACCEPT"}},
	{Name: "a share of all and of none", Family: ruleset.FamilyIPv4, Chains: []*ruleset.Chain{base(ruleset.HookInput, ruleset.Drop,
		rule(drop, share(0)), rule(drop, not(share(ruleset.SampleAll))), rule(accept, udp, share(ruleset.SampleAll)), rule(accept, tcp, not(share(0))))},
		Sequence: []Expect{pass.of("udp 192.0.2.1"), pass.of("tcp 192.0.2.1"), stop.of("icmp 192.0.2.1")},
		IPTables: []string{":INPUT DROP", "-A INPUT -m statistic --mode random --probability 0 -j DROP", "-A INPUT -m statistic --mode random ! --probability 1 -j DROP",
			"-A INPUT -p udp -m statistic --mode random --probability 1 -j ACCEPT", "-A INPUT -p tcp -m statistic --mode random ! --probability 0 -j ACCEPT"}},
	{Name: "quota", Family: ruleset.FamilyIPv4, Accept: all(udp, quota(250)),
		Sequence: []Expect{
			pass.of("udp 192.0.2.1 len 100"), stop.of("tcp 192.0.2.1 len 60"), pass.of("udp 192.0.2.2 len 100"), stop.of("udp 192.0.2.1 len 60"),
			stop.of("udp 192.0.2.1 len 40"), // it would have fitted
		},
		IPTables: []string{"-A INPUT -p udp -m quota --quota 250 -j ACCEPT"}},
	{Name: "quota to the last byte", Family: ruleset.FamilyIPv4, Accept: all(quota(200)),
		Sequence: []Expect{pass.of("udp 192.0.2.1 len 100"), pass.of("udp 192.0.2.1 len 100"), stop.of("udp 192.0.2.1 len 28")},
		IPTables: []string{"-A INPUT -m quota --quota 200 -j ACCEPT"}},
	{Name: "beyond a quota", Family: ruleset.FamilyIPv4, Chains: []*ruleset.Chain{base(ruleset.HookInput, ruleset.Accept, rule(drop, not(quota(150))))},
		Sequence: []Expect{pass.of("udp 192.0.2.1 len 100"), stop.of("udp 192.0.2.1 len 100"), stop.of("udp 192.0.2.1 len 50")},
		IPTables: []string{":INPUT ACCEPT", "-A INPUT -m quota ! --quota 150 -j DROP"}},
}
