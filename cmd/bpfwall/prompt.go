package main

import (
	"bufio"
	"fmt"
	"strings"
)

// confirm shows what is at stake and asks before something changes. Without a person to ask it is an error, never an answer.
func (a *app) confirm(yes bool, question string, show func()) error {
	if yes {
		return nil
	}
	if a.noInput || a.json || !a.terminal[0] {
		return fail(exitUsage, "nobody to ask %q", question).withHelp("--yes answers it")
	}
	show()
	fmt.Fprintf(a.stderr, "%s [y/N] ", question)
	line, _ := bufio.NewReader(a.stdin).ReadString('\n')
	switch strings.ToLower(strings.TrimSpace(line)) {
	case "y", "yes":
		return nil
	}
	return fail(exitFailed, "not confirmed; nothing was changed")
}
