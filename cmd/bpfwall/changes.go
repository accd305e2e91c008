package main

import (
	"fmt"
	"io"

	"github.com/bpfwall/bpfwall/ruleset"
)

// marks stand before changes, also where there are no colours.
var marks = map[ruleset.ChangeKind]string{ruleset.Added: "+", ruleset.Removed: "-", ruleset.Changed: "~", ruleset.Moved: "↕"}

// fewChanges is how many changes a terminal gets.
const fewChanges = 60

// printChanges lists what would change, a line each, and the sum.
func (a *app) printChanges(w io.Writer, changes []ruleset.Change) {
	var rows [][]string
	sum := map[ruleset.ChangeKind]int{}
	for i, c := range changes {
		sum[c.Kind]++
		if i < fewChanges {
			rows = append(rows, []string{"  " + marks[c.Kind], escape(c.ID), changeText(c), place(&c.Pos)})
		}
	}
	fmt.Fprint(w, columns(rows))
	if more := len(changes) - len(rows); more > 0 {
		fmt.Fprintf(w, "  … and %d more\n", more)
	}
	fmt.Fprintf(w, "%d to add, %d to change, %d to remove, %d to move\n",
		sum[ruleset.Added], sum[ruleset.Changed], sum[ruleset.Removed], sum[ruleset.Moved])
}

// changeText is what the thing did and does.
func changeText(c ruleset.Change) string {
	switch c.Kind {
	case ruleset.Added:
		return cut(escape(c.After), 0)
	case ruleset.Changed:
		return cut(escape(c.Before+" → "+c.After), 0)
	}
	return cut(escape(c.Before), 0)
}
