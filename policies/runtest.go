package policies

import (
	"fmt"
	"strings"

	"github.com/bpfwall/bpfwall/packet"
	"github.com/bpfwall/bpfwall/ruleset"
)

// Judge decides a packet on a hook and everything before it, and tells how: the evaluator, or the compiled program.
type Judge func(h ruleset.Hook, p *ruleset.Packet) (ruleset.Verdict, []ruleset.Trace)

// TestResult is what became of one service of a test.
type TestResult struct {
	Test    *Test
	Case    *Case
	Packet  *packet.Literal // the one that was judged otherwise than expected; nil if all were as expected
	Got     ruleset.Verdict // of that packet
	By      string          // what decided it: inbound/site, inbound/default
	Problem *ruleset.Error  // nil if the test passed
}

// RunTests runs every test of the policy. A nil judge is the evaluator with every rate limit unused.
func (p *Policy) RunTests(judge Judge) []TestResult {
	if judge == nil {
		judge = func(h ruleset.Hook, pkt *ruleset.Packet) (ruleset.Verdict, []ruleset.Trace) {
			return p.Ruleset.Walk(h, pkt, nil)
		}
	}
	var out []TestResult
	for i := range p.Tests {
		for j := range p.Tests[i].Cases {
			out = append(out, p.Tests[i].run(&p.Tests[i].Cases[j], judge))
		}
	}
	return out
}

// run judges the packets of a case until one surprises.
func (t *Test) run(c *Case, judge Judge) TestResult {
	r := TestResult{Test: t, Case: c}
	for _, l := range c.Packets {
		v, traces := judge(l.Hook, &l.Packet)
		name, at := decided(traces)
		wrong := v.Kind != c.Want
		if !wrong && (t.Rule == "" || isRule(t.Rule, name)) {
			continue
		}
		r.Packet, r.Got, r.By = l, v, name
		got := strings.ToUpper(verbOf(v.Kind))
		r.Problem = &ruleset.Error{Pos: c.Pos, Msg: fmt.Sprintf("%s %q%s: got %s", verbOf(c.Want), c.Service, c.about, got)}
		if name != "" {
			r.Problem.Msg += " by " + name
		}
		if at.Line != 0 {
			r.Problem.Msg += fmt.Sprintf(" (%s:%d)", at.File, at.Line)
		}
		if !wrong {
			r.Problem.Msg += fmt.Sprintf(", not by %q", t.Rule)
		}
		r.Problem.Help = "the packet was: " + l.String()
		return r
	}
	return r
}

// verbOf is a verdict in the words of the language.
func verbOf(k ruleset.VerdictKind) string {
	for _, v := range verbs {
		if v.kind == k {
			return v.key
		}
	}
	return k.String()
}

// decided names the rule or default that decided, and its place.
func decided(traces []ruleset.Trace) (string, ruleset.Pos) {
	if len(traces) == 0 {
		return "", ruleset.Pos{}
	}
	s := traces[len(traces)-1].Decided()
	switch {
	case s == nil:
		return traces[len(traces)-1].Reason, ruleset.Pos{}
	case s.Rule == nil:
		return s.Chain.Name + "/default", s.Chain.Pos
	case s.Rule.Name == "":
		return s.Chain.Name, s.Rule.Pos
	}
	return s.Chain.Name + "/" + s.Rule.Name, s.Rule.Pos
}

// isRule reports whether a rule that a test names is the one that decided. The policy's author need not know that a rule has become
// several (site.2, site/over), nor in which list it is.
func isRule(want, got string) bool {
	for _, name := range []string{got, got[strings.IndexByte(got, '/')+1:]} {
		rest, ok := strings.CutPrefix(name, want)
		if ok && (rest == "" || rest[0] == '/' || rest[0] == '.' && startsWithDigit(rest[1:])) {
			return true
		}
	}
	return false
}
