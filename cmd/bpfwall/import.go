package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/bpfwall/bpfwall/input"
	"github.com/bpfwall/bpfwall/migrate/iptables"
	"github.com/bpfwall/bpfwall/policies"
)

// importAnswer is the answer of import: what became of every rule, and the policy unless it went to a file.
type importAnswer struct {
	*iptables.Report
	Written string `json:"written,omitempty"` // the file with the policy
	Policy  string `json:"policy,omitempty"`
	Error   string `json:"error,omitempty"`
	Exit    int    `json:"exit"`
}

func (a *app) importing() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "import iptables FILE...",
		Short: "Turn another firewall's rules into a policy, with a report of every rule",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			return fail(exitUsage, "import %q: only what iptables-save and ip6tables-save print is read", args[0]).withHelp("%s",
				"`bpfwall import iptables FILE...`: rules of ufw are in what these print, those of firewalld with FirewallBackend=iptables")
		},
		RunE: needsSubcommand,
	}
	cmd.AddCommand(a.importIptables())
	return cmd
}

func (a *app) importIptables() *cobra.Command {
	var flags importFlags
	var output string
	var force bool
	cmd := &cobra.Command{
		Use:   "iptables FILE...",
		Short: "Import what iptables-save and ip6tables-save print; files add up",
		Long: `Import what iptables-save and ip6tables-save print; files add up.

Without -o the policy goes to stdout and the report to stderr. If rules would be lost nothing is written and the exit code is 4,
unless --allow-partial says that this is meant.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, files []string) error {
			if output != "" && !force {
				if err := refuseExisting(output); err != nil {
					return err
				}
			}
			in, err := input.Load(files, flags.options(a))
			a.sources = in.Sources
			var incomplete *input.IncompleteError
			if errors.As(err, &incomplete) {
				return a.refuseImport(incomplete)
			}
			if err != nil {
				return err
			}
			a.warnings(in.Unjudged())
			return a.writeImport(in, output)
		},
	}
	flags.add(cmd)
	cmd.Flags().StringVarP(&output, "output", "o", "", "write the policy to this file")
	cmd.Flags().BoolVar(&force, "force", false, "replace the file if it is there")
	return cmd
}

// refuseImport reports every rule, and that nothing was written.
func (a *app) refuseImport(e *input.IncompleteError) error {
	err := fail(exitIncomplete, "nothing was written: %s", e).withHelp("--allow-partial writes the policy without them")
	if a.json {
		err.said = true
		return errors.Join(a.emit(importAnswer{Report: e.Report, Error: e.Error(), Exit: exitIncomplete}, nil), err)
	}
	fmt.Fprint(a.stderr, escape(e.Report.Text()))
	return err
}

// writeImport writes the policy, then says what became of every rule.
func (a *app) writeImport(in *input.Input, output string) error {
	if in.Report == nil {
		return fail(exitUsage, "%s: is a policy already", in.Files[0])
	}
	text, err := policies.Write(in.Ruleset, fmt.Sprintf("Imported from %s by bpfwall %s.", strings.Join(in.Files, ", "), version))
	if err != nil {
		return err
	}
	if output == "" && !a.json {
		a.printf("%s", text)
		if !a.quiet {
			fmt.Fprint(a.stderr, escape(in.Report.Text()))
		}
		return nil
	}
	answer := importAnswer{Report: in.Report, Written: output}
	if output == "" {
		answer.Policy = string(text)
	} else if err := save(output, text); err != nil {
		return err
	}
	return a.emit(answer, func() {
		a.printf("%swrote %s (%s)\n", escape(in.Report.Text()), output, count(in.Rules(), "rule"))
	})
}
