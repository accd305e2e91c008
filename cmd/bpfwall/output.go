package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
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
		enc.SetEscapeHTML(false) // it is no part of a web page, and people read it
		enc.SetIndent("", "  ")
		return enc.Encode(object)
	}
	if !a.quiet {
		text()
	}
	return nil
}

// answers is stdout, and remembers what went wrong there: an answer that is cut short is a failure.
type answers struct {
	io.Writer
	err error
}

func (w *answers) Write(p []byte) (int, error) {
	n, err := w.Writer.Write(p)
	w.err = cmp.Or(w.err, err)
	return n, err
}

// printf writes a result to stdout.
func (a *app) printf(format string, args ...any) { fmt.Fprintf(a.stdout, format, args...) }

// warn writes a warning to stderr.
func (a *app) warn(format string, args ...any) {
	if !a.quiet {
		fmt.Fprintf(a.stderr, "warning: %s\n", escape(fmt.Sprintf(format, args...)))
	}
}
