package ruleset_test

import (
	"strings"
	"testing"

	"github.com/bpfwall/bpfwall/packet"
	"github.com/bpfwall/bpfwall/ruleset"
)

// port matches a destination port.
func port(n uint64) ruleset.Match {
	return ruleset.Match{Field: ruleset.FieldDstPort, Ranges: []ruleset.Range{{From: n, To: n}}}
}

func rule(v ruleset.Verdict, matches ...ruleset.Match) *ruleset.Rule {
	return &ruleset.Rule{Matches: matches, Verdict: v}
}

func to(k ruleset.VerdictKind, chain string) ruleset.Verdict {
	return ruleset.Verdict{Kind: k, Chain: chain}
}

func base(h ruleset.Hook, policy ruleset.VerdictKind, rules ...*ruleset.Rule) *ruleset.Chain {
	return &ruleset.Chain{Name: strings.ToUpper(h.String()), Hook: h, Policy: policy, Rules: rules}
}

func chain(name string, rules ...*ruleset.Rule) *ruleset.Chain {
	return &ruleset.Chain{Name: name, Rules: rules}
}

var (
	accept = ruleset.Verdict{Kind: ruleset.Accept}
	drop   = ruleset.Verdict{Kind: ruleset.Drop}
	back   = ruleset.Verdict{Kind: ruleset.Return}
	goOn   = ruleset.Verdict{}
)

func set(chains ...*ruleset.Chain) *ruleset.Ruleset {
	rs := &ruleset.Ruleset{Chains: chains}
	rs.AssignIDs()
	return rs
}

func literal(t testing.TB, text string) *packet.Literal {
	t.Helper()
	l, err := packet.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// Where control goes: jump, goto, return, policies, several base chains.
func TestEvalFlow(t *testing.T) {
	in := ruleset.HookInput
	v6 := base(in, ruleset.Drop)
	v6.Family = ruleset.FamilyIPv6
	for _, test := range []struct {
		name   string
		rs     *ruleset.Ruleset
		packet string
		want   ruleset.VerdictKind
		by     string
	}{
		{"no chain", set(), "tcp -> :22", ruleset.Accept, ""},
		{"chain of the other hook", set(base(ruleset.HookOutput, ruleset.Drop)), "tcp -> :22", ruleset.Accept, ""},
		{"chain of the other family", set(v6), "tcp -> :22", ruleset.Accept, ""},
		{"chain of the family", set(v6), "tcp -> [::1]:22", ruleset.Drop, "INPUT/ipv6#policy"},
		{"policy", set(base(in, ruleset.Drop, rule(accept, port(80)))), "tcp -> :22", ruleset.Drop, "INPUT#policy"},
		{"first rule wins", set(base(in, ruleset.Drop, rule(accept, port(22)), rule(drop, port(22)))), "tcp -> :22", ruleset.Accept, "INPUT#"},
		{"continue", set(base(in, ruleset.Accept, rule(goOn, port(22)), rule(drop, port(22)))), "tcp -> :22", ruleset.Drop, "INPUT#"},
		{"jump decides", set(base(in, ruleset.Accept, rule(to(ruleset.Jump, "a"))), chain("a", rule(drop))), "tcp", ruleset.Drop, "a#"},
		{"jump comes back", set(base(in, ruleset.Accept, rule(to(ruleset.Jump, "a")), rule(drop)), chain("a")), "tcp", ruleset.Drop, "INPUT#"},
		{"return comes back", set(base(in, ruleset.Accept, rule(to(ruleset.Jump, "a")), rule(drop)), chain("a", rule(back), rule(accept))), "tcp", ruleset.Drop, "INPUT#"},
		{"return in a base chain", set(base(in, ruleset.Drop, rule(back), rule(accept))), "tcp", ruleset.Drop, "INPUT#policy"},
		{"goto from a base chain ends at the policy", set(base(in, ruleset.Drop, rule(to(ruleset.Goto, "a")), rule(accept)), chain("a")), "tcp", ruleset.Drop, "INPUT#policy"},
		{"goto comes back to the jump", set(base(in, ruleset.Accept, rule(to(ruleset.Jump, "a")), rule(drop)), chain("a", rule(to(ruleset.Goto, "b")), rule(accept)), chain("b")), "tcp", ruleset.Drop, "INPUT#"},
		{"every base chain must accept", set(base(in, ruleset.Accept), &ruleset.Chain{Name: "second", Hook: in, Policy: ruleset.Drop}), "tcp", ruleset.Drop, "second#policy"},
		{"the first base chain drops", set(base(in, ruleset.Drop), &ruleset.Chain{Name: "second", Hook: in, Policy: ruleset.Accept}), "tcp", ruleset.Drop, "INPUT#policy"},
		{"malformed, ports are read", set(base(in, ruleset.Accept, rule(accept, port(22)))), "tcp malformed", ruleset.Drop, ""},
		{"malformed, nothing is read", set(base(in, ruleset.Accept)), "tcp malformed", ruleset.Accept, "INPUT#policy"},
		{"malformed, no chain", set(chain("a", rule(accept, port(22)))), "tcp malformed", ruleset.Accept, ""},
		{"unchecked cycle", set(base(in, ruleset.Accept, rule(to(ruleset.Jump, "a"))), chain("a", rule(to(ruleset.Goto, "a")))), "tcp", ruleset.Drop, ""},
		{"unchecked jump", set(base(in, ruleset.Accept, rule(to(ruleset.Jump, "a")))), "tcp", ruleset.Drop, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			l := literal(t, test.packet)
			got, trace := test.rs.Eval(l.Hook, &l.Packet, nil)
			if got.Kind != test.want || !strings.HasPrefix(trace.DecidedBy(), test.by) || (test.by == "") != (trace.DecidedBy() == "") {
				t.Errorf("got %s by %q, want %s by %q\n%s", got, trace.DecidedBy(), test.want, test.by, trace.String())
			}
		})
	}
}

func TestEvalMark(t *testing.T) {
	marked := ruleset.Match{Field: ruleset.FieldMark, Masked: []ruleset.Masked{{Value: 0x5a, Mask: 0xff}}}
	mark := rule(goOn)
	mark.Statements = []ruleset.Statement{{SetMark: &ruleset.SetMark{Value: 0x5f, Mask: 0x0f}}, {SetMark: &ruleset.SetMark{Value: 5}}}
	rs := set(base(ruleset.HookInput, ruleset.Drop, mark, rule(accept, marked)))
	l := literal(t, "tcp mark 0x103")
	got, trace := rs.Eval(l.Hook, &l.Packet, nil)
	if got.Kind != ruleset.Accept || trace.Packet.Mark != 0x15a || l.Mark != 0x103 {
		t.Errorf("got %s, mark %#x, caller's %#x; want accept, 0x15a, 0x103", got, trace.Packet.Mark, l.Mark)
	}
}

func TestEvalNoTrack(t *testing.T) {
	r := rule(goOn, port(53))
	r.Statements = []ruleset.Statement{{NoTrack: &ruleset.NoTrack{}}}
	rs := set(base(ruleset.HookPrerouting, ruleset.Accept, r))
	for text, want := range map[string]bool{"udp -> :53 hook prerouting": true, "udp -> :54 hook prerouting": false} {
		l := literal(t, text)
		if _, trace := rs.Eval(l.Hook, &l.Packet, nil); trace.NoTrack != want {
			t.Errorf("%s: NoTrack is %v", text, trace.NoTrack)
		}
	}
}

// A limit of 2 in 10 s with a burst of 3 costs 5 s a packet.
func TestEvalLimit(t *testing.T) {
	const second = 1_000_000_000
	limit := ruleset.Match{Field: ruleset.FieldLimit, Limit: &ruleset.Limit{Rate: 2, Per: 10 * second, Burst: 3}}
	rs := set(base(ruleset.HookInput, ruleset.Drop, rule(accept, port(22), limit)))
	var st ruleset.State
	for _, step := range []struct {
		at     uint64
		packet string
		want   ruleset.VerdictKind
	}{
		{0, "tcp -> :80", ruleset.Drop}, // takes no token
		{0, "tcp -> :22", ruleset.Accept},
		{0, "tcp -> :22", ruleset.Accept},
		{0, "tcp -> :22", ruleset.Accept},
		{0, "tcp -> :22", ruleset.Drop},
		{5*second - 1, "tcp -> :22", ruleset.Drop},
		{5 * second, "tcp -> :22", ruleset.Accept},
		{5 * second, "tcp -> :22", ruleset.Drop},
		{100 * second, "tcp -> :22", ruleset.Accept}, // no more than the burst gathers
		{100 * second, "tcp -> :22", ruleset.Accept},
		{100 * second, "tcp -> :22", ruleset.Accept},
		{100 * second, "tcp -> :22", ruleset.Drop},
	} {
		st.Now = step.at
		l := literal(t, step.packet)
		if got, _ := rs.Eval(l.Hook, &l.Packet, &st); got.Kind != step.want {
			t.Errorf("at %d ns, %s: got %s, want %s", step.at, step.packet, got, step.want)
		}
	}
}
