package main

import (
	"encoding/json"
	"fmt"
)

// schema names the shape of a JSON answer. Within v1 members are only added.
type schema struct {
	Schema string `json:"schema"`
}

func schemaOf(verb string) schema { return schema{"bpfwall." + verb + "/v1"} }

// emit prints a result: as JSON with --json, else as text, unless --quiet.
func (a *app) emit(object any, text func()) error {
	if a.json {
		enc := json.NewEncoder(a.stdout)
		enc.SetIndent("", "  ")
		return enc.Encode(object)
	}
	if !a.quiet {
		text()
	}
	return nil
}

// printf writes a result to stdout.
func (a *app) printf(format string, args ...any) { fmt.Fprintf(a.stdout, format, args...) }

// warn writes a warning to stderr.
func (a *app) warn(format string, args ...any) {
	if !a.quiet {
		fmt.Fprintf(a.stderr, "warning: %s\n", escape(fmt.Sprintf(format, args...)))
	}
}
