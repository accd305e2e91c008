package main

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/bpfwall/bpfwall/ruleset"
	"github.com/bpfwall/bpfwall/translator"
)

func (a *app) showCode() *cobra.Command {
	var flags importFlags
	var plan bool
	var engine string
	cmd := &cobra.Command{
		Use:   "code [FILE]...",
		Short: "The instructions that the rules are compiled to; of files that need not be loaded, or of what is in force",
		RunE: func(_ *cobra.Command, files []string) error {
			rs, slots, err := a.rulesOf(files, flags)
			if err != nil {
				return err
			}
			force, err := translator.ParseEngine(engine)
			if err != nil {
				return err
			}
			out, err := translator.Options{Engine: force}.Translate(rs, slots)
			if err != nil {
				return err
			}
			text := out.Listing()
			if plan {
				text = out.Plan()
			}
			return a.emit(struct {
				schema
				Code string `json:"code"`
			}{schemaOf("show-code"), text}, func() { a.printf("%s", escape(strings.ReplaceAll(text, "\t", "    "))) })
		},
	}
	flags.add(cmd)
	cmd.Flags().StringVar(&engine, "engine", "auto", "what finds the first of many rules: auto, code, forks, classifiers or vectors")
	cmd.Flags().BoolVar(&plan, "plan", false, "the steps before they become instructions")
	return cmd
}

// rulesOf are the rules of files, or without files those in force, with the slots of their counters.
func (a *app) rulesOf(files []string, flags importFlags) (*ruleset.Ruleset, translator.Slots, error) {
	if len(files) > 0 {
		in, err := a.load(files, flags)
		return in.Ruleset, translator.Slots{}, err
	}
	fw, err := a.firewall()
	if err != nil {
		return nil, translator.Slots{}, err
	}
	gen, rs, err := fw.Live()
	if err != nil {
		return nil, translator.Slots{}, err
	}
	return rs, gen.Slots, nil
}
