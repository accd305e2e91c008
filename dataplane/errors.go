package dataplane

import (
	"errors"
	"fmt"
	"strings"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/bpfwall/bpfwall/ruleset"
)

// What callers may ask for with errors.Is.
var (
	ErrBusy         = errors.New("another bpfwall is at work")
	ErrNotLoaded    = errors.New("bpfwall is not on")
	ErrNoPrevious   = errors.New("there is no generation to go back to")
	ErrNoGeneration = errors.New("no such generation")
	// ErrPinsGone: somebody removed the pins of the maps; a program array that nobody holds is empty, so that nothing passes.
	ErrPinsGone    = errors.New("the pins of the firewall's maps are gone, and its programs drop every packet")
	ErrNoNamespace = errors.New("no such network namespace")
	// ErrPrivateBPFFS: the caller is in a mount or network namespace of its own, and pins made there would vanish or be taken for the host's.
	ErrPrivateBPFFS = errors.New("pins made in this namespace would be lost")
	// ErrNotPermitted and ErrUnsupported are exit code 8 of the command.
	ErrNotPermitted = errors.New("not permitted")
	ErrUnsupported  = errors.New("not supported by this kernel")
	// ErrStateFull: the disk with the state has no room; nothing was changed.
	ErrStateFull = errors.New("no space left for the generation's files")
	// ErrInterrupted: the caller's context ended before the switch.
	ErrInterrupted = errors.New("interrupted: what was in force stays")
)

// NotPermittedError names the capabilities that the caller lacks. It is ErrNotPermitted.
type NotPermittedError struct {
	For     string   // what they are needed for
	Missing []string // CAP_…
}

func (e *NotPermittedError) Error() string {
	return fmt.Sprintf("%s: not permitted: this needs %s (run as root)", e.For, strings.Join(e.Missing, " and "))
}

// Is makes it ErrNotPermitted.
func (e *NotPermittedError) Is(target error) bool { return target == ErrNotPermitted }

// UnsupportedError names what the kernel lacks and the first kernel that has it. It is ErrUnsupported.
type UnsupportedError struct {
	Feature string
	Kernel  string      // first version with it
	Running string      // version of this one
	Pos     ruleset.Pos // of the rule that asks for it, if not everything does
}

func (e *UnsupportedError) Error() string {
	text := fmt.Sprintf("%s: not supported by this kernel (%s); it needs Linux %s or later", e.Feature, e.Running, e.Kernel)
	if at := e.Pos.String(); at != "" {
		return at + ": " + text
	}
	return text
}

// Is makes it ErrUnsupported.
func (e *UnsupportedError) Is(target error) bool { return target == ErrUnsupported }

// MissingInterfaceError is an interface that was asked for by name and is not there.
type MissingInterfaceError struct {
	Name string
	Have []string // names of those that could be asked for
	Why  string   // "" or why one that is there cannot be had
}

func (e *MissingInterfaceError) Error() string {
	if e.Why != "" {
		return fmt.Sprintf("interface %q: %s", e.Name, e.Why)
	}
	return fmt.Sprintf("interface %q: not there; there are %s", e.Name, strings.Join(e.Have, ", "))
}

// VerifierError: the kernel refused a program. That is a bug of bpfwall or of the kernel; the firewall is as it was before.
type VerifierError struct {
	Summary string // the verifier's last words
	LogFile string // the whole of them; "" if it could not be written
}

func (e *VerifierError) Error() string {
	if e.LogFile == "" {
		return "the kernel's verifier refused the program: " + e.Summary
	}
	return fmt.Sprintf("the kernel's verifier refused the program: %s (whole log: %s)", e.Summary, e.LogFile)
}

// errKernel turns what a system call said into a typed error where it is about rights or features.
func errKernel(err error) error {
	switch {
	case errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES):
		return fmt.Errorf("%w: %s", ErrNotPermitted, err)
	case errors.Is(err, ebpf.ErrNotSupported):
		return fmt.Errorf("%w: %s", ErrUnsupported, err)
	}
	return err
}

// errDisk does the same for what is written to disk.
func errDisk(err error) error {
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		return fmt.Errorf("%w: %s", ErrStateFull, err)
	}
	return errKernel(err)
}
