package main

import "github.com/spf13/cobra"

func (a *app) showSets() *cobra.Command {
	return &cobra.Command{
		Use:   "sets [NAME]...",
		Short: "The sets in force; of those named, all that is in them",
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return a.setNames(), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(_ *cobra.Command, names []string) error { return a.printSets("show-sets", names) },
	}
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
