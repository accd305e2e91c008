package main

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/bpfwall/bpfwall/dataplane"
)

func (a *app) boot() *cobra.Command {
	return &cobra.Command{
		Use:   "boot",
		Short: "Put the last confirmed rules in force, as at the start of the machine; if some are in force already, leave them",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			fw, err := a.firewall()
			if err != nil {
				return err
			}
			_, err = fw.Status()
			if err == nil {
				return a.emit(schemaOf("boot"), func() { a.printf("rules are in force already\n") })
			}
			if !errors.Is(err, dataplane.ErrNotLoaded) && !errors.Is(err, dataplane.ErrPinsGone) {
				return err
			}
			n, err := fw.Saved()
			if err != nil {
				return err
			}
			res, err := fw.Restore(cmd.Context(), n, a.meta(nil, "boot"))
			if err != nil {
				return err
			}
			if _, err := fw.Confirm(cmd.Context()); err != nil {
				return err
			}
			return a.printResult("boot", res, nil)
		},
	}
}
