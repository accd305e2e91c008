package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/bpfwall/bpfwall/dataplane"
	"github.com/bpfwall/bpfwall/input"
	"github.com/bpfwall/bpfwall/policies"
	"github.com/bpfwall/bpfwall/ruleset"
)

// testAnswer is the answer of test.
type testAnswer struct {
	schema
	Passed   int          `json:"passed"`
	Failed   int          `json:"failed"`
	Compiled string       `json:"compiled"` // "agrees", "differs" or why it was not asked
	Cases    []caseAnswer `json:"cases"`
}

// caseAnswer is one service of a test.
type caseAnswer struct {
	File    string   `json:"file"`
	Test    string   `json:"test"`
	Service string   `json:"service"`
	Want    string   `json:"want"`
	OK      bool     `json:"ok"`
	Problem *problem `json:"problem,omitempty"`
}

func (a *app) test() *cobra.Command {
	return &cobra.Command{
		Use:   "test [FILE]...",
		Short: "Run the tests that policies carry: by evaluating the rules and, as root, by running the compiled programs",
		RunE: func(_ *cobra.Command, files []string) error {
			answer := testAnswer{schema: schemaOf("test"), Compiled: "agrees", Cases: []caseAnswer{}}
			var failed ruleset.ErrorList
			sources := input.Sources{}
			for _, file := range a.filesOr(files) {
				in, err := a.load([]string{file}, importFlags{})
				if err != nil {
					return err
				}
				for name, text := range in.Sources {
					sources[name] = text
				}
				list, err := answer.run(file, in)
				if err != nil {
					return err
				}
				failed = append(failed, list...)
			}
			a.sources = sources
			if len(answer.Cases) == 0 {
				answer.Compiled = "not asked: there are no tests"
			}
			return a.reportTests(answer, failed)
		},
	}
}

// run runs the tests of one file through both engines, and returns the problems.
func (t *testAnswer) run(file string, in *input.Input) (ruleset.ErrorList, error) {
	if in.Policy == nil || len(in.Policy.Tests) == 0 {
		return nil, nil
	}
	var failed ruleset.ErrorList
	results := in.Policy.RunTests(nil)
	for _, r := range results {
		c := caseAnswer{File: file, Test: r.Test.Name, Service: r.Case.Service, Want: r.Case.Want.String(), OK: r.Problem == nil}
		if r.Problem == nil {
			t.Passed++
		} else {
			t.Failed++
			c.Problem = &problemsOf([]*ruleset.Error{r.Problem})[0]
			failed = append(failed, r.Problem)
		}
		t.Cases = append(t.Cases, c)
	}
	differs, err := t.compiled(in, results)
	return append(failed, differs...), err
}

// compiled runs the tests through the programs, and returns where they differ from the evaluator.
func (t *testAnswer) compiled(in *input.Input, results []policies.TestResult) (ruleset.ErrorList, error) {
	twin, err := dataplane.NewTwin(in.Ruleset)
	if errors.Is(err, dataplane.ErrNotPermitted) {
		t.Compiled = "not asked: that needs root"
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer twin.Close()
	var broken error
	judge := func(h ruleset.Hook, p *ruleset.Packet) (ruleset.Verdict, []ruleset.Trace) {
		all, err := twin.Explain(h, p)
		if err != nil {
			broken = err
			return ruleset.Verdict{}, nil
		}
		return traceOf(all)
	}
	var differs ruleset.ErrorList
	for i, r := range in.Policy.RunTests(judge) {
		if r.Got != results[i].Got || r.By != results[i].By {
			differs.Add(r.Case.Pos, "%s %q: the compiled programs say %s by %q, the evaluator %s by %q; this is a bug, please report it",
				r.Case.Want, r.Case.Service, r.Got, r.By, results[i].Got, results[i].By)
			t.Compiled = "differs"
		}
	}
	return differs, broken
}

// traceOf puts what the programs say into the evaluator's terms.
func traceOf(all []dataplane.Judgement) (ruleset.Verdict, []ruleset.Trace) {
	var traces []ruleset.Trace
	for _, j := range all {
		t := ruleset.Trace{Hook: j.Hook, Reason: j.Reason}
		if j.By != nil {
			t.Steps = []ruleset.Step{{Chain: j.By.Chain, Rule: j.By.Rule, Verdict: j.Verdict}}
		}
		traces = append(traces, t)
	}
	return all[len(all)-1].Verdict, traces
}

func (a *app) reportTests(t testAnswer, failed ruleset.ErrorList) error {
	err := a.emit(t, func() {
		a.printTests(t)
		r := a.renderer()
		for _, p := range failed {
			r.problem(r.paint.error("failed:"), p)
		}
	})
	switch {
	case err != nil:
		return err
	case t.Failed > 0 || t.Compiled == "differs":
		return &codeError{code: exitTest, err: fmt.Errorf("%d passed, %d failed", t.Passed, t.Failed), said: a.json}
	case len(t.Cases) == 0:
		a.warn("there are no tests")
	}
	return nil
}

// printTests prints a line for each test.
func (a *app) printTests(t testAnswer) {
	p := paint(a.colours(a.color, 1))
	var rows [][]string
	for i := 0; i < len(t.Cases); {
		first, ok, bad := t.Cases[i], 0, 0
		for ; i < len(t.Cases) && t.Cases[i].Test == first.Test && t.Cases[i].File == first.File; i++ {
			if t.Cases[i].OK {
				ok++
			} else {
				bad++
			}
		}
		row := []string{escape(first.File), escape(first.Test), fmt.Sprintf("%d ok", ok)}
		if bad > 0 {
			row = append(row, p.error(fmt.Sprintf("%d FAILED", bad)))
		}
		rows = append(rows, row)
	}
	a.printf("%s", columns(rows))
	a.printf("%d passed, %d failed. compiled programs: %s\n", t.Passed, t.Failed, t.Compiled)
}
