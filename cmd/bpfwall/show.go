package main

import "github.com/spf13/cobra"

func (a *app) show() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "show rules|sets|recent|flows|code|services|examples",
		Short: "Show what is loaded, with counters",
		Args:  cobra.NoArgs,
		RunE:  needsSubcommand,
	}
	cmd.AddCommand(a.showRules(), a.showSets(), a.showRecent(), a.showFlows(), a.showCode(), a.showServices(), a.showExamples())
	return cmd
}

// needsSubcommand is what a command does that only groups others.
func needsSubcommand(cmd *cobra.Command, _ []string) error {
	return fail(exitUsage, "%s: what?", cmd.CommandPath()).withHelp("%s", cmd.UseLine())
}
