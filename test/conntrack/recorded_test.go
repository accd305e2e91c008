package conntrack

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Every script of testdata has the states that it says, in the kernel and in bpfwall.
func TestRecorded(t *testing.T) {
	needRoot(t)
	replay(t, newRig(t, forwarded, setting{}), "testdata/*.txt")
}

// The same on lo.
func TestRecordedOnLo(t *testing.T) {
	needRoot(t)
	replay(t, newRig(t, looped, setting{}), "testdata/lo/*.txt")
}

func replay(t *testing.T, r *rig, pattern string) {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, path := range files {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		scripts, err := parseScripts(string(text))
		if err != nil {
			t.Fatalf("%s: %s", path, err)
		}
		got, err := r.play(scripts)
		if err != nil {
			t.Fatal(err)
		}
		for i, s := range scripts {
			t.Run(strings.TrimSuffix(filepath.Base(path), ".txt")+"/"+s.name, func(t *testing.T) { s.check(t, got[i]) })
		}
	}
}

func (s *script) check(t *testing.T, got answers) {
	t.Helper()
	for i := range s.packets {
		p := &s.packets[i]
		if got.kernel[i] != p.want {
			t.Errorf("packet %d: the kernel says %s: %s = %s", i+1, got.kernel[i], p, p.want)
		}
		if got.bpfwall[i] != p.want {
			t.Errorf("packet %d: bpfwall says %s: %s = %s", i+1, got.bpfwall[i], p, p.want)
		}
	}
}
