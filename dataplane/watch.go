package dataplane

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"

	"github.com/bpfwall/bpfwall/bpf"
	"github.com/bpfwall/bpfwall/ruleset"
)

// watchPrograms follow control groups; their pins are called as they are.
var watchPrograms = []string{"cgroup_made", "cgroup_gone"}

func (l layout) watchPin(program string) string { return filepath.Join(l.links, program) }

// attachWatch has the kernel follow the control groups that the rules name, so that a unit that starts again is known at once. Where that
// is not possible, units are known after a refresh.
func (t *transaction) attachWatch() {
	if !t.uses().Has(ruleset.FieldCgroup) {
		return
	}
	err := t.watchCgroups()
	if err == nil {
		_, err = t.fillCgroups(t.shared["cgroups"]) // what was made meanwhile
	}
	if err != nil {
		t.warn("control groups that are made anew are known after bpfwall refresh only: %s", err)
	}
}

func (t *transaction) watchCgroups() error {
	spec, err := bpf.LoadWatch()
	if err != nil {
		return err
	}
	paths, err := t.openMap(spec.Maps["cgroup_paths"])
	if err != nil {
		return fmt.Errorf("map cgroup_paths: %w", errKernel(err))
	}
	if err := t.fillPaths(paths); err != nil {
		return err
	}
	groups := t.shared["cgroups"]
	spec.Maps["cgroups"].MaxEntries = groups.MaxEntries()
	replace := map[string]*ebpf.Map{"cgroup_paths": paths, "cgroups": groups}
	coll, err := loadWith(spec, "watch", replace)
	if err != nil {
		return errKernel(err)
	}
	t.atEnd(func() error { coll.Close(); return nil })
	for _, name := range watchPrograms {
		if err := t.attachWatcher(name, coll.Programs[name]); err != nil {
			return fmt.Errorf("%s: %w", name, errKernel(err))
		}
	}
	return nil
}

// attachWatcher attaches a program to its tracepoint, unless the same one is there and fills the map that is pinned now.
func (t *transaction) attachWatcher(name string, p *ebpf.Program) error {
	pin := t.d.at.watchPin(name)
	same, err := attaches(pin, p)
	if err == nil && same && watches(pin, t.shared["cgroups"]) {
		return nil
	}
	l, err := link.AttachTracing(link.TracingOptions{Program: p})
	if err != nil {
		return err
	}
	defer l.Close()
	if err := makeDirs(t.d.at.links); err != nil {
		return err
	}
	_ = os.Remove(pin)
	return l.Pin(pin)
}

// watches reports whether the program of a link uses a map.
func watches(pin string, m *ebpf.Map) bool {
	l, err := link.LoadPinnedLink(pin, nil)
	if err != nil {
		return false
	}
	defer l.Close()
	about, err := l.Info()
	if err != nil {
		return false
	}
	p, err := ebpf.NewProgramFromID(about.Program)
	if err != nil {
		return false
	}
	defer p.Close()
	info, err := p.Info()
	return err == nil && usesMap(info, m)
}

// detachWatch lets go if no generation that may come back without an apply names control groups.
func (t *transaction) detachWatch() {
	if t.uses().Has(ruleset.FieldCgroup) {
		return
	}
	pinned := func(name string) bool { _, err := os.Stat(t.d.at.watchPin(name)); return err == nil }
	if !slices.ContainsFunc(watchPrograms, pinned) {
		return // as most often: the rules of before need not be read
	}
	if t.live != nil {
		if rs, err := t.d.at.readRuleset(t.live.Number); err == nil && rs.Uses(ruleset.FieldCgroup) {
			return
		}
	}
	for _, name := range watchPrograms {
		_ = os.Remove(t.d.at.watchPin(name))
	}
}

// fillPaths tells the watchers which paths the rules of the next generation mean.
func (t *transaction) fillPaths(m *ebpf.Map) error {
	root, err := cgroupRoot()
	if err != nil {
		return err
	}
	side := t.next.Loaded & 1
	want := map[bpf.CgroupPath]uint64{}
	for bit, name := range t.rs.Cgroups() {
		for _, p := range append(resolveCgroup(root, name), usualPath(name)) {
			want[cgroupPath(p)] |= 1 << bit
		}
	}
	var key bpf.CgroupPath
	var v bpf.CgroupBits
	has := map[bpf.CgroupPath]bpf.CgroupBits{}
	for all := m.Iterate(); all.Next(&key, &v); {
		has[key] = v
	}
	for key := range has {
		want[key] |= 0
	}
	for _, key := range slices.SortedFunc(maps.Keys(want), func(a, b bpf.CgroupPath) int { return strings.Compare(pathText(a), pathText(b)) }) {
		v := has[key]
		v.Bits[side] = want[key]
		err := m.Put(key, v)
		if v == (bpf.CgroupBits{}) {
			err = m.Delete(key)
		}
		if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return fmt.Errorf("map cgroup_paths: %w", errKernel(err))
		}
	}
	return nil
}

// usualPath is where systemd puts a unit that says nothing of a slice (systemd.resource-control(5), systemd.slice(5)).
func usualPath(name string) string {
	base, kind := strings.TrimSuffix(name, path.Ext(name)), path.Ext(name)
	switch {
	case strings.HasPrefix(name, "/"):
		return name
	case kind == ".slice":
		dir := "/"
		for i, c := range base {
			if c == '-' {
				dir = path.Join(dir, base[:i]+kind)
			}
		}
		return path.Join(dir, name)
	case strings.Contains(base, "@"):
		template, _, _ := strings.Cut(base, "@")
		return path.Join("/system.slice", "system-"+strings.ReplaceAll(template, "-", `\x2d`)+".slice", name)
	}
	return path.Join("/system.slice", name)
}

func cgroupPath(s string) (p bpf.CgroupPath) {
	for i := range min(len(s), len(p.Path)-1) {
		p.Path[i] = int8(s[i])
	}
	return p
}

func pathText(p bpf.CgroupPath) string {
	var b strings.Builder
	for _, c := range p.Path {
		if c == 0 {
			break
		}
		b.WriteByte(byte(c))
	}
	return b.String()
}
