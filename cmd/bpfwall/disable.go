package main

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/bpfwall/bpfwall/dataplane"
)

func (a *app) disable() *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use:   "disable",
		Short: "Take the firewall away: everything passes, connections and counters are forgotten",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			fw, err := a.firewall()
			if errors.Is(err, dataplane.ErrNoNamespace) && dataplane.Forget(cmd.Context(), a.config()) == nil {
				return a.emit(schemaOf("disable"), func() { a.printf("the namespace is gone, and now what was left of its firewall is, too\n") })
			}
			if err != nil {
				return err
			}
			if err := a.confirm(cmd.Context(), yes, "Let every packet pass?", func() {}); err != nil {
				return err
			}
			said := "the firewall is off: every packet passes. connections: not cut, no longer tracked. counters: gone"
			err = fw.Disable(cmd.Context())
			if errors.Is(err, dataplane.ErrNotLoaded) {
				said, err = "the firewall was off already", nil
			}
			if err != nil {
				return err
			}
			return a.emit(schemaOf("disable"), func() { a.printf("%s\n", said) })
		},
	}
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	return cmd
}
