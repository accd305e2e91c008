package main

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/bpfwall/bpfwall/dataplane"
	"github.com/bpfwall/bpfwall/input"
	"github.com/bpfwall/bpfwall/ruleset"
)

// The exit codes; `bpfwall exit-codes` prints them.
const (
	exitOK           = 0
	exitFailed       = 1
	exitChanges      = 2
	exitPolicy       = 3
	exitIncomplete   = 4
	exitRefused      = 5
	exitUnconfirmed  = 6
	exitTest         = 7
	exitNotPermitted = 8
	exitUsage        = 64 // sysexits.h EX_USAGE
)

const exitCodes = `Every command ends with one of these exit codes:

  0   done
  1   failed
  2   there is something to change (plan --detailed-exitcode)
  3   the policy or rules file is invalid
  4   the import is incomplete: rules would be lost
  5   refused for safety, e.g. the new rules would cut this SSH session
  6   gone back to the rules before: the new ones were not confirmed
  7   a test failed, or explain --expect differs
  8   not permitted, or the kernel lacks something
  64  the command line is wrong
`

// codeError is an error that ends the program with a code of its own.
type codeError struct {
	code int
	err  error
	help string // what to do about it; may be empty
	said bool   // the answer on stdout says it already
}

func (e *codeError) Error() string { return e.err.Error() }

func (e *codeError) Unwrap() error { return e.err }

// fail makes an error with an exit code.
func fail(code int, format string, args ...any) *codeError {
	return &codeError{code: code, err: fmt.Errorf(format, args...)}
}

// withHelp adds what to do about the error.
func (e *codeError) withHelp(format string, args ...any) *codeError {
	e.help = fmt.Sprintf(format, args...)
	return e
}

// advice is what to do about errors that any verb may end with.
var advice = []struct {
	err  error
	help string
}{
	{dataplane.ErrNotLoaded, "`bpfwall apply FILE` puts rules in force"},
	{dataplane.ErrNoGeneration, "`bpfwall history` lists them"},
}

// helpFor is what to do about an error; "" if nothing is known.
func helpFor(err error) string {
	var coded *codeError
	if errors.As(err, &coded) && coded.help != "" {
		return coded.help
	}
	for _, a := range advice {
		if errors.Is(err, a.err) {
			return a.help
		}
	}
	if isIncomplete(err) {
		return "--allow-partial goes on without them"
	}
	return ""
}

// code is the exit code for an error.
func code(err error) int {
	var coded *codeError
	var list ruleset.ErrorList
	var one *ruleset.Error
	var incomplete *input.IncompleteError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &coded):
		return coded.code
	case errors.As(err, &incomplete):
		return exitIncomplete
	case errors.As(err, &list), errors.As(err, &one):
		return exitPolicy
	case errors.Is(err, fs.ErrPermission), errors.Is(err, dataplane.ErrNotPermitted), errors.Is(err, dataplane.ErrUnsupported):
		return exitNotPermitted
	}
	return exitFailed
}
