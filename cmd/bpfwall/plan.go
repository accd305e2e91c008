package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/bpfwall/bpfwall/dataplane"
	"github.com/bpfwall/bpfwall/input"
	"github.com/bpfwall/bpfwall/ruleset"
	"github.com/bpfwall/bpfwall/translator"
)

// planAnswer is the answer of plan, and of apply -n.
type planAnswer struct {
	schema
	Changes []ruleset.Change    `json:"changes"`
	Hooks   []dataplane.HookUse `json:"hooks"` // of tc
	Passed  int                 `json:"tests_passed"`
	Failed  int                 `json:"tests_failed"`
}

func (a *app) plan() *cobra.Command {
	var flags importFlags
	var detailed bool
	cmd := &cobra.Command{
		Use:   "plan [FILE]...",
		Short: "Say what apply would change, and run the policy's tests; change nothing",
		RunE: func(_ *cobra.Command, files []string) error {
			in, err := a.load(a.filesOr(files), flags)
			if err != nil {
				return err
			}
			fw, err := a.firewall()
			if err != nil {
				return err
			}
			changed, err := a.printPlan(fw, in)
			if err == nil && changed && detailed {
				return &codeError{code: exitChanges, err: fmt.Errorf("changes are pending"), said: true}
			}
			return err
		},
	}
	flags.add(cmd)
	cmd.Flags().BoolVar(&detailed, "detailed-exitcode", false, "exit with 2 if there is something to change")
	return cmd
}

// printPlan compares rules with those in force, and reports whether there is a difference. It compiles them, so that what the compiler
// refuses is known.
func (a *app) printPlan(fw *dataplane.Dataplane, in *input.Input) (changed bool, err error) {
	changes, err := changesTo(fw, in.Ruleset)
	if err != nil {
		return false, err
	}
	end := a.waiting("compiling %s", count(in.Rules(), "rule"))
	_, err = translator.Translate(in.Ruleset, translator.Slots{})
	end()
	if err != nil {
		return false, err
	}
	hooks, err := fw.Uses(in.Ruleset)
	if err != nil {
		return false, err
	}
	answer := planAnswer{schema: schemaOf("plan"), Changes: changes, Hooks: hooks}
	var failed ruleset.ErrorList
	if in.Policy != nil {
		for _, r := range in.Policy.RunTests(nil) {
			if answer.Passed++; r.Problem != nil {
				answer.Passed--
				answer.Failed++
				failed = append(failed, r.Problem)
			}
		}
	}
	err = a.emit(answer, func() {
		a.printChanges(a.stdout, answer.Changes)
		a.printIdle(hooks)
		a.printf("tests: %d passed, %d failed\n", answer.Passed, answer.Failed)
		r := a.renderer()
		for _, p := range failed {
			r.problem(r.paint.error("failed:"), p)
		}
	})
	if err == nil && answer.Failed > 0 {
		err = &codeError{code: exitTest, err: fmt.Errorf("%s failed", count(answer.Failed, "test")), said: a.json}
	}
	return len(answer.Changes) > 0, err
}

// printIdle says where nothing will be attached, and why there is something elsewhere.
func (a *app) printIdle(hooks []dataplane.HookUse) {
	idle := func(h dataplane.HookUse) bool { return len(h.For) == 0 }
	if !slices.ContainsFunc(hooks, idle) {
		return
	}
	for _, h := range hooks {
		if idle(h) {
			a.printf("tc %s: not attached, there is nothing to decide; what policies accept there is not counted\n", h.Direction)
			continue
		}
		a.printf("tc %s: attached, for %s\n", h.Direction, strings.Join(h.For, ", "))
	}
}
