package main

import (
	"cmp"
	"context"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/bpfwall/bpfwall/dataplane"
	"github.com/bpfwall/bpfwall/input"
	"github.com/bpfwall/bpfwall/ruleset"
)

// applyFlags are the flags of apply.
type applyFlags struct {
	importFlags
	yes, dryRun, lose bool
	note              string
	confirm           time.Duration
	options           dataplane.Options
}

func (a *app) apply() *cobra.Command {
	var f applyFlags
	cmd := &cobra.Command{
		Use:   "apply [FILE]...",
		Short: "Put rules in force on every hook at once; connections and counters stay",
		Long: `Put rules in force on every hook at once. Connections stay, and so do the counters of rules that do not change.

The rules are compiled and verified aside; if anything is wrong with them, those in force stay. With --confirm, or a policy that says
confirm under [safety], the generation before comes back unless you confirm in time, here or with "bpfwall confirm" elsewhere; also if
this process is killed meanwhile.`,
		RunE: func(cmd *cobra.Command, files []string) error {
			files = a.filesOr(files)
			go dataplane.Prepare()
			in, err := a.load(files, f.importFlags)
			if err != nil {
				return err
			}
			in.Report = nil // its warnings are printed, and of many rules it is large
			return a.applyInput(cmd.Context(), in, f)
		},
	}
	f.importFlags.add(cmd)
	flags := cmd.Flags()
	flags.BoolVarP(&f.yes, "yes", "y", false, "do not ask")
	flags.BoolVarP(&f.dryRun, "dry-run", "n", false, "as plan: say what would change, and change nothing")
	flags.StringSliceVar(&f.options.Interfaces, "interface", nil, "judge only these interfaces (default: all but ports of bridges and bonds)")
	flags.BoolVar(&f.options.BesideNAT, "beside-nat", false, "be ready for nat rules that are not in force yet (those that are, apply finds)")
	flags.StringVar((*string)(&f.options.XDP), "xdp", "", "where guard is judged in XDP: off, native (veths too), generic (drivers without XDP too); default: where the card's driver has it")
	flags.UintVar(&f.options.MaxMemory, "max-memory", dataplane.UsualMemory, "MB of kernel memory that the tables of the rules may take")
	flags.BoolVar(&f.lose, "i-will-lose-this-session", false, "go ahead although this cuts the SSH session you are using")
	flags.DurationVar(&f.confirm, "confirm", 0, "go back unless confirmed within this time, e.g. 60s")
	flags.StringVar(&f.note, "note", "", "why, for the history")
	return cmd
}

// applyInput is apply once the files are read.
func (a *app) applyInput(ctx context.Context, in *input.Input, f applyFlags) error {
	if f.confirm < 0 {
		return fail(exitUsage, "--confirm %s: not a time to wait", f.confirm)
	}
	if x := f.options.XDP; x != dataplane.XDPAuto && !slices.Contains(dataplane.XDPs, x) {
		return fail(exitUsage, "--xdp %q: want off, native or generic", x)
	}
	fw, err := a.firewall()
	if err != nil {
		return err
	}
	if f.dryRun {
		_, err := a.printPlan(fw, in)
		return err
	}
	var changes []ruleset.Change
	if !f.yes || a.json { // else nobody gets to see them
		if changes, err = changesTo(fw, in.Ruleset); err != nil {
			return err
		}
	}
	if err := a.keepSession(fw, in.Ruleset, f.lose); err != nil {
		return err
	}
	if err := a.confirm(ctx, f.yes, "Apply?", func() { a.printChanges(a.stderr, changes) }); err != nil {
		return err
	}
	// What goes live is confirmed or taken back, whoever was to read of it: a pipe or a terminal that is gone must not end this process.
	signal.Ignore(syscall.SIGHUP, syscall.SIGPIPE)
	end := a.waiting("applying %s", count(in.Rules(), "rule"))
	res, err := fw.Apply(ctx, in.Ruleset, a.meta(in, f.note), f.options)
	end()
	if err != nil {
		return err
	}
	unsaid := a.printResult("apply", res, changes)
	return cmp.Or(a.prove(ctx, fw, res, a.confirmTime(in, f)), unsaid)
}

// confirmTime is how long to wait for a confirmation; 0 for none: --yes is one, unless --confirm was given too.
func (a *app) confirmTime(in *input.Input, f applyFlags) time.Duration {
	if f.confirm > 0 || f.yes || in.Policy == nil {
		return f.confirm
	}
	return in.Policy.Confirm
}
