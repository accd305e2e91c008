package main

import "github.com/spf13/cobra"

func (a *app) confirming() *cobra.Command {
	return &cobra.Command{
		Use:   "confirm",
		Short: "Say that the rules in force work: an apply that waits for it ends, and a boot starts with them",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			fw, err := a.firewall()
			if err != nil {
				return err
			}
			n, err := fw.Confirm(cmd.Context())
			if err != nil {
				return err
			}
			return a.emit(struct {
				schema
				Generation uint32 `json:"generation"`
			}{schemaOf("confirm"), n}, func() { a.printf("confirmed %d\n", n) })
		},
	}
}
