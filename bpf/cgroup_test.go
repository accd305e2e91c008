package bpf

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// ownCgroup makes a cgroup and moves this process into it until the test ends.
func ownCgroup(t *testing.T) string {
	t.Helper()
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	root := ""
	for line := range strings.Lines(string(mounts)) {
		if f := strings.Fields(line); len(f) > 2 && f[2] == "cgroup2" {
			root = f[1]
		}
	}
	if root == "" {
		t.Skip("cgroup2 is not mounted")
	}
	dir, err := os.MkdirTemp(root, "bpfwall-test-")
	if err != nil {
		t.Skipf("a cgroup: %s", err)
	}
	t.Cleanup(func() { os.Remove(dir) })
	before := cgroupOf(t)
	move := func(to string) error { return os.WriteFile(filepath.Join(to, "cgroup.procs"), []byte("0"), 0) }
	if err := move(dir); err != nil {
		t.Skipf("entering a cgroup: %s", err)
	}
	t.Cleanup(func() {
		if err := move(filepath.Join(root, before)); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// cgroupOf is where this process is in the cgroup2 tree.
func cgroupOf(t *testing.T) string {
	b, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if path, ok := strings.CutPrefix(line, "0::"); ok {
			return strings.TrimSpace(path)
		}
	}
	return "/"
}

func TestSocketOwner(t *testing.T) {
	spec, err := LoadCgroup()
	if err != nil {
		t.Fatal(err)
	}
	coll := load(t, spec)
	l, err := link.AttachCgroup(link.CgroupOptions{Path: ownCgroup(t), Attach: ebpf.AttachCGroupInetSockCreate,
		Program: coll.Programs["note_owner"]})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, family := range []int{unix.AF_INET, unix.AF_INET6} {
		fd, err := unix.Socket(family, unix.SOCK_DGRAM, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
		var owner CgroupOwner
		if err := coll.Maps["sock_owner"].Lookup(uint32(fd), &owner); err != nil {
			t.Fatal(err)
		}
		if int(owner.Uid) != os.Getuid() || int(owner.Gid) != os.Getgid() {
			t.Errorf("family %d: owner %+v", family, owner)
		}
	}
}
