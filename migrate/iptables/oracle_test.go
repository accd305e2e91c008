package iptables

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// realRestore runs the real restore tools in a network namespace of their own.
type realRestore struct{ netns string }

func newRealRestore(t *testing.T) realRestore {
	if os.Getuid() != 0 {
		t.Skip("needs root for a network namespace")
	}
	for _, tool := range []string{"ip", "iptables-nft-restore"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s: not installed", tool)
		}
	}
	r := realRestore{fmt.Sprintf("bpfwall-import-%d", os.Getpid())}
	if out, err := exec.Command("ip", "netns", "add", r.netns).CombinedOutput(); err != nil {
		t.Skipf("ip netns add: %s", out)
	}
	t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", r.netns).Run() })
	return r
}

// accepts reports whether iptables-nft-restore takes a file, and what it says.
func (r realRestore) accepts(t *testing.T, text string) (bool, string) {
	path := filepath.Join(t.TempDir(), "rules")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("ip", "netns", "exec", r.netns, "iptables-nft-restore", path).CombinedOutput()
	return err == nil, string(out)
}

// unlikeReal are lines where we differ from iptables on purpose.
var unlikeReal = map[string]string{
	"-A INPUT -s ! 10.0.0.0/8 -p ! tcp -j DROP":                          "versions before 1.8.9 took a ! after the option",
	"-A INPUT -s www.example.org -j DROP":                                "no names are looked up",
	"-A INPUT -m set --match-set bad src -j DROP":                        "the set is missing",
	"-A INPUT -m geoip ! --src-cc DE,FR -j DROP":                         "not a part of iptables itself",
	"-A INPUT -m geoip --source-country KP -j DROP":                      "not a part of iptables itself",
	"-A INPUT -m hashlimit --hashlimit 5/m --hashlimit-name x -j ACCEPT": "the kernel may lack it",
}

// TestSameAsReal gives the lines of TestAccepted and TestRefused to the real tool.
func TestSameAsReal(t *testing.T) {
	real := newRealRestore(t)
	for _, text := range acceptedLines {
		if ok, out := real.accepts(t, fileOf(text)); !ok && unlikeReal[text] == "" {
			t.Errorf("%q: we accept it; the real tool: %s", text, out)
		}
	}
	for _, text := range refusedFiles {
		if ok, _ := real.accepts(t, fileOf(text)); ok {
			t.Errorf("%q: we refuse it; the real tool accepts it", text)
		}
	}
}
