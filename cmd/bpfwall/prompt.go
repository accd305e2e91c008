package main

import (
	"bufio"
	"context"
	"fmt"
	"strings"
)

// confirm shows what is at stake and asks before something changes. Without a person to ask it is an error, never an answer.
func (a *app) confirm(ctx context.Context, yes bool, question string, show func()) error {
	if yes {
		return nil
	}
	if !a.person() {
		return fail(exitUsage, "nobody to ask %q", question).withHelp("--yes answers it")
	}
	show()
	fmt.Fprintf(a.stderr, "%s [y/N] ", question)
	select {
	case yes = <-a.answer():
	case <-ctx.Done():
	}
	if !yes {
		return fail(exitFailed, "not confirmed; nothing was changed")
	}
	return nil
}

// person reports whether there is somebody to ask.
func (a *app) person() bool { return a.terminal[0] && !a.noInput && !a.json }

// answer reads a line and says whether it is a yes. Without a person nothing comes.
func (a *app) answer() <-chan bool {
	out := make(chan bool, 1)
	if !a.person() {
		return out
	}
	if a.lines == nil {
		a.lines = bufio.NewReader(a.stdin) // one for all questions: it may have read ahead
	}
	go func() {
		line, err := a.lines.ReadString('\n')
		line = strings.ToLower(strings.TrimSpace(line))
		if err == nil {
			out <- line == "y" || line == "yes"
		}
	}()
	return out
}
