package main

import (
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/bpfwall/bpfwall/input"
)

// importFlags are the flags of every verb that reads iptables-save files.
type importFlags struct {
	partial bool
	ipsets  []string
}

func (f *importFlags) add(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&f.partial, "allow-partial", false, "go on without the rules of an iptables-save file that have no equivalent")
	cmd.Flags().StringArrayVar(&f.ipsets, "ipset", nil, "what `ipset save` printed, for rules that match sets")
}

func (f *importFlags) options(a *app) input.Options {
	return input.Options{Stdin: a.stdin, Partial: f.partial, IPSets: f.ipsets}
}

// load reads and checks rule files, prints their warnings, and keeps their text for error messages.
func (a *app) load(files []string, f importFlags) (*input.Input, error) {
	end := a.waiting("reading %s", strings.Join(files, " "))
	in, err := input.Load(files, f.options(a))
	end()
	a.sources = in.Sources
	switch {
	case err == nil:
		a.warnings(in.Warnings())
	case errors.Is(err, fs.ErrNotExist) && slices.Equal(files, a.filesOr(nil)):
		return in, fail(exitFailed, "%w", err).withHelp("name the file with the rules; this one is meant where none is named")
	}
	return in, err
}

// defaultPolicy is the policy of verbs that are given no file.
const defaultPolicy = "/etc/bpfwall/policy.toml"

// filesOr are the files of the command line, or else the policy of this host.
func (a *app) filesOr(files []string) []string {
	if len(files) > 0 {
		return files
	}
	if name := a.getenv("BPFWALL_POLICY"); name != "" {
		return []string{name}
	}
	return []string{filepath.Join(a.root, defaultPolicy)}
}
