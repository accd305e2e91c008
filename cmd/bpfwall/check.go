package main

import (
	"github.com/spf13/cobra"
)

func (a *app) check() *cobra.Command {
	return &cobra.Command{
		Use:   "check FILE...",
		Short: "Say everything that is wrong with rules, without root and without loading them",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, files []string) error {
			in, err := a.load(files)
			if err != nil {
				return err
			}
			return a.emit(struct {
				schema
				OK    bool `json:"ok"`
				Rules int  `json:"rules"`
			}{schemaOf("check"), true, in.Rules()}, func() { a.printf("ok: %d rules\n", in.Rules()) })
		},
	}
}
