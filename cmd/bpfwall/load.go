package main

import "github.com/bpfwall/bpfwall/input"

// load reads and checks rule files, and keeps their text for error messages.
func (a *app) load(files []string) (*input.Input, error) {
	in, err := input.Load(files, input.Options{Stdin: a.stdin})
	a.sources = in.Sources
	return in, err
}
