package session

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// sshd(10) -> shell(20) -> sudo(30) -> bpfwall(40): sudo and what it starts have lost the variable.
func TestAncestors(t *testing.T) {
	proc := t.TempDir()
	for _, p := range []struct {
		pid, parent int
		name, env   string
	}{
		{10, 1, "sshd", ""},
		{20, 10, "odd) name (", "HOME=/\x00SSH_CONNECTION=192.0.2.9 5 192.0.2.1 22\x00TERM=x\x00"},
		{30, 20, "sudo", "SSH_CONNECTION_X=no\x00"},
		{40, 30, "bpfwall", ""},
		{50, 1, "daemon", ""},
		{60, 61, "circle", ""},
		{61, 60, "circle", ""},
	} {
		dir := filepath.Join(proc, fmt.Sprint(p.pid))
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		for name, text := range map[string]string{"stat": fmt.Sprintf("%d (%s) S %d 1 1 0", p.pid, p.name, p.parent), "environ": p.env} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	for pid, want := range map[int]string{40: "192.0.2.9 5 192.0.2.1 22", 50: "", 60: "", 99: ""} {
		if got := ofAncestors(proc, pid); got != want {
			t.Errorf("process %d: got %q, want %q", pid, got, want)
		}
	}
}
