package main

import (
	"strings"

	"github.com/spf13/cobra"
)

func (a *app) check() *cobra.Command {
	var imp importFlags
	cmd := &cobra.Command{
		Use:   "check [FILE]...",
		Short: "Say everything that is wrong with rules, without root and without loading them",
		RunE: func(_ *cobra.Command, files []string) error {
			files = a.filesOr(files)
			in, err := a.load(files, imp)
			if err != nil {
				return err
			}
			return a.emit(struct {
				schema
				OK       bool      `json:"ok"`
				Rules    int       `json:"rules"`
				Tests    int       `json:"tests"`
				Warnings []problem `json:"warnings"`
			}{schemaOf("check"), true, in.Rules(), len(in.Tests()), problemsOf(in.Warnings())}, func() {
				a.printf("%s: ok, %s\n", escape(strings.Join(files, " ")), count(in.Rules(), "rule"))
			})
		},
	}
	imp.add(cmd)
	return cmd
}
