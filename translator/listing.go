package translator

import (
	"fmt"
	"slices"
	"strings"
)

// Listing is the generated functions as text: labels, the source line of each rule, and the names of fields where instructions
// touch them.
func (o *Output) Listing() string {
	var b strings.Builder
	for _, c := range o.code {
		at := slots(c.insns)
		for i, ins := range c.insns {
			if s := ins.Symbol(); s != "" {
				fmt.Fprintf(&b, "%s:\n", s)
			}
			if src := ins.Source(); src != nil {
				fmt.Fprintf(&b, "\t; %s\n", src)
			}
			fmt.Fprintf(&b, "\t%4d  %s\n", at[i], o.at.text(ins))
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// Plan is what is compiled before it becomes instructions: the functions, and a line for every step.
func (o *Output) Plan() string {
	var b strings.Builder
	for _, s := range o.Sets {
		fmt.Fprintf(&b, "map %s: %s\n", s.Name, s)
	}
	for _, r := range slices.Concat(o.plan.refused, o.plan.inCode) {
		fmt.Fprintln(&b, r)
	}
	for _, f := range o.plan.functions {
		fmt.Fprintf(&b, "%s: %s\n", f.name, f.doc)
		if f.stops != nil || f.counts != nil || f.resumes != nil {
			continue
		}
		if f.piece() {
			writeSteps(&b, f.part, 1)
			continue
		}
		for _, e := range f.entry {
			e.write(&b)
		}
	}
	return b.String()
}

// write writes a block as an entry of a function.
func (b *block) write(w *strings.Builder) {
	writeSteps(w, b.steps, 1)
	if b.chain.Policy != 0 {
		fmt.Fprintf(w, "  chain %s: policy %s, counter %d\n", b.chain.Key(), b.chain.Policy, b.slot)
	}
}

func writeSteps(w *strings.Builder, steps []*step, depth int) {
	for _, s := range steps {
		fmt.Fprintf(w, "%s%s\n", strings.Repeat("  ", depth), s)
		switch {
		case s.verb == verbJump && s.target.fn == nil:
			writeSteps(w, s.target.steps, depth+1)
		case s.classifier != nil:
			s.classifier.write(w, depth+1)
		case s.fork != nil:
			for _, b := range s.fork.branches {
				fmt.Fprintf(w, "%s%s:\n", strings.Repeat("  ", depth+1), s.fork.text(b))
				writeSteps(w, b.steps, depth+2)
			}
		}
	}
}

// write writes the rules.
func (c *classifier) write(w *strings.Builder, depth int) {
	for i, s := range c.rules {
		if slices.ContainsFunc(c.stops, func(st stop) bool { return st.rule == i }) {
			fmt.Fprintf(w, "%sstop:\n", strings.Repeat("  ", depth))
			writeSteps(w, []*step{s}, depth+1)
			continue
		}
		writeSteps(w, []*step{s}, depth)
	}
}

// String is the step in one line.
func (s *step) String() string {
	if s.verb == verbRun {
		return "run " + s.piece.name
	}
	if s.classifier != nil {
		return "classifier " + s.classifier.name + ": " + s.classifier.String()
	}
	if s.fork != nil {
		return "by " + s.fork.title()
	}
	var parts []string
	for _, t := range s.tests {
		parts = append(parts, t.String())
	}
	if len(parts) == 0 {
		parts = []string{"all"}
	}
	end := s.rule.Verdict.String()
	if s.verb == verbJump && s.target.fn != nil {
		end += " (" + s.target.fn.name + ")"
	}
	for i := len(s.does) - 1; i >= 0; i-- {
		end = s.does[i].String() + ", " + end
	}
	return fmt.Sprintf("%s: %s, counter %d", strings.Join(parts, ", "), end, s.slot)
}

// String is the test in words: the maps in place of the addresses that are in them.
func (t *test) String() string {
	m := *t.Match
	if len(t.sets) == 0 && len(t.live) == 0 {
		return m.String()
	}
	var names []string
	for _, s := range t.live {
		names = append(names, s.Set.Name)
	}
	for _, s := range t.sets {
		names = append(names, s.Name)
	}
	m.Set = strings.Join(names, "+")
	return m.String()
}

// String is what kind of map it is and what it holds.
func (s *SetMap) String() string {
	text := fmt.Sprintf("table of %d %s addresses", len(s.Entries), s.Family)
	if s.masks {
		return "masks of prefixes"
	}
	if s.tuples > 0 {
		text = fmt.Sprintf("table of %d elements", s.tuples)
	}
	if s.Set != "" {
		text += fmt.Sprintf(", set %q", s.Set)
	}
	return text
}
