package main

import (
	"io"
	"os"
)

// env is everything a command has of the world outside, so that tests can run commands in-process.
type env struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	getenv         func(string) string
	// terminal says which of stdin, stdout and stderr are terminals: prompts and colours are for people.
	terminal [3]bool
}

// osEnv is the real world.
func osEnv() *env {
	e := &env{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, getenv: os.Getenv}
	for i, f := range []*os.File{os.Stdin, os.Stdout, os.Stderr} {
		info, err := f.Stat()
		e.terminal[i] = err == nil && info.Mode()&os.ModeCharDevice != 0 && isTerminal(int(f.Fd()))
	}
	return e
}

// colours decides from --color and the environment (no-color.org, bixense.com/clicolors) whether stream (1 or 2) gets colours.
func (e *env) colours(flag string, stream int) bool {
	switch {
	case flag == "always":
		return true
	case flag == "never" || e.getenv("NO_COLOR") != "":
		return false
	case e.getenv("CLICOLOR_FORCE") != "" && e.getenv("CLICOLOR_FORCE") != "0":
		return true
	}
	return e.terminal[stream] && e.getenv("TERM") != "dumb"
}
