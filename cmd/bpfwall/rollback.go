package main

import (
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/bpfwall/bpfwall/dataplane"
)

func (a *app) rollback() *cobra.Command {
	return &cobra.Command{
		Use:   "rollback [GENERATION]",
		Short: "Go back to the rules before, or to those of a generation that history lists",
		Args:  cobra.MaximumNArgs(1),
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return a.generationNumbers(), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			fw, err := a.firewall()
			if err != nil {
				return err
			}
			var res *dataplane.Result
			if len(args) == 0 {
				res, err = fw.Rollback(cmd.Context(), a.meta(nil, ""))
			} else {
				n, bad := strconv.ParseUint(args[0], 10, 32)
				if bad != nil {
					return fail(exitUsage, "generation %q: not a number", args[0]).withHelp("`bpfwall history` lists them")
				}
				res, err = fw.Restore(cmd.Context(), uint32(n), a.meta(nil, ""))
			}
			if err != nil {
				return err
			}
			if _, err := fw.Confirm(cmd.Context()); err != nil {
				return err
			}
			return a.printResult("rollback", res, nil)
		},
	}
}

// generationNumbers completes the number of a generation, with what it is.
func (a *app) generationNumbers() []string {
	fw, err := a.firewall()
	if err != nil {
		return nil
	}
	all, _ := fw.History()
	var out []string
	for _, g := range all {
		out = append(out, fmt.Sprintf("%d\t%s %s", g.Number, when(g.Time), g.Note))
	}
	return out
}
