package main

import (
	"io/fs"
	"path"
	"strings"

	"github.com/spf13/cobra"

	"github.com/bpfwall/bpfwall/policies"
)

// exampleAnswer is a policy that comes with bpfwall.
type exampleAnswer struct {
	Name   string `json:"name"`
	About  string `json:"about"` // its first line
	Policy string `json:"policy"`
}

func (a *app) showExamples() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "examples [NAME]",
		Short: "Policies to start from; with a name, that one",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			list, err := examples()
			if err != nil {
				return err
			}
			if len(args) > 0 {
				if list = named(list, args[0]); len(list) == 0 {
					return fail(exitUsage, "example %q: no such example", args[0]).withHelp("`bpfwall show examples` lists them")
				}
			}
			return a.emit(struct {
				schema
				Examples []exampleAnswer `json:"examples"`
			}{schemaOf("show-examples"), list}, func() { a.printExamples(list, len(args) > 0) })
		},
	}
	cmd.ValidArgsFunction = func(*cobra.Command, []string, string) (names []string, _ cobra.ShellCompDirective) {
		list, _ := examples()
		for _, e := range list {
			names = append(names, e.Name+"\t"+e.About)
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
	return cmd
}

func examples() (list []exampleAnswer, err error) {
	files, err := fs.Glob(policies.Examples, "examples/*.toml")
	for _, file := range files {
		text, err := fs.ReadFile(policies.Examples, file)
		if err != nil {
			return nil, err
		}
		about, _, _ := strings.Cut(string(text), "\n")
		list = append(list, exampleAnswer{strings.TrimSuffix(path.Base(file), ".toml"), strings.TrimPrefix(about, "# "), string(text)})
	}
	return list, err
}

func named(list []exampleAnswer, name string) []exampleAnswer {
	for _, e := range list {
		if e.Name == name {
			return []exampleAnswer{e}
		}
	}
	return nil
}

// printExamples prints the text of one, or says what there are.
func (a *app) printExamples(list []exampleAnswer, text bool) {
	if text {
		a.printf("%s", list[0].Policy)
		return
	}
	var rows [][]string
	for _, e := range list {
		rows = append(rows, []string{e.Name, e.About})
	}
	a.printf("%s", columns(rows))
}
