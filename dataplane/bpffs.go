package dataplane

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	usualBPFFS  = "/sys/fs/bpf"
	mountSource = "bpfwall" // of BPF file systems that we have mounted, in /proc/self/mountinfo
)

// mountBPFFS sees to it that dir is a BPF file system.
func mountBPFFS(dir string) error {
	is, err := isBPFFS(dir)
	if is || err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return fmt.Errorf("bpf file system: %w", errKernel(err))
	}
	switch err := running.mount(dir); {
	case errors.Is(err, unix.EPERM):
		return &NotPermittedError{For: "mounting the bpf file system on " + dir, Missing: []string{"CAP_SYS_ADMIN"}}
	case errors.Is(err, unix.ENODEV):
		return &UnsupportedError{Feature: "the bpf file system", Kernel: "4.4 with CONFIG_BPF_SYSCALL", Running: kernelRelease()}
	case err != nil:
		return fmt.Errorf("mount -t bpf bpf %s: %w", dir, err)
	}
	return nil
}

func mountBPF(dir string) error { return unix.Mount(mountSource, dir, "bpf", 0, "mode=0700") }

// unmountBPFFS takes away a BPF file system for trials that mountBPFFS has mounted, once nothing is in it.
func unmountBPFFS(dir string) {
	dir, err := filepath.Abs(dir)
	if err == nil {
		dir, err = filepath.EvalSymlinks(dir)
	}
	if err != nil || dir == usualBPFFS {
		return
	}
	entries, err := os.ReadDir(dir)
	mounts, _ := os.ReadFile("/proc/self/mountinfo")
	kernels := func(e os.DirEntry) bool { return strings.HasSuffix(e.Name(), ".debug") } // bpf_preload puts two there
	if err != nil || len(slices.DeleteFunc(entries, kernels)) > 0 {
		return
	}
	for line := range strings.Lines(string(mounts)) {
		f := strings.Fields(line)
		if n := slices.Index(f, "-"); n > 4 && n+2 < len(f) && f[4] == dir && f[n+2] == mountSource {
			_ = unix.Unmount(dir, 0)
			return
		}
	}
}

// isBPFFS reports whether dir is there and on a BPF file system.
func isBPFFS(dir string) (bool, error) {
	var st unix.Statfs_t
	switch err := unix.Statfs(dir, &st); {
	case errors.Is(err, unix.ENOENT):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("%s: %w", dir, errKernel(err))
	}
	return uint32(st.Type) == unix.BPF_FS_MAGIC, nil
}

// checkNamespaces returns ErrPrivateBPFFS if the caller's mount namespace has a BPF file system of its own (as `ip netns exec` makes:
// its pins die with the process), or if the host's firewall is meant but the caller is in another network namespace.
// What counts as the host is process 1, so that a container with its own is a host too.
func checkNamespaces(cfg Config) error {
	if cfg.Netns == "" && !sameNetwork() {
		return privateError("this is not the host's network namespace", ownNetnsName())
	}
	init, err := os.ReadFile("/proc/1/mountinfo")
	if err != nil {
		return nil // no /proc, or hidden: nothing to compare with
	}
	self, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil || sameMounts(string(init), string(self)) {
		return nil
	}
	if is, _ := isBPFFS(cfg.BPFFS); is && hasDevice(string(init), cfg.BPFFS) {
		return nil // a mount namespace of its own (a service unit's, say), with the host's BPF file system in it
	}
	return privateError("this mount namespace does not share the host's "+cfg.BPFFS, ownNetnsName())
}

func privateError(why, name string) error {
	if name == "" {
		name = "NAME"
	}
	return fmt.Errorf("%w: %s; run bpfwall outside and use --netns %s", ErrPrivateBPFFS, why, name)
}

// sameMounts reports whether two mountinfo files are of one mount namespace: ids of mounts are never shared (proc(5)).
func sameMounts(a, b string) bool {
	ids := map[string]bool{}
	for line := range strings.Lines(a) {
		id, _, _ := strings.Cut(line, " ")
		ids[id] = true
	}
	for line := range strings.Lines(b) {
		if id, _, _ := strings.Cut(line, " "); ids[id] {
			return true
		}
	}
	return a == b
}

// hasDevice reports whether the file system that dir is on is mounted somewhere in a mountinfo.
func hasDevice(mountinfo, dir string) bool {
	var st unix.Stat_t
	if unix.Stat(dir, &st) != nil {
		return false
	}
	dev := fmt.Sprintf("%d:%d", unix.Major(st.Dev), unix.Minor(st.Dev))
	for line := range strings.Lines(mountinfo) {
		if f := strings.Fields(line); len(f) > 2 && f[2] == dev {
			return true
		}
	}
	return false
}

// sameNetwork reports whether the caller is in the network namespace of process 1. The inode of its /proc/net/dev tells namespaces apart
// and may be read where the link /proc/1/ns/net may not.
func sameNetwork() bool {
	var init, self unix.Stat_t
	if unix.Stat("/proc/1/net/dev", &init) != nil || unix.Stat("/proc/thread-self/net/dev", &self) != nil {
		return true
	}
	return init.Ino == self.Ino
}

// ownNetnsName is the name under /run/netns of the namespace that the caller is in, "" if it has none.
func ownNetnsName() string {
	var self unix.Stat_t
	if unix.Stat("/proc/thread-self/ns/net", &self) != nil {
		return ""
	}
	names, _ := filepath.Glob(filepath.Join(netnsDir, "*"))
	for _, name := range names {
		var st unix.Stat_t
		if unix.Stat(name, &st) == nil && st.Ino == self.Ino && st.Dev == self.Dev {
			return filepath.Base(name)
		}
	}
	return ""
}
