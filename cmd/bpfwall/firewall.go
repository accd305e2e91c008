package main

import (
	"errors"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"time"

	"github.com/bpfwall/bpfwall/dataplane"
	"github.com/bpfwall/bpfwall/input"
	"github.com/bpfwall/bpfwall/ruleset"
)

// firewall is the one in the kernel that --netns and --root mean.
func (a *app) firewall() (*dataplane.Dataplane, error) {
	return dataplane.Open(a.config())
}

func (a *app) config() dataplane.Config {
	cfg := dataplane.Config{Netns: a.netns, Progress: a.step}
	if a.root != "" {
		cfg.BPFFS = filepath.Join(a.root, "sys/fs/bpf")
		cfg.StateDir = filepath.Join(a.root, "var/lib/bpfwall")
		cfg.RunDir = filepath.Join(a.root, "run/bpfwall")
	}
	return cfg
}

// liveRules are the rules in force; nil if there are none, or the disk has lost them.
func liveRules(fw *dataplane.Dataplane) (*ruleset.Ruleset, error) {
	_, rs, err := fw.Live()
	if errors.Is(err, dataplane.ErrNotLoaded) || errors.Is(err, dataplane.ErrNoGeneration) {
		return nil, nil
	}
	return rs, err
}

// changesTo is what rules would change of those in force.
func changesTo(fw *dataplane.Dataplane, rs *ruleset.Ruleset) ([]ruleset.Change, error) {
	before, err := liveRules(fw)
	if err != nil {
		return nil, err
	}
	return ruleset.Diff(before, rs), nil
}

// meta is what the history remembers of a change; in is nil if it comes from no file.
func (a *app) meta(in *input.Input, note string) dataplane.Meta {
	m := dataplane.Meta{Time: time.Now(), User: a.getenv("SUDO_USER"), Command: strings.Join(os.Args, " "), Note: note}
	if u, err := user.Current(); err == nil && m.User == "" {
		m.User = u.Username
	}
	if in == nil {
		return m
	}
	for _, name := range in.Files {
		m.Sources = append(m.Sources, dataplane.Source{Name: name, Text: in.Sources[name]})
	}
	return m
}
