package dataplane

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/features"
	"golang.org/x/sys/unix"

	"github.com/bpfwall/bpfwall/bpf"
	"github.com/bpfwall/bpfwall/ruleset"
)

// errNoCgroup2: the rules name control groups, and there are none.
var errNoCgroup2 = errors.New("control groups of version 2 are not mounted: mount -t cgroup2 none /sys/fs/cgroup/unified")

// cgroupRoot is where control groups of version 2 are mounted from their root on.
func cgroupRoot() (string, error) {
	text, err := running.mountinfo()
	if err != nil {
		return "", fmt.Errorf("mounts: %s", err)
	}
	return cgroupMount(text)
}

// cgroupMount finds it in a mountinfo. A mount of a part of the tree, as in a container, has other paths than the kernel's own.
func cgroupMount(mountinfo string) (string, error) {
	for line := range strings.Lines(mountinfo) {
		mount, kind, _ := strings.Cut(line, " - ")
		f := strings.Fields(mount)
		if len(f) > 4 && f[3] == "/" && strings.HasPrefix(kind, "cgroup2 ") {
			return unescapeMount(f[4]), nil
		}
	}
	return "", errNoCgroup2
}

// unescapeMount undoes what proc(5) does to blanks and backslashes.
func unescapeMount(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}

// resolveCgroup finds the directories of what a rule names, relative to the root. None is no error: a unit may not have been started yet.
func resolveCgroup(root, name string) []string {
	if strings.HasPrefix(name, "/") {
		if _, err := os.Stat(filepath.Join(root, name)); err != nil {
			return nil
		}
		return []string{name}
	}
	var found []string
	_ = filepath.WalkDir(root, func(dir string, d fs.DirEntry, err error) error {
		path := "/" + strings.Trim(strings.TrimPrefix(dir, root), "/")
		switch {
		case err != nil || !d.IsDir():
			return nil
		case path == "/":
			return nil
		case ruleset.CgroupMatches(name, path):
			found = append(found, path)
		case strings.HasSuffix(path, ".slice"):
			return nil
		}
		return fs.SkipDir
	})
	return found
}

// cgroupID is the number by which the kernel's programs know a control group.
func cgroupID(root, path string) (uint64, error) {
	var st unix.Stat_t
	err := unix.Stat(filepath.Join(root, path), &st)
	return st.Ino, err
}

// cgroupBits finds the control groups that the rules name: their bits in fw_pkt.cgroups by their numbers. Missing are names without one.
func cgroupBits(names []string) (bits map[uint64]uint64, missing []string, err error) {
	bits = map[uint64]uint64{}
	if len(names) == 0 {
		return bits, nil, nil
	}
	root, err := cgroupRoot()
	if err != nil {
		return nil, nil, err
	}
	for bit, name := range names {
		found := resolveCgroup(root, name)
		if len(found) == 0 {
			missing = append(missing, name)
		}
		for _, path := range found {
			if id, err := cgroupID(root, path); err == nil {
				bits[id] |= 1 << bit
			}
		}
	}
	return bits, missing, nil
}

// fillCgroups tells the programs of the next generation which control groups the rules mean. Those of the other generation read the
// same map, and bits of their own in it. It returns the names that nothing has.
func (t *transaction) fillCgroups(m *ebpf.Map) (missing []string, err error) {
	var names []string
	if t.uses().Has(ruleset.FieldCgroup) {
		names = t.rs.Cgroups()
	}
	bits, missing, err := cgroupBits(names)
	if err != nil {
		return nil, &ruleset.Error{Pos: t.rs.PosOf(ruleset.FieldCgroup), Msg: err.Error()}
	}
	side := t.next.Loaded & 1
	var id uint64
	var v bpf.CgroupBits
	var stale []uint64
	for all := m.Iterate(); all.Next(&id, &v); {
		if _, ok := bits[id]; !ok && !t.same() {
			stale = append(stale, id)
		}
	}
	for _, id := range stale {
		bits[id] = 0
	}
	for id, want := range bits {
		if err := putCgroup(m, id, side, want); err != nil {
			return nil, fmt.Errorf("map cgroups: %w", errKernel(err))
		}
	}
	return missing, nil
}

// same reports whether the next generation is the live one: then groups that are gone keep their bits, for sockets that outlive them.
func (t *transaction) same() bool { return t.live != nil && t.next.Number == t.live.Number }

// putCgroup sets the bits of one group for the generations of one parity.
func putCgroup(m *ebpf.Map, id uint64, side uint32, bits uint64) error {
	var v bpf.CgroupBits
	_ = m.Lookup(id, &v)
	if v.Bits[side] == bits {
		return nil
	}
	v.Bits[side] = bits
	if v == (bpf.CgroupBits{}) {
		return m.Delete(id)
	}
	return m.Put(id, v)
}

// cgroupStatus tells of units that the programs do not know.
func (d *Dataplane) cgroupStatus(s *Status, rs *ruleset.Ruleset) {
	names := rs.Cgroups()
	bits, missing, err := cgroupBits(names)
	if err != nil {
		s.warn(err.Error())
		return
	}
	for _, name := range missing {
		s.warn(fmt.Sprintf("control group %q: not there; rules that name it match nothing", name))
	}
	m, err := d.openPinned("cgroups")
	if err != nil {
		return
	}
	defer m.Close()
	for id, want := range bits {
		var v bpf.CgroupBits
		if err := m.Lookup(id, &v); err != nil || v.Bits[s.Generation.Loaded&1] != want {
			s.warn(fmt.Sprintf("control groups that the rules name have been made anew (%s): run bpfwall refresh", strings.Join(slices.DeleteFunc(names, func(n string) bool { return slices.Contains(missing, n) }), ", ")))
			return
		}
	}
}

// checkOwners finds out whether the kernel can tell control groups.
func (t *transaction) checkOwners() error {
	if !t.uses().Has(ruleset.FieldCgroup) {
		return nil
	}
	if err := features.HaveProgramHelper(ebpf.SchedCLS, asm.FnSkbAncestorCgroupId); errors.Is(err, ebpf.ErrNotSupported) {
		return &UnsupportedError{Feature: "rules for control groups", Kernel: "4.19", Running: kernelRelease()}
	}
	return nil
}
