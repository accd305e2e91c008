package cases

import "github.com/bpfwall/bpfwall/ruleset"

// onList asks a list of the whole addresses.
func onList(r ruleset.Recent) ruleset.Match {
	if r.Bits == (ruleset.KeyBits{}) {
		r.Bits = ruleset.KeyBits{IPv4: 32, IPv6: 128}
	}
	return ruleset.Match{Field: ruleset.FieldRecent, Recent: &r}
}

const (
	checked = ruleset.RecentCheck
	set     = ruleset.RecentSet
	updated = ruleset.RecentUpdate
	removed = ruleset.RecentRemove
)

// recentCases ask lists of addresses. Their time stands still.
var recentCases = []Case{
	{Name: "recent: the fourth in a minute", Family: ruleset.FamilyIPv4, Chains: []*ruleset.Chain{base(ruleset.HookInput, ruleset.Accept,
		rule(goOn, tcp, onList(ruleset.Recent{List: "r1", Op: set})),
		rule(drop, tcp, onList(ruleset.Recent{List: "r1", Op: updated, Within: 60, Hits: 4})))},
		Sequence: []Expect{
			pass.of("tcp 192.0.2.1 -> :22"), pass.of("tcp 192.0.2.1 -> :22"), pass.of("udp 192.0.2.1 -> :22"), pass.of("tcp 192.0.2.2 -> :22"),
			pass.of("tcp 192.0.2.1 -> :23"), stop.of("tcp 192.0.2.1 -> :22"), stop.of("tcp 192.0.2.1 -> :22"), pass.of("tcp 192.0.2.2 -> :22"),
		},
		IPTables: []string{":INPUT ACCEPT", "-A INPUT -p tcp -m recent --name r1 --set", "-A INPUT -p tcp -m recent --name r1 --update --seconds 60 --hitcount 4 -j DROP"}},
	{Name: "recent: check before set", Family: ruleset.FamilyIPv4, Chains: []*ruleset.Chain{base(ruleset.HookInput, ruleset.Accept,
		rule(drop, onList(ruleset.Recent{List: "r2", Hits: 2})), rule(accept, onList(ruleset.Recent{List: "r2", Op: set})), rule(drop))},
		Sequence: []Expect{pass.of("udp 192.0.2.1"), pass.of("udp 192.0.2.1"), stop.of("udp 192.0.2.1"), pass.of("udp 192.0.2.2"), stop.of("tcp 192.0.2.1")},
		IPTables: []string{":INPUT ACCEPT", "-A INPUT -m recent --name r2 --rcheck --hitcount 2 -j DROP", "-A INPUT -m recent --name r2 --set -j ACCEPT", "-A INPUT -j DROP"}},
	{Name: "recent: update notes only what it holds for", Family: ruleset.FamilyIPv4, Chains: []*ruleset.Chain{base(ruleset.HookInput, ruleset.Drop,
		rule(accept, is(dport, 1), onList(ruleset.Recent{List: "r3", Op: set})),
		rule(accept, is(dport, 2), onList(ruleset.Recent{List: "r3", Op: updated, Hits: 2})),
		rule(accept, is(dport, 3), not(onList(ruleset.Recent{List: "r3", Op: updated, Hits: 2}))),
		rule(accept, is(dport, 4), onList(ruleset.Recent{List: "r3", Hits: 2})),
		rule(accept, is(dport, 5), onList(ruleset.Recent{List: "r3", Hits: 3})))},
		Sequence: []Expect{
			stop.of("udp 192.0.2.1 -> :2"), pass.of("udp 192.0.2.1 -> :3"), stop.of("udp 192.0.2.1 -> :4"), pass.of("udp 192.0.2.1 -> :1"),
			stop.of("udp 192.0.2.1 -> :2"), stop.of("udp 192.0.2.1 -> :4"), pass.of("udp 192.0.2.1 -> :3"), pass.of("udp 192.0.2.1 -> :4"),
			stop.of("udp 192.0.2.1 -> :3"), stop.of("udp 192.0.2.1 -> :5"), pass.of("udp 192.0.2.1 -> :2"), pass.of("udp 192.0.2.1 -> :5"),
		},
		IPTables: []string{":INPUT DROP", "-A INPUT -p udp --dport 1 -m recent --name r3 --set -j ACCEPT", "-A INPUT -p udp --dport 2 -m recent --name r3 --update --hitcount 2 -j ACCEPT",
			"-A INPUT -p udp --dport 3 -m recent --name r3 ! --update --hitcount 2 -j ACCEPT", "-A INPUT -p udp --dport 4 -m recent --name r3 --rcheck --hitcount 2 -j ACCEPT",
			"-A INPUT -p udp --dport 5 -m recent --name r3 --rcheck --hitcount 3 -j ACCEPT"}},
	{Name: "recent: remove, and not", Family: ruleset.FamilyIPv4, Chains: []*ruleset.Chain{base(ruleset.HookInput, ruleset.Drop,
		rule(accept, is(dport, 1), not(onList(ruleset.Recent{List: "r4", Op: set}))),
		rule(accept, is(dport, 2), onList(ruleset.Recent{List: "r4", Op: removed})),
		rule(accept, is(dport, 3), not(onList(ruleset.Recent{List: "r4", Op: removed}))),
		rule(accept, is(dport, 4), onList(ruleset.Recent{List: "r4"})))},
		Sequence: []Expect{
			stop.of("udp 192.0.2.1 -> :2"), pass.of("udp 192.0.2.1 -> :3"), stop.of("udp 192.0.2.1 -> :1"), pass.of("udp 192.0.2.1 -> :4"),
			pass.of("udp 192.0.2.1 -> :2"), stop.of("udp 192.0.2.1 -> :4"), stop.of("udp 192.0.2.1 -> :2"), stop.of("udp 192.0.2.1 -> :1"),
			stop.of("udp 192.0.2.1 -> :3"), stop.of("udp 192.0.2.1 -> :4"),
		},
		IPTables: []string{":INPUT DROP", "-A INPUT -p udp --dport 1 -m recent --name r4 ! --set -j ACCEPT", "-A INPUT -p udp --dport 2 -m recent --name r4 --remove -j ACCEPT",
			"-A INPUT -p udp --dport 3 -m recent --name r4 ! --remove -j ACCEPT", "-A INPUT -p udp --dport 4 -m recent --name r4 --rcheck -j ACCEPT"}},
	{Name: "recent: destinations and networks", Family: ruleset.FamilyIPv4, Chains: []*ruleset.Chain{base(ruleset.HookInput, ruleset.Drop,
		rule(accept, is(dport, 1), onList(ruleset.Recent{List: "r5", Op: set, Bits: ruleset.KeyBits{IPv4: 20, IPv6: 128}})),
		rule(accept, is(dport, 2), onList(ruleset.Recent{List: "r5", Bits: ruleset.KeyBits{IPv4: 20, IPv6: 128}})),
		rule(accept, is(dport, 3), onList(ruleset.Recent{List: "r5", Dest: true, Bits: ruleset.KeyBits{IPv4: 20, IPv6: 128}})))},
		Sequence: []Expect{
			pass.of("udp 192.0.2.1 -> 10.0.0.1:1"), pass.of("udp 192.0.15.9 -> 10.0.0.1:2"), stop.of("udp 192.0.16.1 -> 10.0.0.1:2"), stop.of("udp 192.0.2.1 -> 10.0.0.1:3"),
			pass.of("udp 10.0.1.5 -> 10.0.0.1:1"), pass.of("udp 192.0.2.1 -> 10.0.0.1:3"),
		},
		// the mask of the list is that of its first rule
		IPTables: []string{":INPUT DROP", "-A INPUT -p udp --dport 1 -m recent --name r5 --mask 255.255.240.0 --set -j ACCEPT", "-A INPUT -p udp --dport 2 -m recent --name r5 --rcheck -j ACCEPT",
			"-A INPUT -p udp --dport 3 -m recent --name r5 --rdest --rcheck -j ACCEPT"}},
	{Name: "recent: same ttl", Family: ruleset.FamilyIPv4, Chains: []*ruleset.Chain{base(ruleset.HookInput, ruleset.Drop,
		rule(accept, is(dport, 1), onList(ruleset.Recent{List: "r6", Op: set})),
		rule(accept, is(dport, 2), onList(ruleset.Recent{List: "r6", Op: updated, TTL: true})),
		rule(accept, is(dport, 3), onList(ruleset.Recent{List: "r6", Op: updated})))},
		Sequence: []Expect{
			pass.of("udp 192.0.2.1 -> :1 ttl 60"), stop.of("udp 192.0.2.1 -> :2 ttl 61"), pass.of("udp 192.0.2.1 -> :2 ttl 60"), pass.of("udp 192.0.2.1 -> :3 ttl 9"),
			stop.of("udp 192.0.2.1 -> :2 ttl 60"), pass.of("udp 192.0.2.1 -> :2 ttl 9"), pass.of("udp 192.0.2.1 -> :1 ttl 7"), pass.of("udp 192.0.2.1 -> :2 ttl 7"),
		},
		IPTables: []string{":INPUT DROP", "-A INPUT -p udp --dport 1 -m recent --name r6 --set -j ACCEPT", "-A INPUT -p udp --dport 2 -m recent --name r6 --update --rttl -j ACCEPT",
			"-A INPUT -p udp --dport 3 -m recent --name r6 --update -j ACCEPT"}},
	{Name: "recent: many hits", Family: ruleset.FamilyIPv4, Accept: all(onList(ruleset.Recent{List: "r7", Op: set}), onList(ruleset.Recent{List: "r7", Hits: 40})),
		Sequence: append(repeat(stop.of("udp 192.0.2.1"), 39), append(repeat(stop.of("udp 192.0.2.2"), 3), repeat(pass.of("udp 192.0.2.1"), 30)...)...),
		IPTables: []string{"-A INPUT -m recent --name r7 --set -m recent --name r7 --rcheck --hitcount 40 -j ACCEPT"}},
	{Name: "recent, IPv6", Family: ruleset.FamilyIPv6, Chains: []*ruleset.Chain{base(ruleset.HookInput, ruleset.Drop,
		rule(accept, is(dport, 1), onList(ruleset.Recent{List: "r8", Op: set, Bits: ruleset.KeyBits{IPv4: 32, IPv6: 60}})),
		rule(accept, is(dport, 2), onList(ruleset.Recent{List: "r8", Within: 60, Reap: true, Bits: ruleset.KeyBits{IPv4: 32, IPv6: 60}})),
		rule(accept, is(dport, 3), onList(ruleset.Recent{List: "other", Bits: ruleset.KeyBits{IPv4: 32, IPv6: 60}})))},
		Sequence: []Expect{
			stop.of("udp 2001:db8::1 -> [fd00::1]:2"), pass.of("udp 2001:db8::1 -> [fd00::1]:1"), pass.of("udp 2001:db8:0:f::1 -> [fd00::1]:2"),
			stop.of("udp 2001:db8:0:10::1 -> [fd00::1]:2"), stop.of("udp 2001:db8::1 -> [fd00::1]:3"),
		}},
}

// repeat is the same a number of times.
func repeat(e Expect, n int) []Expect {
	out := make([]Expect, n)
	for i := range out {
		out[i] = e
	}
	return out
}
