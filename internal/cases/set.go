package cases

import "github.com/bpfwall/bpfwall/ruleset"

// dynamic is a set that elements are added to at run time.
func dynamic(live ruleset.Live, name string, list ...string) *ruleset.Set {
	s := members(name, list...)
	live.Dynamic = true
	s.Live = &live
	return s
}

// change is a statement that changes a set.
func change(c ruleset.SetChange) []ruleset.Statement { return []ruleset.Statement{{Change: &c}} }

// inSet matches addresses in a set.
func inSet(f ruleset.FieldID, name string) ruleset.Match { return ruleset.Match{Field: f, Set: name} }

var pass, stop = Expect{Verdict: accept}, Expect{Verdict: drop}

func (e Expect) of(packet string) Expect {
	e.Packet = packet
	return e
}

// setCases are about sets whose elements change at run time. A sequence begins with the sets' members only.
var setCases = []Case{
	{Name: "add to a set", Sets: []*ruleset.Set{dynamic(ruleset.Live{Timeout: 3600}, "banned", "10.9.0.0/16", "2001:db8::/32")},
		Chains: []*ruleset.Chain{base(ruleset.HookInput, ruleset.Accept,
			rule(drop, inSet(src, "banned")),
			do(drop, change(ruleset.SetChange{Set: "banned", Field: src}), is(dport, 23)))},
		Sequence: []Expect{
			pass.of("tcp 10.0.0.1 -> :80"), stop.of("tcp 10.0.0.1 -> :23"), stop.of("tcp 10.0.0.1 -> :80"), pass.of("tcp 10.0.0.2 -> :80"),
			stop.of("tcp 10.9.7.7 -> :80"), stop.of("tcp 2001:db8::5 -> :80"), pass.of("tcp fd00::1 -> [fd00::2]:80"),
			stop.of("tcp fd00::1 -> [fd00::2]:23"), stop.of("tcp fd00::1 -> [fd00::2]:80"), pass.of("tcp fd00::2 -> [fd00::1]:80"),
			pass.of("tcp a00:1:: -> [fd00::1]:80"), // the words of 10.0.0.1
		}},
	{Name: "add the destination for good, not in the set", Sets: []*ruleset.Set{dynamic(ruleset.Live{Timeout: 1, Counters: true}, "seen")},
		Chains: []*ruleset.Chain{base(ruleset.HookOutput, ruleset.Drop,
			rule(drop, not(inSet(dst, "seen")), is(dport, 2)),
			do(accept, change(ruleset.SetChange{Set: "seen", Field: dst, Timeout: -1, Renew: true}), tcp))},
		Sequence: []Expect{
			stop.of("tcp -> 10.0.0.1:2 out eth0"), pass.of("tcp -> 10.0.0.1:1 out eth0"), pass.of("tcp -> 10.0.0.1:2 out eth0"),
			pass.of("tcp -> 10.0.0.1:2 out eth0"), stop.of("tcp -> 10.0.0.3:2 out eth0"),
		}},
	{Name: "delete from a set", Sets: []*ruleset.Set{dynamic(ruleset.Live{}, "door")},
		Chains: []*ruleset.Chain{base(ruleset.HookInput, ruleset.Drop,
			do(goOn, change(ruleset.SetChange{Set: "door", Field: src, Timeout: 60}), is(dport, 1)),
			do(goOn, change(ruleset.SetChange{Set: "door", Field: src, Delete: true}), is(dport, 2)),
			rule(accept, inSet(src, "door"), is(dport, 22)))},
		Sequence: []Expect{
			stop.of("tcp 10.0.0.1 -> :22"), stop.of("tcp 10.0.0.1 -> :1"), pass.of("tcp 10.0.0.1 -> :22"), stop.of("udp 10.0.0.1 -> :2"),
			stop.of("tcp 10.0.0.1 -> :22"), stop.of("tcp 10.0.0.1 -> :2"),
		}},
	{Name: "several sets and addresses", Sets: []*ruleset.Set{dynamic(ruleset.Live{}, "one", "10.1.0.0/16"), dynamic(ruleset.Live{}, "two", "10.2.0.1")},
		Chains: []*ruleset.Chain{base(ruleset.HookInput, ruleset.Drop,
			do(goOn, change(ruleset.SetChange{Set: "two", Field: src}), is(dport, 1)),
			rule(accept, ruleset.Match{Field: src, Addrs: ranges("10.3.0.0/16", "fd00::1"), Live: []string{"one", "two"}}))},
		Sequence: []Expect{
			pass.of("tcp 10.1.2.3"), pass.of("tcp 10.2.0.1"), pass.of("tcp 10.3.3.3"), pass.of("tcp fd00::1"), stop.of("tcp 10.4.0.1 -> :2"),
			stop.of("tcp fd00::2"), pass.of("tcp 10.4.0.1 -> :1"), pass.of("tcp 10.4.0.1 -> :2"),
		}},
	{Name: "a set that is full", Sets: []*ruleset.Set{dynamic(ruleset.Live{Max: 2}, "few")},
		Chains: []*ruleset.Chain{base(ruleset.HookInput, ruleset.Drop,
			rule(accept, inSet(src, "few")), do(goOn, change(ruleset.SetChange{Set: "few", Field: src})))},
		Sequence: []Expect{
			stop.of("tcp 10.0.0.1"), stop.of("tcp 10.0.0.2"), stop.of("tcp 10.0.0.3"), pass.of("tcp 10.0.0.1"), pass.of("tcp 10.0.0.2"),
			stop.of("tcp 10.0.0.3"),
		}},
}
