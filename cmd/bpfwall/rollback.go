package main

import (
	"context"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/bpfwall/bpfwall/dataplane"
)

func (a *app) rollback() *cobra.Command {
	return &cobra.Command{
		Use:   "rollback [GENERATION]",
		Short: "Go back to the rules before, or to those of a generation that history lists",
		Long: `Go back to the rules before, or to those of a generation that history lists. Rules that were tried and not confirmed are not gone
back to unless their generation is named.`,
		Args: cobra.MaximumNArgs(1),
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return a.generationNumbers(), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			fw, err := a.firewall()
			if err != nil {
				return err
			}
			res, err := a.back(cmd.Context(), fw, args)
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

// back goes back to the generation that the arguments name, or else to the one before.
func (a *app) back(ctx context.Context, fw *dataplane.Dataplane, args []string) (*dataplane.Result, error) {
	defer a.waiting("going back")()
	if len(args) == 0 {
		return a.rollbackToGood(ctx, fw)
	}
	n, err := strconv.ParseUint(args[0], 10, 32)
	if err != nil {
		return nil, fail(exitUsage, "generation %q: not a number", args[0]).withHelp("`bpfwall history` lists them")
	}
	return fw.Restore(ctx, uint32(n), a.meta(nil, ""))
}

// rollbackToGood goes back to the generation before the live one, or further if that was tried and found wanting.
func (a *app) rollbackToGood(ctx context.Context, fw *dataplane.Dataplane) (*dataplane.Result, error) {
	live, _, err := fw.Live()
	if err != nil {
		return fw.Rollback(ctx, a.meta(nil, "")) // which says what is wrong
	}
	all, err := fw.History()
	if err != nil {
		return nil, err
	}
	switch good := goodBefore(all, live); good {
	case 0:
		return nil, dataplane.ErrNoPrevious
	case live.Previous:
		return fw.Rollback(ctx, a.meta(nil, ""))
	default:
		return fw.Restore(ctx, good, a.meta(nil, ""))
	}
}

// goodBefore is the last confirmed generation that decided before the live one and is not that one under another number; 0: none.
func goodBefore(all []*dataplane.Generation, live *dataplane.Generation) uint32 {
	byNumber := map[uint32]*dataplane.Generation{}
	for _, g := range all {
		byNumber[g.Number] = g
	}
	origin := func(g *dataplane.Generation) uint32 {
		for g.RollbackTo != 0 && byNumber[g.RollbackTo] != nil {
			g = byNumber[g.RollbackTo]
		}
		return g.Number
	}
	for g := byNumber[live.Previous]; g != nil; g = byNumber[g.Previous] {
		if g.Confirmed && origin(g) != origin(live) {
			return g.Number
		}
	}
	return 0
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
