package dataplane

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

const netnsDir = "/run/netns" // as `ip netns` keeps them

// checkNetns returns ErrNoNamespace unless a namespace of that name is there.
func checkNetns(name string) error {
	if name == "" {
		return nil
	}
	if _, err := os.Stat(filepath.Join(netnsDir, name)); err != nil {
		return fmt.Errorf("network namespace %q: %w", name, ErrNoNamespace)
	}
	return nil
}

// within runs fn in the network namespace. Sockets, interface indices and /proc/sys/net are those of the thread, so it gets one of its
// own, which ends with it. The mount namespace, and so the BPF file system, stays the caller's.
func (d *Dataplane) within(fn func() error) error {
	if d.cfg.Netns == "" {
		return fn()
	}
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlock: the runtime then ends the thread
		done <- enter(d.cfg.Netns, fn)
	}()
	return <-done
}

func enter(name string, fn func() error) error {
	ns, err := netns.GetFromPath(filepath.Join(netnsDir, name))
	if err != nil {
		return fmt.Errorf("network namespace %q: %w", name, ErrNoNamespace)
	}
	defer ns.Close()
	if err := netns.Set(ns); errors.Is(err, unix.EPERM) {
		return &NotPermittedError{For: fmt.Sprintf("entering the network namespace %q", name), Missing: []string{"CAP_SYS_ADMIN"}}
	} else if err != nil {
		return fmt.Errorf("network namespace %q: %w", name, errKernel(err))
	}
	return fn()
}
