package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/bpfwall/bpfwall/dataplane"
	"github.com/bpfwall/bpfwall/packet"
	"github.com/bpfwall/bpfwall/ruleset"
)

// explanation is the answer of explain.
type explanation struct {
	schema
	Packet  string        `json:"packet"`
	Hook    string        `json:"hook"`
	Verdict string        `json:"verdict"`
	By      string        `json:"by,omitempty"` // ID of the rule or policy that decided
	Pos     *ruleset.Pos  `json:"pos,omitempty"`
	Reason  string        `json:"reason,omitempty"`
	Hooks   []explainHook `json:"hooks"` // that the packet came to, in order
	Steps   []explainStep `json:"steps"`
	// Measured is what the loaded programs did with the packet; null if only a file was asked.
	Measured *measured `json:"measured"`
	Note     string    `json:"note,omitempty"` // what else decides
	Limited  bool      `json:"limited"`        // a rate limit was asked, so that the next packet may fare otherwise
}

// explainHook is a hook that the packet came to.
type explainHook struct {
	Hook  string `json:"hook"`
	Where string `json:"where"` // where its rules run
	Steps int    `json:"steps"` // of explanation.Steps
}

// explainStep is a rule or policy that was tried.
type explainStep struct {
	Hook    string       `json:"hook"`
	Chain   string       `json:"chain"`
	Depth   int          `json:"depth,omitempty"` // jumps between here and the base chain
	Rule    string       `json:"rule"`            // name, or what it does
	ID      string       `json:"id,omitempty"`
	Matched bool         `json:"matched"`
	Because string       `json:"because,omitempty"` // the match that did not hold
	Found   []foundIn    `json:"found,omitempty"`   // the elements of sets that had an address of the packet
	Verdict string       `json:"verdict,omitempty"`
	Pos     *ruleset.Pos `json:"pos,omitempty"`
}

// measured is what the loaded programs say of a packet.
type measured struct {
	Verdict    string `json:"verdict"`
	By         string `json:"by,omitempty"`
	Generation uint32 `json:"generation"`
	Agrees     bool   `json:"agrees"` // with the evaluator
}

func (a *app) explain() *cobra.Command {
	var expect, policy string
	var flags importFlags
	var all bool
	cmd := &cobra.Command{
		Use:   "explain PACKET...",
		Short: "Say what happens to a packet, by which rule, and why",
		Long: `Say what happens to a packet, by which rule, and why. A packet reads like

  tcp 203.0.113.9:40000 to 192.0.2.1:22 in eth0
  udp 192.0.2.1 to :53 out eth0 state established
  icmp echo-request in eth0
  tcp 10.0.0.1 to 10.9.0.1:443 in eth0 out eth1 mark 7

What is left out gets a usual value. "->" may stand for "to", in quotes: the shell takes > for a redirection.

The verdict is that of the programs in the kernel; the steps come from evaluating the same rules. With --policy it is the verdict of
a file that need not be loaded, and needs no root.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, words []string) error {
			if _, ok := expectable[expect]; !ok {
				return fail(exitUsage, "--expect %q: want allow, drop or reject", expect)
			}
			lit, err := a.packet(words)
			if err != nil {
				return err
			}
			ex, err := a.explanation(lit, policy, flags)
			if err != nil {
				return err
			}
			if err := a.emit(ex, func() { a.printExplanation(ex, all) }); err != nil {
				return err
			}
			return a.expect(ex, expect)
		},
	}
	cmd.Flags().StringVar(&expect, "expect", "", "allow, drop or reject: exit with 7 if it is another verdict")
	complete(cmd, "expect", "allow", "drop", "reject")
	cmd.Flags().StringVar(&policy, "policy", "", "explain this file instead of what is loaded")
	flags.add(cmd)
	cmd.Flags().BoolVar(&all, "all", false, "show every step, however many")
	return cmd
}

// arrow stands for "->" among the arguments, which the flag parser would take for a flag.
const arrow = "→"

// packet reads a packet from the words of the command line.
func (a *app) packet(words []string) (*packet.Literal, error) {
	if last := words[len(words)-1]; last == "-" || strings.HasSuffix(last, " -") {
		return nil, fail(exitUsage, "packet: nothing after %q", last).withHelp(`the shell took ">" for a redirection: write "to", or put the packet in quotes`)
	}
	text := strings.Join(words, " ")
	text = strings.ReplaceAll(strings.ReplaceAll(" "+text+" ", " "+arrow+" ", " -> "), " to ", " -> ")
	text = strings.TrimSpace(text)
	a.sources = map[string][]byte{"packet": []byte(text)}
	lit, err := packet.Parse(text)
	if err != nil {
		return nil, &codeError{code: exitUsage, err: err}
	}
	return lit, nil
}

// explanation evaluates the packet, and runs it through the loaded programs unless a policy file is named.
func (a *app) explanation(lit *packet.Literal, policy string, flags importFlags) (*explanation, error) {
	if policy != "" {
		in, err := a.load([]string{policy}, flags)
		if err != nil {
			return nil, err
		}
		return explain(in.Ruleset, lit, nil, places{}, nil), nil
	}
	fw, err := a.firewall()
	if err != nil {
		return nil, err
	}
	gen, rs, err := fw.Live()
	if err != nil {
		return nil, err
	}
	twin, err := fw.Twin()
	if err != nil {
		return nil, err
	}
	defer twin.Close()
	all, err := twin.Explain(lit.Hook, &lit.Packet)
	if err != nil {
		return nil, err
	}
	ex := explain(rs, lit, fw.State(), places{gen}, fw.FindElement)
	if gen.NAT && rs.PublishedAsInput {
		ex.Note = publishedNotes[lit.Hook]
	}
	if slices.Contains(gen.InXDP(), lit.Packet.In) && ex.Note == "" {
		ex.Note = fmt.Sprintf("prerouting rules judge in XDP on %s: what they drop there, packet captures on this host do not show", lit.Packet.In)
	}
	ex.measure(all[len(all)-1], gen.Number)
	return ex, nil
}

// publishedNotes say what the kernel's NAT changes, by hook.
var publishedNotes = map[ruleset.Hook]string{
	ruleset.HookInput:   "this decides about a port that the kernel's NAT sends on to a container, too (published_ports)",
	ruleset.HookForward: "if the kernel's NAT sends it on from a published port of this host, the inbound rules decide instead, by that port (published_ports)",
}

// measure adds what the programs say.
func (ex *explanation) measure(j dataplane.Judgement, generation uint32) {
	m := &measured{Verdict: j.Verdict.String(), Generation: generation}
	if j.By != nil {
		m.By = j.By.ID
	}
	m.Agrees = m.Verdict == ex.Verdict && m.By == ex.By
	ex.Measured = m
}

// explain puts the evaluator's traces into an answer.
func explain(rs *ruleset.Ruleset, lit *packet.Literal, st *ruleset.State, at places, live liveFinder) *explanation {
	verdict, traces := rs.Walk(lit.Hook, &lit.Packet, st)
	last := traces[len(traces)-1]
	ex := &explanation{
		schema: schemaOf("explain"), Packet: lit.String(), Hook: last.Hook.String(), Verdict: verdict.String(),
		By: last.DecidedBy(), Reason: last.Reason, Steps: []explainStep{},
	}
	f := finder{rs, live}
	for _, t := range traces {
		if t.SynProxy && lit.Proto == 6 {
			ex.Note = "if a socket of this host listens, the SYN proxy answers SYNs, and the rules after guard decide about the ACK that answers a cookie"
		}
		ex.Hooks = append(ex.Hooks, explainHook{t.Hook.String(), at.of(t.Hook, lit.In), len(t.Steps)})
		for _, s := range t.Steps {
			step := stepOf(t.Hook, s)
			step.Found = f.found(s, &lit.Packet)
			ex.Steps = append(ex.Steps, step)
			ex.Limited = ex.Limited || s.Failed == nil && s.Rule != nil && slices.ContainsFunc(s.Rule.Matches, func(m ruleset.Match) bool { return m.Field.Remembers() })
		}
	}
	if decided := last.Decided(); decided != nil {
		ex.Pos = ex.Steps[len(ex.Steps)-1].Pos
	} else if ex.Reason == "" {
		ex.Reason = "no chain judges " + lit.Family.String() + " packets on " + last.Hook.String()
	}
	return ex
}

func stepOf(h ruleset.Hook, s ruleset.Step) explainStep {
	step := explainStep{Hook: h.String(), Chain: s.Chain.Key(), Depth: s.Depth, Matched: s.Failed == nil}
	pos := s.Chain.Pos
	if s.Rule == nil {
		step.Rule, step.ID = "policy", s.Chain.PolicyID()
	} else {
		step.Rule, step.ID, pos = label(s.Rule), s.Rule.ID, s.Rule.Pos
	}
	if step.Matched {
		step.Verdict = s.Verdict.String()
	} else {
		step.Because = s.Failed.String()
	}
	if pos.Line > 0 {
		step.Pos = &pos
	}
	return step
}

// label is a rule's name, or what it does.
func label(r *ruleset.Rule) string {
	if r.Name != "" {
		return r.Name
	}
	return r.String()
}

// expect compares the verdict with --expect.
func (a *app) expect(ex *explanation, expect string) error {
	got, _, _ := strings.Cut(ex.result(), " ")
	if want := expectable[expect]; want != "" && got != want {
		return &codeError{code: exitTest, err: fmt.Errorf("the verdict is %s, not %s as expected", got, want), said: a.json}
	}
	return nil
}

// expectable are the verdicts that --expect knows.
var expectable = map[string]string{"": "", "allow": "accept", "accept": "accept", "drop": "drop", "reject": "reject"}

// result is the verdict that counts: the measured one if there is one.
func (ex *explanation) result() string {
	if ex.Measured != nil {
		return ex.Measured.Verdict
	}
	return ex.Verdict
}

// fewSteps is how many steps are shown in full; of more, only those that matched.
const fewSteps = 40

func (a *app) printExplanation(ex *explanation, all bool) {
	p := paint(a.colours(a.color, 1))
	var rows [][]string
	var steps []int // of the rows
	hidden := 0
	for i, s := range ex.Steps {
		if !all && !s.Matched && len(ex.Steps) > fewSteps {
			hidden++
			continue
		}
		rows, steps = append(rows, s.row(i+1, p)), append(steps, i)
	}
	a.printSteps(ex.Hooks, steps, splitLines(columns(rows)), p)
	if hidden > 0 {
		a.printf("%d rules that did not match are not shown; --all shows them\n", hidden)
	}
	a.printVerdict(ex, p)
}

// printSteps prints the lines of the steps below the hooks that they belong to.
func (a *app) printSteps(hooks []explainHook, steps []int, lines []string, p paint) {
	end := 0
	for _, h := range hooks {
		note := ""
		if h.Steps == 0 {
			note = ": no rules"
		}
		a.printf("%s (%s)%s\n", p.bold(h.Hook), h.Where, note)
		for end += h.Steps; len(steps) > 0 && steps[0] < end; steps, lines = steps[1:], lines[1:] {
			a.printf("%s\n", lines[0])
		}
	}
}

func (s explainStep) row(n int, p paint) []string {
	outcome, why := "no", s.Because
	switch {
	case s.Matched && s.Verdict == ruleset.Continue.String():
		outcome = "goes on"
	case s.Matched:
		outcome = p.verdict(strings.ToUpper(s.Verdict))
	}
	for _, f := range s.Found {
		why = strings.TrimPrefix(why+"; "+f.String(), "; ")
	}
	indent := strings.Repeat("  ", s.Depth)
	return []string{pad(n), indent + s.Chain, p.bold(escape(s.Rule)), outcome, escape(why), p.dim(place(s.Pos))}
}

func (a *app) printVerdict(ex *explanation, p paint) {
	a.printf("verdict %s", p.verdict(strings.ToUpper(ex.result())))
	switch {
	case ex.Reason != "":
		a.printf("   %s", ex.Reason)
	case ex.Pos != nil:
		a.printf("   %s", place(ex.Pos))
	}
	if ex.Measured == nil {
		a.printf("   by evaluating the file; nothing was run\n")
	} else {
		a.printf("   measured by running the loaded programs, generation %d\n", ex.Measured.Generation)
	}
	if ex.Note != "" {
		a.printf("note: %s\n", ex.Note)
	}
	switch {
	case ex.Measured == nil:
	case ex.Measured.Agrees:
	case ex.Limited:
		a.printf("the steps suppose that no rate limit is used up; the programs decided by %q\n", ex.Measured.By)
	default:
		a.printf("the evaluator says %s by %q, the programs %s by %q: this is a bug, please report it\n",
			ex.Verdict, ex.By, ex.Measured.Verdict, ex.Measured.By)
	}
}
