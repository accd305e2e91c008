// Package dataplane puts compiled rulesets into the kernel and looks at what they do there: it loads, attaches, swaps and rolls back
// generations, and lists counters, flows and events. It is the only code that changes the machine. Everything a running firewall needs
// is pinned in the BPF file system, so that no process has to stay; Apply (apply.go) is the place to start reading.
package dataplane

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/cilium/ebpf/rlimit"
)

// Config says which firewall is meant. The zero value is the one of the network namespace that the caller is in.
type Config struct {
	Netns    string        // name under /run/netns; state and pins are kept apart for each
	BPFFS    string        // where the BPF file system is or is to be mounted; default /sys/fs/bpf
	StateDir string        // generations on disk; default /var/lib/bpfwall
	RunDir   string        // locks; default /run/bpfwall
	LockWait time.Duration // how long to wait for another bpfwall; default 10 s
	Keep     int           // generations to keep on disk; default 20, at least 2

	// Progress is told of each step of a change as it begins, for those who wait; nil: nobody is.
	Progress func(step string, number, of int)
}

// Dataplane is the firewall of one network namespace. It holds no kernel object open between calls and may be used by several goroutines.
type Dataplane struct {
	cfg Config
	at  layout

	reapEvery time.Duration // how often flows that are over are cleared away

	// before is called ahead of each step of Apply; tests make it fail or kill the process there.
	before func(step string) error
}

// Open checks the configuration and the namespaces that the caller is in. It changes nothing.
//
// Returns ErrPrivateBPFFS where pins would be lost, and ErrNoNamespace if there is no network namespace of that name.
func Open(cfg Config) (*Dataplane, error) {
	d := newDataplane(cfg)
	if strings.ContainsAny(cfg.Netns, "/\x00") || cfg.Netns == "." || cfg.Netns == ".." {
		return nil, fmt.Errorf("network namespace %q: %w", cfg.Netns, ErrNoNamespace)
	}
	if err := checkNetns(cfg.Netns); err != nil {
		return nil, err
	}
	if err := checkNamespaces(d.cfg); err != nil {
		return nil, err
	}
	return d, nil
}

func newDataplane(cfg Config) *Dataplane {
	setDefault(&cfg.BPFFS, usualBPFFS)
	setDefault(&cfg.StateDir, "/var/lib/bpfwall")
	setDefault(&cfg.RunDir, "/run/bpfwall")
	setDefault(&cfg.LockWait, 10*time.Second)
	setDefault(&cfg.Keep, 20)
	cfg.Keep = max(cfg.Keep, 2)
	return &Dataplane{cfg: cfg, at: newLayout(cfg), reapEvery: 10 * time.Second}
}

func setDefault[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

// change runs fn as the only bpfwall at work on this namespace, inside of it, with the BPF file system there.
func (d *Dataplane) change(ctx context.Context, fn func() error) error {
	if err := checkPermitted(); err != nil {
		return err
	}
	unlock, err := lock(ctx, d.at.lock, d.cfg.LockWait)
	if err != nil {
		return err
	}
	defer unlock()
	if err := mountBPFFS(d.cfg.BPFFS); err != nil {
		return err
	}
	defer unmountBPFFS(d.cfg.BPFFS)
	if err := rlimit.RemoveMemlock(); err != nil {
		return fmt.Errorf("limit of locked memory: %w", errKernel(err))
	}
	return d.within(fn)
}

// look runs fn inside the namespace. It takes no lock: readers never wait for an apply.
func (d *Dataplane) look(fn func() error) error {
	if err := checkPermitted(); err != nil {
		return err
	}
	return d.within(fn)
}
