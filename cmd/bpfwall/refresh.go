package main

import "github.com/spf13/cobra"

func (a *app) refresh() *cobra.Command {
	return &cobra.Command{
		Use:   "refresh",
		Short: "Adapt to a host that has changed: judge new interfaces too, under the rules in force",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			fw, err := a.firewall()
			if err != nil {
				return err
			}
			res, err := fw.Refresh(cmd.Context())
			if err != nil {
				return err
			}
			return a.emit(a.resultOf("refresh", res, nil), func() {
				a.printf("generation %d stays in force, on %s\n", res.Generation, count(len(res.Hooks), "hook"))
			})
		},
	}
}
