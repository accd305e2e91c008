package main

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/bpfwall/bpfwall/policies"
)

func (a *app) showServices() *cobra.Command {
	return &cobra.Command{
		Use:   "services [NAME]...",
		Short: "The services that policies can name without defining them; with names, only those that contain one of them",
		RunE: func(_ *cobra.Command, words []string) error {
			list := []policies.Service{}
			for _, s := range policies.Services() {
				if wanted(s.Name, words) {
					list = append(list, s)
				}
			}
			return a.emit(struct {
				schema
				Services []policies.Service `json:"services"`
			}{schemaOf("show-services"), list}, func() {
				var rows [][]string
				for _, s := range list {
					rows = append(rows, []string{s.Name, strings.Join(s.Ports, " ")})
				}
				a.printf("%s", columns(rows))
			})
		},
	}
}

// wanted reports whether a name contains one of the words; without words all are.
func wanted(name string, words []string) bool {
	for _, w := range words {
		if strings.Contains(name, strings.ToLower(w)) {
			return true
		}
	}
	return len(words) == 0
}
