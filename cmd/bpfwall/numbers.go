package main

import (
	"fmt"
	"strconv"
)

// count is "1 hook", "2 hooks".
func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// pad is a number in a column of three.
func pad(n int) string { return fmt.Sprintf("%3d", n) }

// grouped is a number with a thin gap at every third digit: 1 234 567.
func grouped(n uint64) string {
	s := strconv.FormatUint(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + " " + s[i:]
	}
	return s
}
