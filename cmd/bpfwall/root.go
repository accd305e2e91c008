package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/bpfwall/bpfwall/input"
)

// app is one run of the program: the world outside, the flags that every verb has, and the texts that errors quote.
type app struct {
	*env
	json, quiet, noInput bool
	color, netns, root   string
	started              bool // the command line was right, the verb runs
	sources              input.Sources
	lines                *bufio.Reader // of stdin, once somebody was asked
	progress             *progress     // of what is being done; nil: nobody is told
}

// run runs one command line and returns the exit code.
func run(e *env, args []string) int {
	stdout := &answers{Writer: e.stdout}
	e.stdout = stdout
	a := &app{env: e}
	root := a.command()
	root.SetArgs(replaceArrows(args))
	root.SetIn(e.stdin)
	root.SetOut(e.stdout)
	root.SetErr(e.stderr)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	cmd, err := root.ExecuteContextC(ctx)
	if err != nil && !a.started {
		a.json = a.json || slices.Contains(args, "--json") // flags may not have been read that far
		err = usage(cmd, err)
	}
	if err == nil && stdout.err != nil {
		err = fail(exitFailed, "the answer is cut short: %w", stdout.err)
	}
	if err != nil {
		a.report(verbOf(cmd), err)
	}
	return code(err)
}

// verbOf is a command's name in schemas: check, show-rules, import.
func verbOf(cmd *cobra.Command) string {
	path := strings.Fields(cmd.CommandPath())[1:]
	switch {
	case len(path) == 0:
		return "usage"
	case path[0] == "import":
		return path[0]
	}
	return strings.Join(path, "-")
}

// replaceArrows makes "->" an argument that does not look like a flag.
func replaceArrows(args []string) []string {
	out := slices.Clone(args)
	for i, arg := range out {
		if arg == "->" {
			out[i] = arrow
		}
	}
	return out
}

// usage is an error of the command line itself.
func usage(cmd *cobra.Command, err error) error {
	var coded *codeError
	if errors.As(err, &coded) {
		return err
	}
	return fail(exitUsage, "%w", err).withHelp("`%s --help` shows how to call it", cmd.CommandPath())
}

// command is the whole command line.
func (a *app) command() *cobra.Command {
	root := &cobra.Command{
		Use:           "bpfwall",
		Short:         "A host firewall that compiles its rules to eBPF",
		SilenceErrors: true,
		SilenceUsage:  true,
		PersistentPreRunE: func(*cobra.Command, []string) error {
			if err := a.flags(); err != nil {
				return err
			}
			a.started = true
			return nil
		},
	}
	root.CompletionOptions.HiddenDefaultCmd = false
	flags := root.PersistentFlags()
	flags.BoolVar(&a.json, "json", a.getenv("BPFWALL_JSON") == "1", "print one JSON object")
	flags.BoolVarP(&a.quiet, "quiet", "q", false, "print only errors")
	flags.StringVar(&a.color, "color", "auto", "colours: auto, always or never")
	flags.BoolVar(&a.noInput, "no-input", a.getenv("BPFWALL_NO_INPUT") != "", "never ask")
	flags.StringVar(&a.netns, "netns", "", "the firewall of this network namespace (ip netns)")
	flags.StringVar(&a.root, "root", "", "keep state and pins below this folder, for trials")
	complete(root, "color", "auto", "always", "never")
	for _, verb := range a.verbs() {
		root.AddCommand(verb)
	}
	root.AddCommand(&cobra.Command{Use: "exit-codes", Short: "The exit codes", Long: exitCodes})
	return root
}

// complete lists the values of a flag for the shell.
func complete(cmd *cobra.Command, flag string, values ...string) {
	_ = cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
}

// verbs are the commands, a file each, in the order in which help lists them.
func (a *app) verbs() []*cobra.Command {
	return []*cobra.Command{
		a.check(), a.importing(), a.plan(), a.apply(), a.confirming(), a.rollback(), a.history(), a.status(), a.show(), a.set(), a.explain(),
		a.test(), a.watch(), a.forget(), a.refresh(), a.boot(), a.disable(), a.version(), a.sentinel(),
	}
}

// flags checks the values of the flags that every verb has.
func (a *app) flags() error {
	switch a.color {
	case "auto", "always", "never":
		return nil
	}
	return fmt.Errorf("--color %q: want auto, always or never", a.color)
}
