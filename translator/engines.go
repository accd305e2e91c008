package translator

import (
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"strings"

	"github.com/bpfwall/bpfwall/ruleset"
	"github.com/bpfwall/bpfwall/translator/classify"
)

// Engine is a way to find the first of many rules that a packet meets.
type Engine uint8

// The engines.
const (
	EngineAuto        Engine = iota // whichever costs least
	EngineCode                      // one rule after the other
	EngineForks                     // trees of comparisons in code
	EngineClassifiers               // tables in maps
	EngineVectors                   // bit vectors in maps
)

// engineNames are the engines by their numbers.
var engineNames = []string{"auto", "code", "forks", "classifiers", "vectors"}

// ParseEngine is the engine of a name.
func ParseEngine(name string) (Engine, error) {
	i := slices.Index(engineNames, name)
	if i < 0 {
		return 0, fmt.Errorf("engine %q: none of %s", name, strings.Join(engineNames, ", "))
	}
	return Engine(i), nil
}

// What engines are tried for.
const (
	forksUpTo   = 256     // rules that forks are tried for: every change of a rule has them verified again, some 30 instructions a rule; one of a table is data
	codeUpTo    = 6000    // rules, those that forks repeat included, that stand in code of all runs that may be tables: some 90,000 instructions to verify
	forcedFrom  = 3       // rules of a run from which a forced classifier is made
	maxParts    = 8       // classifiers that a run becomes, for one family
	mostInCode  = 1 << 15 // what may stand in code where nothing else holds the rules
	classifyMin = 17      // rules of a run from which one may pay
)

// engines chooses, for every run of rules that a classifier can take, what finds the first one: it is left to the forks, or becomes
// classifiers.
type engines struct {
	plan   *plan
	forced Engine
	forks  *indexer
	marks  bool // rules change packets' marks
	err    error
	block  *block
	inCode int // rules of runs that may be tables
}

// chooseEngines makes classifiers and forks.
func chooseEngines(p *plan) error {
	if p.engine == EngineCode {
		return nil
	}
	e := &engines{plan: p, forced: p.engine, forks: &indexer{repeats: maxRepeats}, marks: slices.ContainsFunc(p.blocks, func(b *block) bool { return slices.ContainsFunc(b.steps, (*step).marks) })}
	for _, b := range p.blocks {
		e.block = b
		b.steps = e.chain(b.chain.Family, b.steps)
	}
	return e.err
}

// chain is a chain's steps with classifiers in place of runs of them where these pay, and forks in what is between.
func (e *engines) chain(family ruleset.Family, steps []*step) (out []*step) {
	var others []*step
	ok := classifiable(steps)
	for len(steps) > 0 {
		n := len(ok)
		if i := slices.Index(ok, false); i >= 0 {
			n = i
		}
		if made := e.classifiers(family, steps[:n]); made != nil {
			out = append(append(out, e.indexed(family, others)...), made...)
			others = nil
		} else {
			others = append(others, steps[:n]...)
		}
		for steps, ok = steps[n:], ok[n:]; len(steps) > 0 && !ok[0]; steps, ok = steps[1:], ok[1:] {
			others = append(others, steps[0])
		}
	}
	return append(out, e.indexed(family, others)...)
}

// indexed is steps with forks, unless there must be none.
func (e *engines) indexed(family ruleset.Family, steps []*step) []*step {
	if e.forced >= EngineClassifiers || e.err != nil {
		return steps
	}
	return e.forks.indexed(family, steps)
}

// classifiers is a run of rules as classifiers; nil if it is to stay what it is.
func (e *engines) classifiers(family ruleset.Family, run []*step) []*step {
	why := e.why(family, run)
	if why == "" {
		return nil
	}
	var made []*classifier
	for _, f := range []ruleset.Family{ruleset.FamilyIPv4, ruleset.FamilyIPv6} {
		if !family.Covers(f) {
			continue
		}
		parts, err := e.held(f, run, made)
		if err == nil && len(parts) > 2 && e.forced == EngineAuto {
			err = e.cheaper(family, run, len(parts))
		}
		if err != nil {
			e.refuse(run, err)
			return nil
		}
		for _, c := range parts {
			c.why = why
		}
		made = append(made, parts...)
	}
	return e.steps(made)
}

// refuse notes that no classifier holds a run of rules, and is an error if code would not either: most of what can be compiled is left to it,
// however slow.
func (e *engines) refuse(run []*step, why error) {
	e.plan.refused = append(e.plan.refused, fmt.Sprintf("%s: no classifier: %v", fromTo(run), why))
	if n := longest(run); n > mostInCode && e.err == nil {
		e.err = &LimitError{Pos: run[0].rule.Pos, What: fmt.Sprintf("%s: no engine holds them: %v; in code they are %d comparisons, more than %d", fromTo(run), why, n, mostInCode),
			Help: "fewer rules, or sets in place of rules that differ in addresses only"}
	}
}

// held is a run of rules as classifiers for the packets of a family: as tables, or as bit vectors where tables are refused or dearer.
func (e *engines) held(f ruleset.Family, run []*step, before []*classifier) ([]*classifier, error) {
	switch e.forced {
	case EngineClassifiers:
		return e.parts(f, [][]*step{run}, before, asTable, 2*maxParts)
	case EngineVectors:
		return e.parts(f, slices.Collect(slices.Chunk(run, classify.MaxVectorRules)), before, asVectors, 0)
	}
	tables, refused := e.parts(f, [][]*step{run}, before, asFewPairs, 0)
	if refused == nil && (sum(tables) <= len(tables)*cheapTable || chosenBefore(tables)) {
		return tables, nil
	}
	vectors, err := e.parts(f, slices.Collect(slices.Chunk(run, classify.MaxVectorRules)), before, asVectors, 0)
	switch {
	case err != nil && refused != nil && len(run) <= classify.MaxVectorRules:
		if tables, err := e.parts(f, [][]*step{run}, before, asTable, 2*maxParts); err == nil {
			return tables, nil
		}
		fallthrough
	case err != nil && refused != nil:
		if tables, err := e.parts(f, [][]*step{run}, before, asSpilling, 2*maxParts); err == nil {
			return tables, nil
		}
		return nil, fmt.Errorf("%s; %s", refused, err)
	case err != nil || refused == nil && sum(tables) <= sum(vectors):
		return tables, nil
	case refused == nil:
		refused = fmt.Errorf("a lookup in tables would take %d ns, in these %d", sum(tables), sum(vectors))
	}
	for _, c := range vectors {
		c.instead = refused.Error()
	}
	return vectors, nil
}

// chosenBefore reports whether tables take the place of others that differ in few rules: whether bit vectors would be better, which takes long to
// find out, was found out then.
func chosenBefore(tables []*classifier) bool {
	return !slices.ContainsFunc(tables, func(c *classifier) bool { return !c.table.Again })
}

// sum is what lookups in all of some classifiers take.
func sum(all []*classifier) (ns int) {
	for _, c := range all {
		ns += c.cost
	}
	return ns
}

// parts is runs of rules, in order, as classifiers for the packets of a family: one, or several in order where one has no room for the rules'
// patterns or stops, or, halved so often, their addresses overlap too much for one. Others are made before.
func (e *engines) parts(f ruleset.Family, todo [][]*step, before []*classifier, build builder, halvings int) (made []*classifier, err error) {
	if len(todo) > maxParts {
		return nil, fmt.Errorf("it would take %d tables of %d rules, more than %d", len(todo), len(todo[0]), maxParts)
	}
	for tries := 0; len(todo) > 0; tries++ {
		rest := todo[0]
		c, left, err := e.newClassifier(f, rest, slices.Concat(before, made), build)
		switch {
		case err != nil && (len(rest) < 2*classifyMin || tries >= halvings):
			return nil, err
		case err != nil:
			half := len(rest) / 2
			todo = append([][]*step{rest[:half], rest[half:]}, todo[1:]...)
			continue
		case len(left) == len(rest):
			return nil, fmt.Errorf("%s asks for more than fits into one", rest[0].rule.Pos)
		case len(left) > 0:
			todo[0] = left
		default:
			todo = todo[1:]
		}
		if c != nil {
			made = append(made, c)
		}
		if len(made) > maxParts {
			return nil, fmt.Errorf("it would take more than %d tables", maxParts)
		}
	}
	return made, nil
}

// cheaper is an error if rules in code cost less than so many classifiers.
func (e *engines) cheaper(family ruleset.Family, run []*step, parts int) error {
	trial := &indexer{repeats: maxRepeats}
	if code, tables := codeNs(trial.indexed(family, run)), parts*tableNs(run); code < tables {
		return fmt.Errorf("it would take %d tables and about %d ns, in code %d", parts, tables, code)
	}
	return nil
}

// fromTo says which rules a run is.
func fromTo(run []*step) string {
	return fmt.Sprintf("%d rules from %s to %s", len(run), run[0].rule.Pos, run[len(run)-1].rule.Pos)
}

// steps gives classifiers their places, and is the steps that ask them.
func (e *engines) steps(made []*classifier) []*step {
	out := []*step{}
	for _, c := range made {
		e.plan.place(c)
		out = append(out, &step{verb: verbClassify, classifier: c})
	}
	return out
}

// room is how many bytes one more classifier may have.
func (e *engines) room(before []*classifier) int {
	sum := 0
	for _, c := range slices.Concat(e.plan.classifiers, before) {
		sum += len(c.data) + 64
	}
	return max(0, min(maxTable, e.plan.tables-sum))
}

// why says why a run is to become classifiers; "" if it is not.
func (e *engines) why(family ruleset.Family, run []*step) string {
	switch {
	case e.forced == EngineForks:
		return ""
	case e.forced >= EngineClassifiers:
		if len(run) < forcedFrom {
			return ""
		}
		return "forced"
	case len(run) < classifyMin:
		return ""
	case len(run) > forksUpTo:
		return fmt.Sprintf("more than %d rules", forksUpTo)
	}
	table := tableNs(run)
	trial := &indexer{repeats: maxRepeats / 4}
	forks := trial.indexed(family, run)
	code := codeNs(forks)
	if code > table {
		return fmt.Sprintf("in code about %d ns, in a table %d", code, table)
	}
	n, _ := wayThrough(forks)
	if e.inCode+n > codeUpTo {
		return fmt.Sprintf("in code about %d ns, in a table %d; there are more than %d rules in code", code, table, codeUpTo)
	}
	e.inCode += n
	e.plan.inCode = append(e.plan.inCode, fmt.Sprintf("%s: in code, about %d ns, in a table %d", fromTo(run), code, table))
	return ""
}

// longest is the comparisons of the longest way through steps.
func longest(steps []*step) int {
	sum := 0
	for _, s := range steps {
		if s.fork == nil {
			sum += max(1, len(s.tests))
			continue
		}
		most := 0
		for _, b := range s.fork.branches {
			most = max(most, longest(b.steps))
		}
		sum += bits.Len(uint(len(s.fork.branches))) + 1 + most
	}
	return sum
}

// explained adds to an error about too much code why rules are in code.
func (p *plan) explained(err error) error {
	var limit *LimitError
	if errors.As(err, &limit) && len(p.refused) > 0 {
		limit.Help = strings.Join(append(p.refused, limit.Help), "; ")
	}
	return err
}
