package main

import (
	"errors"
	"io"
	"net/netip"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/bpfwall/bpfwall/dataplane"
	"github.com/bpfwall/bpfwall/policies"
	"github.com/bpfwall/bpfwall/ruleset"
	"github.com/bpfwall/bpfwall/translator"
)

func (a *app) set() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "set",
		Short: "Change and look at sets of the rules in force, at once and without a reload",
		Long: `Change and look at sets of the rules in force, at once and without a reload.

What the rules list of a set changes with the rules. What is added here, or by rules, stays when rules are applied or rolled back.`,
	}
	cmd.AddCommand(a.setAdd(), a.setDelete(), a.setFlush(), a.setShow(), a.setList(), a.setTest(), a.setRefresh(), a.setSave())
	return cmd
}

// setChanged is the answer of verbs that change a set.
type setChanged struct {
	schema
	Set     string `json:"set"`
	Added   int    `json:"added"`
	Removed int    `json:"removed"`
	Asked   int    `json:"asked"` // elements that were named
}

// elementFlags name elements on the command line.
type elementFlags struct{ file string }

func (f *elementFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.file, "file", "", "also those in this file, one a line, # for comments; - is stdin")
}

// read reads the elements of a set that the arguments and the file name.
func (f *elementFlags) read(a *app, set string, args []string) ([]ruleset.Tuple, error) {
	var parts []ruleset.Part
	if fw, err := a.firewall(); err == nil {
		parts, _ = partsOf(fw, set)
	}
	var all []ruleset.Tuple
	for _, arg := range args {
		list, err := parseTuples(parts, "element", []byte(arg))
		if err != nil {
			a.sources = map[string][]byte{"element": []byte(arg)}
			return nil, &codeError{code: exitUsage, err: err}
		}
		all = append(all, list...)
	}
	if f.file != "" {
		text, err := a.readList(f.file)
		if err != nil {
			return nil, err
		}
		list, err := parseTuples(parts, f.file, text)
		if err != nil {
			a.sources = map[string][]byte{f.file: text}
			return nil, err
		}
		all = append(all, list...)
	}
	if len(args) == 0 && f.file == "" {
		return nil, fail(exitUsage, "elements: none are named").withHelp("name addresses, prefixes or ranges, or a --file of them")
	}
	return all, nil
}

// parseTuples reads elements, one a line: of a set of addresses prefixes and ranges too.
func parseTuples(parts []ruleset.Part, name string, text []byte) (out []ruleset.Tuple, err error) {
	if len(parts) > 0 {
		return policies.ParseTuples(parts, name, text)
	}
	list, err := parseElements(name, text)
	for _, p := range list {
		out = append(out, ruleset.Tuple{Net: p})
	}
	return out, err
}

func (a *app) readList(name string) ([]byte, error) {
	if name == "-" {
		return io.ReadAll(a.stdin)
	}
	return os.ReadFile(name)
}

// parseElements reads addresses, prefixes and ranges, the latter as the prefixes that make them.
func parseElements(name string, text []byte) ([]netip.Prefix, error) {
	ranges, err := policies.ParseList(name, text)
	if err != nil {
		return nil, err
	}
	var out []netip.Prefix
	var errs ruleset.ErrorList
	for _, r := range ranges {
		list, ok := translator.Prefixes(r)
		if !ok {
			errs.Add(ruleset.Pos{File: name}, "address %q: its mask is no prefix", r)
		}
		out = append(out, list...)
	}
	return out, errs.Err()
}

func (a *app) setAdd() *cobra.Command {
	var from elementFlags
	var stay time.Duration
	var comment string
	cmd := &cobra.Command{
		Use:   "add NAME [ELEMENT]...",
		Short: "Add addresses, prefixes and ranges to a dynamic set; those that are there get their time anew",
		Args:  cobra.MinimumNArgs(1), ValidArgsFunction: a.completeSet,
		RunE: func(cmd *cobra.Command, args []string) error {
			list, err := from.read(a, args[0], args[1:])
			if err != nil {
				return err
			}
			if cmd.Flags().Changed("timeout") && stay == 0 {
				stay = -1
			}
			elements := make([]dataplane.NewElement, len(list))
			for i, p := range list {
				elements[i] = dataplane.NewElement{Tuple: p, Timeout: stay, Comment: comment}
			}
			return a.changeSet("set-add", args[0], len(list), func(fw *dataplane.Dataplane) (added, removed int, err error) {
				added, err = fw.AddElements(cmd.Context(), args[0], elements)
				return added, 0, err
			})
		},
	}
	from.add(cmd)
	cmd.Flags().StringVar(&comment, "comment", "", "why, for readers: set show tells it")
	cmd.Flags().DurationVar(&stay, "timeout", 0, "how long they stay, such as 90s or 24h; 0 is for good; if absent, the set's time")
	return cmd
}

func (a *app) setDelete() *cobra.Command {
	var from elementFlags
	cmd := &cobra.Command{
		Use: "del NAME [ELEMENT]...", Aliases: []string{"delete"},
		Short: "Take elements out of a dynamic set",
		Args:  cobra.MinimumNArgs(1), ValidArgsFunction: a.completeSet,
		RunE: func(cmd *cobra.Command, args []string) error {
			list, err := from.read(a, args[0], args[1:])
			if err != nil {
				return err
			}
			return a.changeSet("set-del", args[0], len(list), func(fw *dataplane.Dataplane) (added, removed int, err error) {
				removed, err = fw.DeleteElements(cmd.Context(), args[0], list)
				return 0, removed, err
			})
		},
	}
	from.add(cmd)
	return cmd
}

func (a *app) setFlush() *cobra.Command {
	return &cobra.Command{
		Use: "flush NAME", Short: "Take all elements out of a dynamic set, but what the rules list",
		Args: cobra.ExactArgs(1), ValidArgsFunction: a.completeSet,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.changeSet("set-flush", args[0], 0, func(fw *dataplane.Dataplane) (added, removed int, err error) {
				removed, err = fw.FlushSet(cmd.Context(), args[0])
				return 0, removed, err
			})
		},
	}
}

// changeSet makes a change and says what it did.
func (a *app) changeSet(verb, name string, asked int, change func(*dataplane.Dataplane) (added, removed int, err error)) error {
	fw, err := a.firewall()
	if err != nil {
		return err
	}
	added, removed, err := change(fw)
	if err != nil {
		return setError(name, err)
	}
	return a.emit(setChanged{schemaOf(verb), name, added, removed, asked}, func() {
		switch {
		case verb == "set-add":
			a.printf("added %s to @%s", count(added, "element"), escape(name))
			if known := asked - added; known > 0 {
				a.printf(", %s there before", grouped(uint64(known)))
			}
			a.printf("\n")
		case asked > removed:
			a.printf("removed %s from @%s, %s not in it\n", count(removed, "element"), escape(name), grouped(uint64(asked-removed)))
		default:
			a.printf("removed %s from @%s\n", count(removed, "element"), escape(name))
		}
	})
}

// setError adds what to do about an error.
func setError(name string, err error) error {
	switch {
	case errors.Is(err, dataplane.ErrNotDynamic):
		return fail(exitRefused, "%w", err).withHelp("change its list in the rules and apply, or declare it with dynamic = true")
	case errors.Is(err, dataplane.ErrSetFull):
		return fail(exitFailed, "%w", err).withHelp("give it a larger max in the rules and apply, or take elements out")
	case errors.Is(err, dataplane.ErrNoSet):
		return fail(exitFailed, "%w", err).withHelp("`bpfwall set list` shows those that are loaded")
	case errors.Is(err, dataplane.ErrNoFeed):
		return fail(exitRefused, "%w", err).withHelp("only sets with a url, or a file and refresh, are fetched")
	}
	return err
}

func (a *app) completeSet(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return a.setNames(), cobra.ShellCompDirectiveNoFileComp
}

func (a *app) setSave() *cobra.Command {
	return &cobra.Command{
		Use: "save", Short: "Write the elements of all dynamic sets to disk, for the next boot",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			fw, err := a.firewall()
			if err != nil {
				return err
			}
			n, err := fw.SaveSets(cmd.Context())
			if err != nil {
				return err
			}
			return a.emit(struct {
				schema
				Elements int `json:"elements"`
			}{schemaOf("set-save"), n}, func() { a.printf("saved %s\n", count(n, "element")) })
		},
	}
}
