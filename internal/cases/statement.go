package cases

import "github.com/bpfwall/bpfwall/ruleset"

// setMark is xt_MARK's one statement.
func setMark(value, mask uint32) []ruleset.Statement {
	return []ruleset.Statement{{SetMark: &ruleset.SetMark{Value: value, Mask: mask}}}
}

// statementCases are about what rules do besides deciding, and about answers.
var statementCases = []Case{
	{Name: "reject", Chains: []*ruleset.Chain{base(ruleset.HookInput, ruleset.Accept,
		rule(reject(ruleset.RejectTCPReset), tcp, is(dport, 1)), rule(reject(ruleset.RejectDefault), is(dport, 2)),
		rule(reject(ruleset.RejectAdminProhib), is(dport, 3)))},
		Allowed: []string{"tcp -> :4", "icmp"},
		Others: []Expect{
			{Packet: "tcp -> :1", Verdict: reject(ruleset.RejectTCPReset)}, {Packet: "udp -> :2", Verdict: reject(ruleset.RejectDefault)},
			{Packet: "tcp -> [::1]:2", Verdict: reject(ruleset.RejectDefault)}, {Packet: "udp -> :3", Verdict: reject(ruleset.RejectAdminProhib)},
		}},
	{Name: "reject from a user chain, forward and output", Chains: []*ruleset.Chain{
		base(ruleset.HookForward, ruleset.Accept, rule(jump("no"))), base(ruleset.HookOutput, ruleset.Accept, rule(jump("no"))),
		chain("no", rule(reject(ruleset.RejectHost), udp))},
		Allowed: []string{"tcp in eth0 out eth1"},
		Others: []Expect{
			{Packet: "udp in eth0 out eth1", Verdict: reject(ruleset.RejectHost)}, {Packet: "udp out eth1", Verdict: reject(ruleset.RejectHost)},
		}},
	{Name: "set mark", Chains: []*ruleset.Chain{base(ruleset.HookInput, ruleset.Drop,
		do(goOn, setMark(0x5f, 0x0f), tcp), // bits of the value outside of the mask are flipped
		do(goOn, setMark(1, 0xffffffff), udp),
		do(goOn, setMark(0, 0xffff0000), icmp), // --and-mark 0xffff
		rule(accept))},
		Others: []Expect{
			{Packet: "tcp mark 0x103", Verdict: accept, Mark: 0x15f}, {Packet: "tcp mark 0x50", Verdict: accept, Mark: 0x0f},
			{Packet: "udp mark 0xffffffff", Verdict: accept, Mark: 1}, {Packet: "icmp mark 0x12345678", Verdict: accept, Mark: 0x5678},
			{Packet: "gre mark 7", Verdict: accept, Mark: 7},
		}},
	{Name: "later rules see the mark", Chains: []*ruleset.Chain{base(ruleset.HookInput, ruleset.Accept,
		rule(jump("paint"), is(dport, 22)), rule(drop, masked(mark, 0x100, 0x100))),
		chain("paint", do(goOn, setMark(0x100, 0x100)))},
		Allowed: []string{"tcp -> :80"},
		Dropped: []string{"tcp -> :22", "tcp -> :80 mark 0x100"}},
	{Name: "the next base chain sees the mark", Chains: []*ruleset.Chain{
		{Name: "paint", Hook: ruleset.HookInput, Policy: ruleset.Accept, Rules: []*ruleset.Rule{do(accept, setMark(2, 2), tcp)}},
		{Name: "judge", Hook: ruleset.HookInput, Policy: ruleset.Accept, Rules: []*ruleset.Rule{rule(drop, masked(mark, 2, 2))}}},
		Allowed: []string{"udp"},
		Dropped: []string{"tcp"}},
	{Name: "statements run in order before the verdict", Chains: []*ruleset.Chain{base(ruleset.HookOutput, ruleset.Drop,
		do(accept, append(setMark(1, 0xff), setMark(6, 0)...), tcp))},
		Others: []Expect{{Packet: "tcp out eth0 mark 0x1f2", Verdict: accept, Mark: 0x107}}},
	{Name: "log changes nothing", Chains: []*ruleset.Chain{base(ruleset.HookInput, ruleset.Drop,
		do(goOn, []ruleset.Statement{{Log: &ruleset.Log{Prefix: "new: ", Level: 4}}}, bits(state, ruleset.StateNew)),
		do(accept, []ruleset.Statement{{Log: &ruleset.Log{Group: 3}}}, tcp))},
		Allowed: []string{"tcp"},
		Dropped: []string{"udp"},
		IPTables: []string{":INPUT DROP", `-A INPUT -m conntrack --ctstate NEW -j LOG --log-prefix "new: "`,
			"-A INPUT -p tcp -j NFLOG --nflog-group 2", "-A INPUT -p tcp -j ACCEPT"}},
	{Name: "notrack", Chains: []*ruleset.Chain{
		base(ruleset.HookPrerouting, ruleset.Accept, do(goOn, []ruleset.Statement{{NoTrack: &ruleset.NoTrack{}}}, udp, is(dport, 53)), rule(drop, is(dport, 23))),
		base(ruleset.HookRawOutput, ruleset.Drop, do(accept, []ruleset.Statement{{NoTrack: &ruleset.NoTrack{}}}, udp, is(sport, 53))),
		base(ruleset.HookInput, ruleset.Accept)},
		Allowed: []string{"tcp -> :80 in eth0 hook prerouting", "tcp -> :23 in eth0"},
		Dropped: []string{"tcp -> :23 in eth0 hook prerouting", "udp out eth0 hook raw-output"},
		Others: []Expect{
			{Packet: "udp -> :53 in eth0 hook prerouting", Verdict: accept, NoTrack: true},
			{Packet: "udp 10.0.0.1:53 -> :9 out eth0 hook raw-output", Verdict: accept, NoTrack: true},
		}},
	{Name: "synproxy", Chains: []*ruleset.Chain{
		base(ruleset.HookPrerouting, ruleset.Accept, do(goOn, []ruleset.Statement{{SynProxy: &ruleset.SynProxy{}}}, tcp, within(dport, 20, 80)), rule(drop, is(dport, 23)))},
		Allowed: []string{"tcp -> :81 in eth0 hook prerouting", "udp -> :80 in eth0 hook prerouting"},
		Others: []Expect{
			{Packet: "tcp -> :80 in eth0 hook prerouting", Verdict: accept, SynProxy: true},
			{Packet: "tcp -> :23 in eth0 hook prerouting", Verdict: drop, SynProxy: true},
		}},
}
