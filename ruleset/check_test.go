package ruleset_test

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bpfwall/bpfwall/ruleset"
)

// at puts a rule on a line, so that errors can be told apart.
func at(line int, r *ruleset.Rule) *ruleset.Rule {
	r.Pos = ruleset.Pos{File: "f", Line: line}
	return r
}

func does(r *ruleset.Rule, s ...ruleset.Statement) *ruleset.Rule {
	r.Statements = s
	return r
}

func reject(with ruleset.RejectWith) ruleset.Verdict {
	return ruleset.Verdict{Kind: ruleset.Reject, With: with}
}

func one(field ruleset.FieldID, v uint64) ruleset.Match {
	return ruleset.Match{Field: field, Ranges: []ruleset.Range{{From: v, To: v}}}
}

func bits(field ruleset.FieldID, value, mask uint64) ruleset.Match {
	return ruleset.Match{Field: field, Masked: []ruleset.Masked{{Value: value, Mask: mask}}}
}

func iface(field ruleset.FieldID, names ...string) ruleset.Match {
	return ruleset.Match{Field: field, Names: names}
}

func from(a, b, mask string) ruleset.Match {
	var r ruleset.AddrRange
	for _, p := range []struct {
		text string
		to   *netip.Addr
	}{{a, &r.From}, {b, &r.To}, {mask, &r.Mask}} {
		if p.text != "" {
			*p.to = netip.MustParseAddr(p.text)
		}
	}
	return ruleset.Match{Field: ruleset.FieldSrcAddr, Addrs: []ruleset.AddrRange{r}}
}

func limit(rate, per, burst uint64) ruleset.Match {
	return ruleset.Match{Field: ruleset.FieldLimit, Limit: &ruleset.Limit{Rate: rate, Per: per, Burst: burst}}
}

// input is a ruleset of one input chain with one rule for all matches, on line 1.
func input(v ruleset.Verdict, matches ...ruleset.Match) *ruleset.Ruleset {
	return set(base(ruleset.HookInput, ruleset.Drop, at(1, rule(v, matches...))))
}

func input4(matches ...ruleset.Match) *ruleset.Ruleset {
	rs := input(accept, matches...)
	rs.Chains[0].Family = ruleset.FamilyIPv4
	return rs
}

func TestCheck(t *testing.T) {
	const (
		in, out, fwd, pre, raw = ruleset.HookInput, ruleset.HookOutput, ruleset.HookForward, ruleset.HookPrerouting, ruleset.HookRawOutput
		jump, goTo             = ruleset.Jump, ruleset.Goto
	)
	noTrack := ruleset.Statement{NoTrack: &ruleset.NoTrack{}}
	proxy := ruleset.Statement{SynProxy: &ruleset.SynProxy{}}
	for _, test := range []struct {
		name string
		rs   *ruleset.Ruleset
		want string // errors, one a line
	}{
		{"nothing", set(), ""},
		{"good", set(base(in, ruleset.Drop, rule(to(jump, "a"), port(22))), chain("a", rule(back))), ""},

		{"holes", &ruleset.Ruleset{Chains: []*ruleset.Chain{nil, {Name: "a", Rules: []*ruleset.Rule{{}, nil}}}, Sets: []*ruleset.Set{nil}},
			"chain 1: missing\nchain \"a\": rule 2 is missing\nset 1: missing"},

		{"no such chain", set(base(in, ruleset.Drop, at(1, rule(to(jump, "b"))))), `f:1: jump: there is no chain "b" for any packets`},
		{"goto names no chain", input(to(goTo, "")), `f:1: goto: names no chain`},
		{"chain of the other family", set(&ruleset.Chain{Name: "INPUT", Hook: in, Policy: ruleset.Drop, Family: 4, Rules: []*ruleset.Rule{at(1, rule(to(jump, "a")))}}, chain("a")),
			`f:1: jump: there is no chain "a" for ipv4 packets`},
		{"jump to a base chain", set(base(in, ruleset.Drop, at(1, rule(to(jump, "OUTPUT")))), base(out, ruleset.Drop)),
			`f:1: jump: "OUTPUT" is a base chain, it runs on hook output by itself`},
		{"cycle", set(base(in, ruleset.Drop, rule(to(jump, "a"))), chain("a", at(2, rule(to(goTo, "b")))), chain("b", rule(accept, port(1)), at(4, rule(to(jump, "a"))))),
			`f:4: jump: goes round in circles: a -> b -> a`},
		{"cycle of one", set(base(in, ruleset.Drop, rule(to(jump, "a"))), chain("a", at(2, rule(to(jump, "a"))))), `f:2: jump: goes round in circles: a -> a`},
		{"two cycles", set(base(in, ruleset.Drop, rule(to(jump, "a")), rule(to(jump, "b"))), chain("a", at(2, rule(to(jump, "a")))), chain("b", at(3, rule(to(jump, "b"))))),
			"f:2: jump: goes round in circles: a -> a\nf:3: jump: goes round in circles: b -> b"},
		{"cycle that nothing reaches", set(base(in, ruleset.Drop), chain("a", rule(to(jump, "b"))), chain("b", rule(to(jump, "a")))), ""},
		{"a diamond is no cycle", set(base(in, ruleset.Drop, rule(to(jump, "a")), rule(to(jump, "b"))), chain("a", rule(to(jump, "c"))), chain("b", rule(to(jump, "c"))), chain("c")), ""},

		{"chain twice", set(chain("a"), chain("a")), `chain "a": defined twice`},
		{"chain in two families", set(chain("a"), &ruleset.Chain{Name: "a", Family: 4}, &ruleset.Chain{Name: "a", Family: 6}), ""},
		{"chain without a name", set(chain("")), `chain: has no name`},
		{"chain with an escape sequence", set(chain("a\x1b[2J")), `chain "a\x1b[2J": control characters in the name`},
		{"rule name that is not text", set(chain("a", &ruleset.Rule{Name: "x\xff"})), `rule "x\xff": the name is not UTF-8`},
		{"set twice", &ruleset.Ruleset{Sets: []*ruleset.Set{{Name: "s"}, {Name: "s"}}}, `set "s": defined twice`},
		{"set of nothing known", &ruleset.Ruleset{Sets: []*ruleset.Set{{Name: "s", Members: []ruleset.AddrRange{{}}}}}, `set "s": an address is missing`},
		{"rule name twice", set(chain("a", &ruleset.Rule{Name: "x"}, at(2, &ruleset.Rule{Name: "x"}))), `f:2: rule "x": the chain "a" has two rules of this name`},
		{"rule name in two chains", set(chain("a", &ruleset.Rule{Name: "x"}), chain("b", &ruleset.Rule{Name: "x"})), ""},
		{"policy of a user chain", set(&ruleset.Chain{Name: "a", Policy: ruleset.Drop}), `chain "a": a chain without a hook has no policy`},
		{"no policy", set(base(in, ruleset.Continue)), `chain "INPUT": its policy must be accept or drop`},
		{"policy reject", set(base(in, ruleset.Reject)), `chain "INPUT": its policy must be accept or drop`},
		{"family 5", set(&ruleset.Chain{Name: "a", Family: 5}), `chain "a/family-5": no address family has the number 5`},
		{"hook 9", set(&ruleset.Chain{Name: "a", Hook: 9, Policy: ruleset.Drop}), `chain "a": no hook has the number 9`},

		{"out interface on input", input(accept, iface(ruleset.FieldOutIface, "eth0")), `f:1: out: not known on hook input`},
		{"out interface on prerouting", set(base(pre, ruleset.Drop, at(1, rule(accept, iface(ruleset.FieldOutIface, "eth0"))))), `f:1: out: not known on hook prerouting`},
		{"state before conntrack", set(base(pre, ruleset.Drop, at(1, rule(accept, bits(ruleset.FieldState, 1, 1))))), `f:1: state: not known on hook prerouting`},
		{"mac on output, through a chain", set(base(in, ruleset.Drop, rule(to(jump, "a"))), base(out, ruleset.Drop, rule(to(jump, "a"))), chain("a", at(2, rule(accept, one(ruleset.FieldSrcMAC, 1))))),
			`f:2: source mac: not known on hook output`},
		{"interface in a shared chain", set(base(in, ruleset.Drop, rule(to(jump, "a"))), base(out, ruleset.Drop, rule(to(jump, "a"))), chain("a", rule(accept, iface(ruleset.FieldInIface, "eth0")))), ""},
		{"interface in a chain that never has it", set(base(out, ruleset.Drop, rule(to(jump, "a"))), chain("a", at(2, rule(accept, iface(ruleset.FieldInIface, "eth0"))))),
			`f:2: in: not known on hook output`},
		{"notrack on input", set(base(in, ruleset.Drop, at(1, does(rule(goOn), noTrack)))), `f:1: notrack: comes too late on hook input`},
		{"notrack in raw chains", set(base(pre, ruleset.Drop, rule(to(jump, "a"))), base(raw, ruleset.Drop, rule(to(jump, "a"))), chain("a", does(rule(goOn), noTrack))), ""},
		{"notrack reached from output", set(base(raw, ruleset.Drop, rule(to(jump, "a"))), base(out, ruleset.Drop, rule(to(jump, "a"))), chain("a", at(1, does(rule(goOn), noTrack)))),
			`f:1: notrack: comes too late on hook output`},
		{"synproxy of what is sent", set(base(raw, ruleset.Drop, at(1, does(rule(goOn), proxy)))), `f:1: synproxy: not on hook raw-output`},
		{"synproxy and a verdict", set(base(pre, ruleset.Drop, at(1, does(rule(accept), proxy)))), `f:1: synproxy: cannot accept as well, it goes on with the next rule`},
		{"synproxy in a chain", set(base(pre, ruleset.Drop, rule(to(jump, "a"))), chain("a", does(rule(goOn), proxy))), ""},
		{"reject in prerouting", set(base(pre, ruleset.Drop, at(1, rule(reject(0))))), `f:1: reject: cannot answer from hook prerouting`},
		{"reject reached from raw output", set(base(raw, ruleset.Drop, rule(to(jump, "a"))), chain("a", at(1, rule(reject(0))))), `f:1: reject: cannot answer from hook raw-output`},
		{"reject", set(base(in, ruleset.Drop, rule(reject(1))), base(out, ruleset.Drop, rule(reject(2))), base(fwd, ruleset.Drop, rule(reject(3)))), ""},
		{"reject with what", input(reject(77)), `f:1: reject: there is no answer with the number 77`},
		{"verdict 9", input(to(9, "")), `f:1: verdict: there is no number 9`},
		{"empty statement", set(base(in, ruleset.Drop, at(1, does(rule(goOn), ruleset.Statement{})))), `f:1: statement: 0 things in one, it needs exactly 1`},
		{"log level", set(base(in, ruleset.Drop, at(1, does(rule(goOn), ruleset.Statement{Log: &ruleset.Log{Level: 8}})))), `f:1: log: level 8 is above 7`},
		{"log group", set(base(in, ruleset.Drop, at(1, does(rule(goOn), ruleset.Statement{Log: &ruleset.Log{Group: 65537}})))), `f:1: log: group 65536 is not in 0-65535`},

		{"field 99", input(accept, one(99, 1)), `f:1: match: no field has the number 99`},
		{"no operands", input(accept, ruleset.Match{Field: ruleset.FieldDstPort}), `f:1: destination port: has no operands`},
		{"no interfaces", input(accept, ruleset.Match{Field: ruleset.FieldInIface}), `f:1: in: has no operands`},
		{"no limit", input(accept, ruleset.Match{Field: ruleset.FieldLimit}), `f:1: limit: has no operands`},
		{"names for numbers", input(accept, iface(ruleset.FieldDstPort, "ssh")), `f:1: destination port: takes numbers, not interface names`},
		{"ranges for bits", input(accept, one(ruleset.FieldState, 1)), `f:1: state: takes bits, not ranges`},
		{"two sorts", input(accept, ruleset.Match{Field: ruleset.FieldSrcAddr, Set: "x", Addrs: []ruleset.AddrRange{{}}}), "f:1: source: takes addresses, not addresses and a set\nf:1: source: there is no set \"x\""},
		{"numbers for a limit", input(accept, one(ruleset.FieldLimit, 1)), `f:1: limit: takes a rate, not ranges`},
		{"no such set", input(accept, ruleset.Match{Field: ruleset.FieldSrcAddr, Set: "x"}), `f:1: source: there is no set "x"`},
		{"port 65536", input(accept, port(65536)), `f:1: destination port: 65536 is above 65535`},
		{"port 65535", input(accept, port(65535)), ""},
		{"protocol 256", input(accept, one(ruleset.FieldProto, 256)), `f:1: protocol: 256 is above 255`},
		{"fragment 2", input(accept, one(ruleset.FieldFragment, 2)), `f:1: fragment: 2 is above 1`},
		{"range upside down", input(accept, ruleset.Match{Field: ruleset.FieldDstPort, Ranges: []ruleset.Range{{From: 9, To: 8}}}), `f:1: destination port: the range 9-8 starts above its end`},
		{"mark of 33 bits", input(accept, bits(ruleset.FieldMark, 1, 1<<32)), `f:1: mark: 0x1/0x100000000 does not fit into 32 bits`},
		{"state without bits", input(accept, bits(ruleset.FieldState, 0, 0)), `f:1: state: 0x0/0x0 is not a set of bits`},
		{"state with a mask", input(accept, bits(ruleset.FieldState, 1, 3)), `f:1: state: 0x1/0x3 is not a set of bits`},
		{"address range upside down", input(accept, from("10.0.0.2", "10.0.0.1", "")), `f:1: source: the range 10.0.0.2-10.0.0.1 starts above its end`},
		{"address range of two families", input(accept, from("10.0.0.2", "::1", "")), `f:1: source: the range from 10.0.0.2 has no end of the same family`},
		{"address range without end", input(accept, from("10.0.0.2", "", "")), `f:1: source: the range from 10.0.0.2 has no end of the same family`},
		{"mask of the other family", input(accept, from("10.0.0.2", "", "ffff::")), `f:1: source: the mask ffff:: is not of the family of 10.0.0.2`},
		{"host bits", input(accept, from("10.0.0.2", "", "255.0.0.0")), `f:1: source: 10.0.0.2 has bits outside of the mask 255.0.0.0`},
		{"zone", input(accept, from("fe80::1%eth0", "fe80::1%eth0", "")), `f:1: source: fe80::1%eth0 is not a plain IPv4 or IPv6 address`},
		{"IPv4 in an IPv6 address", input(accept, from("::ffff:1.2.3.4", "::ffff:1.2.3.4", "")), `f:1: source: ::ffff:1.2.3.4 is not a plain IPv4 or IPv6 address`},
		{"address of the other family", input4(from("::1", "::1", "")), `f:1: source: ::1 is not an ipv4 address, and the chain judges no others`},
		{"address of the family", input4(from("10.0.0.0", "", "255.0.0.0")), ""},
		{"interface names", input(accept, iface(ruleset.FieldInIface, "", "abcdefgh12345678", "a b")),
			"f:1: in: an interface name is empty\nf:1: in: \"abcdefgh12345678\" is longer than the 15 bytes of an interface name\nf:1: in: \"a b\" cannot be an interface name"},
		{"limit of 0", input(accept, limit(0, 1e9, 5)), `f:1: limit: the rate is 0`},
		{"limit per 0", input(accept, limit(1, 0, 5)), `f:1: limit: the rate is 0`},
		{"limit without burst", input(accept, limit(1, 1e9, 0)), `f:1: limit: the burst is 0, so that it never matches`},
		{"limit too fast", input(accept, limit(2, 1, 5)), `f:1: limit: 2 in 1 ns is more than one packet per nanosecond`},
		{"limit too large", input(accept, limit(1, 86400e9, 1<<60)), `f:1: limit: the burst 1152921504606846976 is too large for the rate`},
		{"all at once, in order", set(base(in, ruleset.Drop, at(9, rule(to(jump, "x"))), at(3, rule(accept, port(70000))))),
			"f:3: destination port: 70000 is above 65535\nf:9: jump: there is no chain \"x\" for any packets"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := ""
			if err := test.rs.Check(); err != nil {
				got = err.Error()
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestCheckHints(t *testing.T) {
	rs := set(base(ruleset.HookInput, ruleset.Drop, rule(to(ruleset.Jump, "logdrop"))), chain("LOGDROP"))
	var list ruleset.ErrorList
	if !errors.As(rs.Check(), &list) || list[0].Hint != `did you mean "LOGDROP"?` || list[0].Help == "" {
		t.Errorf("got %+v", list)
	}
	for name, close := range map[string]bool{"LOGDRO": true, "LOGDROPS": true, "LOGdROP": true, "LXGDROP": true, "OGDROP": true, "LOGDR": false, "XYGDROP": false} {
		rs.Chains[0].Rules[0].Verdict.Chain = name
		if !errors.As(rs.Check(), &list) || (list[0].Hint != "") != close {
			t.Errorf("%s: got %+v", name, list)
		}
	}
}

// A match's own position is better than its rule's.
func TestCheckPosition(t *testing.T) {
	rs := input(accept, port(70000))
	rs.Chains[0].Rules[0].Matches[0].Pos = ruleset.Pos{File: "f", Line: 1, Col: 7, Len: 5}
	var list ruleset.ErrorList
	if !errors.As(rs.Check(), &list) || list[0].Pos.Col != 7 {
		t.Errorf("got %+v", list)
	}
}

// Whatever gets in, Check returns: every ruleset with one field set to a value out of the way.
func TestCheckNeverPanics(t *testing.T) {
	for n := range 256 {
		v := uint8(n)
		r := &ruleset.Rule{Matches: []ruleset.Match{{Field: ruleset.FieldID(v)}}, Verdict: ruleset.Verdict{Kind: ruleset.VerdictKind(v), With: ruleset.RejectWith(v)}}
		rs := set(&ruleset.Chain{Name: "a", Family: ruleset.Family(v), Hook: ruleset.Hook(v), Policy: ruleset.VerdictKind(v), Rules: []*ruleset.Rule{r}})
		if rs.Check() == nil {
			t.Errorf("%d: no error", n)
		}
		_ = rs.String()
	}
}

// Check stays quick on rulesets as large as those of container hosts.
func TestCheckIsQuick(t *testing.T) {
	const n = 10_000
	main := base(ruleset.HookInput, ruleset.Drop)
	chains := []*ruleset.Chain{main, base(ruleset.HookForward, ruleset.Drop, rule(to(ruleset.Jump, "c0")))}
	for i := range n {
		c := chain(fmt.Sprintf("c%d", i), rule(accept, port(uint64(i))))
		if i+1 < n {
			c.Rules = append(c.Rules, rule(to(ruleset.Jump, fmt.Sprintf("c%d", i+1))))
		}
		main.Rules = append(main.Rules, rule(to(ruleset.Jump, c.Name), port(uint64(i))))
		chains = append(chains, c)
	}
	rs := &ruleset.Ruleset{Chains: chains}
	start := time.Now()
	if err := rs.Check(); err != nil {
		t.Fatal(err)
	}
	rs.AssignIDs()
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("took %s", took)
	}
	if !strings.HasPrefix(main.Rules[0].ID, "INPUT#") {
		t.Errorf("got ID %q", main.Rules[0].ID)
	}
}
