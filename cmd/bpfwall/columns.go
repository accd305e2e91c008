package main

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/bpfwall/bpfwall/ruleset"
)

// columns aligns the cells of rows with spaces. A cell may be coloured: escape sequences have no width.
func columns(rows [][]string) string {
	var widths []int
	for _, row := range rows {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], width(cell))
		}
	}
	var out strings.Builder
	for _, row := range rows {
		var line strings.Builder
		for i, cell := range row {
			line.WriteString(cell)
			line.WriteString(strings.Repeat(" ", widths[i]-width(cell)+2))
		}
		out.WriteString(strings.TrimRight(line.String(), " "))
		out.WriteByte('\n')
	}
	return out.String()
}

// width is the columns that a cell takes on a terminal.
func width(cell string) int {
	n := 0
	for {
		before, rest, coloured := strings.Cut(cell, "\x1b[")
		n += utf8.RuneCountInString(before)
		if !coloured {
			return n
		}
		_, cell, _ = strings.Cut(rest, "m")
	}
}

// place is "file:line", or nothing.
func place(pos *ruleset.Pos) string {
	if pos == nil || pos.Line == 0 {
		return ""
	}
	return escape(fmt.Sprintf("%s:%d", pos.File, pos.Line))
}

// splitLines are the lines of a table.
func splitLines(s string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(strings.TrimSuffix(s, "\n"), "\n")
}
