package main

import (
	_ "embed"
	"fmt"
	"strings"
)

// equivalents are changes that somebody has looked at and that change nothing which a test could see. A key, as survivors are printed
// with it, and below it the reason, indented.
//
//go:embed equivalent.txt
var equivalents string

// readEquivalents reads reasons by key. Keys below one another share the reason that follows.
func readEquivalents(text string) (map[string]string, error) {
	out := map[string]string{}
	var keys []string
	for i, line := range strings.Split(text, "\n") {
		switch {
		case line == "" || strings.HasPrefix(line, "#"):
		case !strings.HasPrefix(line, "\t"):
			if len(keys) > 0 && out[keys[0]] != "" {
				keys = nil
			}
			if _, ok := out[line]; ok {
				return nil, fmt.Errorf("equivalent.txt:%d: %q is there already", i+1, line)
			}
			keys = append(keys, line)
			out[line] = ""
		case len(keys) == 0:
			return nil, fmt.Errorf("equivalent.txt:%d: a reason without a change", i+1)
		default:
			for _, k := range keys {
				out[k] = strings.TrimSpace(out[k] + " " + strings.TrimSpace(line))
			}
		}
	}
	for key, reason := range out {
		if reason == "" {
			return nil, fmt.Errorf("equivalent.txt: %q has no reason", key)
		}
	}
	return out, nil
}
