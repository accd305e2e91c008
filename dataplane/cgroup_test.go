package dataplane

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// cgroup2 is found wherever it is mounted, but not a part of it.
func TestCgroupMount(t *testing.T) {
	const (
		v1   = "30 24 0:27 / /sys/fs/cgroup/memory rw shared:9 - cgroup cgroup rw,memory\n"
		part = "31 24 0:28 /docker/5f /sys/fs/cgroup rw - cgroup2 cgroup rw\n"
	)
	for _, c := range []struct{ mountinfo, want string }{
		{v1 + "32 24 0:28 / /sys/fs/cgroup/unified rw,nosuid shared:10 - cgroup2 cgroup2 rw,nsdelegate\n", "/sys/fs/cgroup/unified"},
		{"32 24 0:28 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n" + v1, "/sys/fs/cgroup"},
		{"32 24 0:28 / /mnt/with\\040blank rw - cgroup2 none rw\n", "/mnt/with blank"},
		{part + "32 24 0:28 / /mnt/all rw - cgroup2 none rw\n", "/mnt/all"},
		{part, ""}, {v1, ""}, {"", ""},
	} {
		got, err := cgroupMount(c.mountinfo)
		if got != c.want || (c.want == "") != errors.Is(err, errNoCgroup2) {
			t.Errorf("%s: %q, %v", c.mountinfo, got, err)
		}
	}
}

// Units are where slices alone lead, and where systemd puts what is not there yet.
func TestResolveCgroup(t *testing.T) {
	root := t.TempDir()
	for _, dir := range []string{
		"system.slice/nginx.service/worker", "web.slice/web-shop.slice/nginx.service", "user.slice/user-1.slice/user@1.service/nginx.service",
		"system.slice/_memory.service", "machine/web",
	} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name  string
		found []string
		usual string
	}{
		{"nginx.service", []string{"/system.slice/nginx.service", "/web.slice/web-shop.slice/nginx.service"}, "/system.slice/nginx.service"},
		{"memory.service", []string{"/system.slice/_memory.service"}, "/system.slice/memory.service"},
		{"user-1.slice", []string{"/user.slice/user-1.slice"}, "/user.slice/user-1.slice"},
		{"a-b-c.slice", nil, "/a.slice/a-b.slice/a-b-c.slice"},
		{"get-ty@1.service", nil, `/system.slice/system-get\x2dty.slice/get-ty@1.service`},
		{"/machine/web", []string{"/machine/web"}, "/machine/web"},
		{"/machine/mail", nil, "/machine/mail"},
	} {
		if got := resolveCgroup(root, c.name); !slices.Equal(got, c.found) {
			t.Errorf("%s: %q", c.name, got)
		}
		if got := usualPath(c.name); got != c.usual {
			t.Errorf("%s: usually %q", c.name, got)
		}
	}
}
