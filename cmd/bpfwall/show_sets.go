package main

import (
	"github.com/spf13/cobra"

	"github.com/bpfwall/bpfwall/ruleset"
)

// setAnswer is a set in force.
type setAnswer struct {
	Name    string       `json:"name"`
	Entries int          `json:"entries"`
	Members []string     `json:"members,omitempty"` // of sets that were asked for by name
	Pos     *ruleset.Pos `json:"pos,omitempty"`
}

func (a *app) showSets() *cobra.Command {
	return &cobra.Command{
		Use:   "sets [NAME]...",
		Short: "The sets in force; of those named, the members",
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return a.setNames(), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(_ *cobra.Command, names []string) error {
			fw, err := a.firewall()
			if err != nil {
				return err
			}
			sets, err := fw.Sets()
			if err != nil {
				return err
			}
			list, err := setAnswers(sets, names)
			if err != nil {
				return err
			}
			return a.emit(struct {
				schema
				Sets []setAnswer `json:"sets"`
			}{schemaOf("show-sets"), list}, func() { a.printSets(list) })
		},
	}
}

func setAnswers(sets []*ruleset.Set, names []string) ([]setAnswer, error) {
	list := []setAnswer{}
	found := map[string]*ruleset.Set{}
	for _, s := range sets {
		found[s.Name] = s
		if len(names) == 0 {
			list = append(list, setAnswerOf(s))
		}
	}
	for _, name := range names {
		s := found[name]
		if s == nil {
			return nil, fail(exitFailed, "set %q: not loaded", name)
		}
		answer := setAnswerOf(s)
		for _, m := range s.Members {
			answer.Members = append(answer.Members, m.String())
		}
		list = append(list, answer)
	}
	return list, nil
}

func setAnswerOf(s *ruleset.Set) setAnswer {
	answer := setAnswer{Name: s.Name, Entries: len(s.Members)}
	if s.Pos.Line > 0 {
		answer.Pos = &s.Pos
	}
	return answer
}

func (a *app) printSets(list []setAnswer) {
	var rows [][]string
	for _, s := range list {
		if s.Members == nil {
			rows = append(rows, []string{escape(s.Name), grouped(uint64(s.Entries)), place(s.Pos)})
		}
		for _, m := range s.Members {
			rows = append(rows, []string{m})
		}
	}
	a.printf("%s", columns(rows))
}

// setNames completes the name of a set.
func (a *app) setNames() []string {
	fw, err := a.firewall()
	if err != nil {
		return nil
	}
	sets, _ := fw.Sets()
	var out []string
	for _, s := range sets {
		out = append(out, s.Name)
	}
	return out
}
