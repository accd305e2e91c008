package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/bpfwall/bpfwall/services"
)

func (a *app) showServices() *cobra.Command {
	type service struct {
		Name  string   `json:"name"`
		Ports []string `json:"ports"`
	}
	return &cobra.Command{
		Use:   "services [NAME]...",
		Short: "The built-in names of ports; with names, only those that contain one of them",
		RunE: func(_ *cobra.Command, words []string) error {
			list := []service{}
			for _, name := range services.Names() {
				if wanted(name, words) {
					list = append(list, service{name, ports(name)})
				}
			}
			return a.emit(struct {
				schema
				Services []service `json:"services"`
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

func ports(name string) []string {
	var out []string
	for _, proto := range services.Transports(name) {
		port, _ := services.Port(name, proto)
		out = append(out, fmt.Sprintf("%s/%d", proto, port))
	}
	return out
}
