package ruleset

import (
	"fmt"
	"strings"
)

// Why a packet was dropped without a rule or policy deciding.
const (
	ReasonMalformed = "malformed packet: the transport header is cut short, and the rules read it"
	ReasonUnchecked = "ruleset not checked: a jump leads nowhere or in circles"
)

// Trace is how a verdict came about.
type Trace struct {
	Hook    Hook
	Steps   []Step
	Packet  Packet // as the rules left it: Mark is what SetMark statements made of it
	NoTrack bool   // a NoTrack statement ran
	// SynProxy: a SynProxy statement ran.
	SynProxy bool
	Reason   string // why, where no rule or policy decided; else ""
}

// Step is one rule that was tried, or (Rule nil) a base chain's policy.
type Step struct {
	Chain   *Chain
	Rule    *Rule
	Depth   int     // jumps between here and the base chain
	Failed  *Match  // the first match that did not hold; nil: the rule matched
	Verdict Verdict // of the rule if it matched, or the policy
}

func (t *Trace) add(s Step) { t.Steps = append(t.Steps, s) }

// Decided is the step that decided: a rule, or the policy of a base chain. Nil where neither did: see Reason, or the hook
// has no chain for the packet's family.
func (t *Trace) Decided() *Step {
	if len(t.Steps) == 0 || t.Reason != "" {
		return nil
	}
	return &t.Steps[len(t.Steps)-1]
}

// DecidedBy names what decided, as counters do: a rule's ID, a policy's ID, or "" for neither.
func (t *Trace) DecidedBy() string {
	s := t.Decided()
	switch {
	case s == nil:
		return ""
	case s.Rule == nil:
		return s.Chain.PolicyID()
	}
	return s.Rule.ID
}

// String is the steps, one a line, and what decided.
func (t *Trace) String() string {
	var b strings.Builder
	for _, s := range t.Steps {
		fmt.Fprintf(&b, "%s%s\n", strings.Repeat("  ", s.Depth), s.String())
	}
	if t.Reason != "" {
		fmt.Fprintf(&b, "drop: %s\n", t.Reason)
	} else if len(t.Steps) == 0 {
		fmt.Fprintf(&b, "accept: no chain judges %s packets on %s\n", t.Packet.Family, t.Hook)
	}
	return b.String()
}

// String is one line: where, what, and whether it matched.
func (s *Step) String() string {
	switch {
	case s.Rule == nil:
		return fmt.Sprintf("%s: policy %s", s.Chain.Key(), s.Verdict)
	case s.Failed != nil:
		return fmt.Sprintf("%s: %s: no match: %s", s.Chain.Key(), s.Rule, s.Failed)
	}
	return fmt.Sprintf("%s: %s: matched", s.Chain.Key(), s.Rule)
}
