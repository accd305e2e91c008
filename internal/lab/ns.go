package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// NS is a network namespace.
type NS struct {
	Name string // as ip-netns(8) and `bpfwall --netns` know it

	handle netns.NsHandle
	nl     *netlink.Handle

	mu    sync.Mutex
	procs []*exec.Cmd
}

func newNS(name string) (*NS, error) {
	ns := &NS{Name: name}
	err := onThread(func() error {
		h, err := netns.NewNamed(name)
		ns.handle = h
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("namespace %q: %w", name, err)
	}
	if ns.nl, err = netlink.NewHandleAt(ns.handle); err != nil {
		return nil, fmt.Errorf("namespace %q: %w", name, err)
	}
	lo, err := ns.nl.LinkByName("lo")
	if err != nil {
		return nil, fmt.Errorf("namespace %q: lo: %w", name, err)
	}
	return ns, ns.nl.LinkSetUp(lo)
}

// onThread runs f on a locked thread and brings the thread back to the namespace that it came from. A thread that cannot be
// brought back stays locked, and so dies with its goroutine.
func onThread(f func() error) error {
	runtime.LockOSThread()
	home, err := netns.Get()
	if err != nil {
		runtime.UnlockOSThread()
		return err
	}
	defer home.Close()
	err = f()
	if back := netns.Set(home); back != nil {
		return errors.Join(err, back)
	}
	runtime.UnlockOSThread()
	return err
}

// Do runs f on a thread that is in the namespace. Goroutines that f starts are not; sockets that f opens are.
func (n *NS) Do(f func() error) error {
	return onThread(func() error {
		if err := netns.Set(n.handle); err != nil {
			return fmt.Errorf("namespace %q: %w", n.Name, err)
		}
		return f()
	})
}

// Sysctl sets kernel parameters, each "net.ipv4.ip_forward=1"; an interface name may hold a dot if written with "/".
func (n *NS) Sysctl(settings ...string) error {
	return n.Do(func() error {
		for _, s := range settings {
			key, value, ok := strings.Cut(s, "=")
			if !ok {
				return fmt.Errorf("sysctl %q: no value", s)
			}
			path := filepath.Join("/proc/sys", strings.ReplaceAll(key, ".", "/"))
			if err := os.WriteFile(path, []byte(value), 0o644); err != nil {
				return fmt.Errorf("sysctl %s: %w", s, err)
			}
		}
		return nil
	})
}

// Start starts a program in the namespace. Close ends it if it still runs.
func (n *NS) Start(cmd *exec.Cmd) error {
	err := n.Do(cmd.Start)
	if err != nil {
		return fmt.Errorf("%s in %s: %w", filepath.Base(cmd.Path), n.Name, err)
	}
	n.mu.Lock()
	n.procs = append(n.procs, cmd)
	n.mu.Unlock()
	return nil
}

// Run runs a program in the namespace with the given standard input and returns its output; the error holds what it wrote to
// standard error.
func (n *NS) Run(stdin io.Reader, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(context.Background(), name, args...)
	var out, problems bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, &out, &problems
	if err := n.Do(cmd.Start); err != nil {
		return "", fmt.Errorf("%s in %s: %w", name, n.Name, err)
	}
	if err := cmd.Wait(); err != nil {
		return out.String(), fmt.Errorf("%s %s in %s: %w: %s", name, strings.Join(args, " "), n.Name, err, strings.TrimSpace(problems.String()))
	}
	return out.String(), nil
}

func (n *NS) close() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, cmd := range n.procs {
		if cmd.ProcessState == nil {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	}
	forget(n.Name)
	if n.nl != nil {
		n.nl.Close()
	}
	return errors.Join(n.handle.Close(), netns.DeleteNamed(n.Name))
}
