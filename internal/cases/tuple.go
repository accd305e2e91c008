package cases

import "github.com/bpfwall/bpfwall/ruleset"

// tuples is a set of several parts.
func tuples(name string, parts []ruleset.Part, live *ruleset.Live, list ...string) *ruleset.Set {
	s := &ruleset.Set{Name: name, Parts: parts, Live: live}
	for _, text := range list {
		t, problem := ruleset.ParseTuple(parts, text)
		if problem != "" {
			panic(text + ": " + problem)
		}
		s.Tuples = append(s.Tuples, t)
	}
	return s
}

// inTuples matches several fields together.
func inTuples(name string, fields ...ruleset.FieldID) ruleset.Match {
	return ruleset.Match{Field: ruleset.FieldElement, Set: name, Parts: fields}
}

func marked(v uint64) ruleset.Match {
	return ruleset.Match{Field: ruleset.FieldMark, Masked: []ruleset.Masked{{Value: v, Mask: 0xffffffff}}}
}

var addressPort = []ruleset.Part{ruleset.PartAddress, ruleset.PartPort}

// tupleCases are about sets whose elements have several parts.
var tupleCases = []Case{
	{Name: "address and port", Sets: []*ruleset.Set{tuples("pairs", addressPort, nil,
		"10.0.0.1,tcp/80", "10.1.0.0/16,udp/53", "2001:db8::/32,tcp/443", "10.0.0.3,icmp/8/0", "10.0.0.4,gre", "2001:db8::7,icmpv6/128/0")},
		Accept: []ruleset.Match{inTuples("pairs", src, dport)},
		Allowed: []string{"tcp 10.0.0.1 -> :80", "udp 10.1.9.9 -> :53", "tcp 2001:db8::5 -> [fd00::1]:443", "icmp 10.0.0.3 echo-request", "gre 10.0.0.4",
			"icmpv6 2001:db8::7 echo-request"},
		Dropped: []string{"udp 10.0.0.1 -> :80", "tcp 10.0.0.2 -> :80", "tcp 10.0.0.1:80 -> :81", "tcp 10.1.9.9 -> :53", "tcp 2001:db9::5 -> [fd00::1]:443",
			"icmp 10.0.0.3 echo-reply", "gre 10.0.0.1", "tcp 10.0.0.1 frag", "icmpv6 2001:db8::8 echo-request"}},
	{Name: "not address and port", Sets: []*ruleset.Set{tuples("pairs", addressPort, nil, "10.0.0.1,tcp/80")},
		Accept:  []ruleset.Match{not(inTuples("pairs", dst, sport))},
		Allowed: []string{"tcp 10.0.0.2:81 -> 10.0.0.1:1", "udp :80 -> 10.0.0.1:1", "tcp 2001:db8::1 -> [fd00::1]:80", "tcp 10.0.0.1 frag"},
		Dropped: []string{"tcp :80 -> 10.0.0.1:7"}},
	{Name: "two addresses and a port", Sets: []*ruleset.Set{tuples("triples", []ruleset.Part{ruleset.PartAddress, ruleset.PartPort, ruleset.PartAddress}, nil,
		"10.0.0.1,tcp/80,192.168.0.0/16", "2001:db8::1,tcp/80,2001:db8:1::/48", "10.0.0.2,udp/1,192.168.1.1")},
		Accept:  []ruleset.Match{inTuples("triples", src, dport, dst)},
		Allowed: []string{"tcp 10.0.0.1 -> 192.168.5.5:80", "tcp 2001:db8::1 -> [2001:db8:1::9]:80", "udp 10.0.0.2 -> 192.168.1.1:1"},
		Dropped: []string{"tcp 10.0.0.1 -> 192.169.5.5:80", "tcp 10.0.0.2 -> 192.168.5.5:80", "udp 10.0.0.2 -> 192.168.1.2:1", "tcp 2001:db8::2 -> [2001:db8:1::9]:80"}},
	{Name: "protocol, MAC, mark and address", Sets: []*ruleset.Set{tuples("odd", []ruleset.Part{ruleset.PartProtocol, ruleset.PartMAC, ruleset.PartMark, ruleset.PartAddress}, nil,
		"tcp,02:00:00:00:00:01,0x10203,10.0.0.0/8")},
		Accept:  []ruleset.Match{inTuples("odd", proto, ruleset.FieldSrcMAC, ruleset.FieldMark, src)},
		Allowed: []string{"tcp 10.0.0.1 in eth0 mac 02:00:00:00:00:01 mark 0x10203"},
		Dropped: []string{"udp 10.0.0.1 in eth0 mac 02:00:00:00:00:01 mark 0x10203", "tcp 10.0.0.1 in eth0 mac 02:00:00:00:00:02 mark 0x10203",
			"tcp 10.0.0.1 in eth0 mac 02:00:00:00:00:01 mark 0x10204", "tcp 11.0.0.1 in eth0 mac 02:00:00:00:00:01 mark 0x10203"}},
	{Name: "interface and address", Sets: []*ruleset.Set{tuples("on", []ruleset.Part{ruleset.PartAddress, ruleset.PartInterface}, nil, "10.0.0.0/8,eth0", "2001:db8::/32,wg-a-long-name1")},
		Accept:  []ruleset.Match{inTuples("on", src, ruleset.FieldInIface)},
		Allowed: []string{"tcp 10.0.0.1 in eth0", "tcp 2001:db8::1 in wg-a-long-name1"},
		Dropped: []string{"tcp 10.0.0.1 in eth1", "tcp 11.0.0.1 in eth0", "tcp 2001:db8::1 in wg-a-long-name"}},
	{Name: "ports alone", Sets: []*ruleset.Set{tuples("ports", []ruleset.Part{ruleset.PartPort}, &ruleset.Live{Dynamic: true}, "tcp/22", "udp/53")},
		Chains: []*ruleset.Chain{base(ruleset.HookInput, ruleset.Drop,
			rule(accept, inTuples("ports", dport)), do(goOn, change(ruleset.SetChange{Set: "ports", Field: ruleset.FieldElement, Parts: []ruleset.FieldID{sport}})))},
		Sequence: []Expect{pass.of("tcp -> :22"), stop.of("udp -> :22"), stop.of("tcp :7000 -> :1"), pass.of("tcp fd00::1 -> [fd00::2]:7000"), stop.of("udp -> :7000"),
			stop.of("tcp 10.0.0.1 frag")}},
	{Name: "ban of an address at a port", Sets: []*ruleset.Set{tuples("banned", addressPort, &ruleset.Live{Dynamic: true, Timeout: 3600, Counters: true}, "10.9.0.0/16,tcp/80")},
		Chains: []*ruleset.Chain{base(ruleset.HookInput, ruleset.Accept,
			rule(drop, inTuples("banned", src, dport)),
			do(drop, change(ruleset.SetChange{Set: "banned", Field: ruleset.FieldElement, Parts: []ruleset.FieldID{src, dport}}), marked(1)),
			do(goOn, change(ruleset.SetChange{Set: "banned", Field: ruleset.FieldElement, Parts: []ruleset.FieldID{src, dport}, Delete: true}), marked(2)))},
		Sequence: []Expect{
			pass.of("tcp 10.0.0.1 -> :80"), stop.of("tcp 10.0.0.1 -> :80 mark 1"), stop.of("tcp 10.0.0.1 -> :80"), pass.of("tcp 10.0.0.1 -> :81"),
			pass.of("udp 10.0.0.1 -> :80"), pass.of("tcp 10.0.0.2 -> :80"), stop.of("tcp 10.9.7.7 -> :80"), stop.of("tcp fd00::1 -> [fd00::2]:23 mark 1"),
			stop.of("tcp fd00::1 -> [fd00::2]:23"), pass.of("tcp fd00::2 -> [fd00::2]:23"), stop.of("tcp 10.0.0.1 -> :80 mark 2"), stop.of("tcp 10.0.0.1 -> :80"),
		}},
}
