package lab

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
)

// built is the bpfwall program under test, built once per process.
var built struct {
	once sync.Once
	path string
	err  error
}

// Bpfwall is the path of the bpfwall program: $BPFWALL if set, else one built from this module for this process.
func Bpfwall() (string, error) {
	built.once.Do(func() {
		if path := os.Getenv("BPFWALL"); path != "" {
			built.path, built.err = filepath.Abs(path)
			return
		}
		dir, err := os.MkdirTemp("", "bpfwall-lab-")
		if err != nil {
			built.err = err
			return
		}
		built.path = filepath.Join(dir, "bpfwall")
		out, err := exec.Command("go", "build", "-o", built.path, "github.com/bpfwall/bpfwall/cmd/bpfwall").CombinedOutput()
		if err != nil {
			built.err = fmt.Errorf("building bpfwall: %w: %s", err, bytes.TrimSpace(out))
		}
	})
	return built.path, built.err
}

// RemoveBinary removes what Bpfwall built. Call it last.
func RemoveBinary() {
	if built.path != "" && os.Getenv("BPFWALL") == "" {
		os.RemoveAll(filepath.Dir(built.path))
	}
}

// Command is a bpfwall command for the namespace; it is to be run outside of it.
func (n *NS) Command(args ...string) (*exec.Cmd, error) {
	path, err := Bpfwall()
	if err != nil {
		return nil, err
	}
	return exec.Command(path, append([]string{"--netns", n.Name}, args...)...), nil
}

// Bpfwall runs a bpfwall command for the namespace and returns its output.
func (n *NS) Bpfwall(args ...string) (string, error) {
	cmd, err := n.Command(args...)
	if err != nil {
		return "", err
	}
	var out, problems bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &problems
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("bpfwall %s: %w: %s", strings.Join(args, " "), err, bytes.TrimSpace(problems.Bytes()))
	}
	return out.String(), nil
}

// traces are where a firewall of a namespace keeps what outlives the namespace: pins, history, locks.
var traces = []string{"/sys/fs/bpf/bpfwall/netns/%s", "/var/lib/bpfwall/netns/%s", "/run/bpfwall/%s.lock", "/run/bpfwall/%s.events.lock"}

// forget removes every trace of the firewall of a namespace that goes away. Nothing can be done about an error here.
func forget(name string) {
	for _, t := range traces {
		_ = os.RemoveAll(fmt.Sprintf(t, name))
	}
}

// Engine is a pair of iptables-restore programs.
type Engine struct{ Restore4, Restore6, Save4, Save6 string }

// The two engines that iptables has had.
var (
	Nft    = Engine{"iptables-nft-restore", "ip6tables-nft-restore", "iptables-nft-save", "ip6tables-nft-save"}
	Legacy = Engine{"iptables-legacy-restore", "ip6tables-legacy-restore", "iptables-legacy-save", "ip6tables-legacy-save"}
)

// Restore loads iptables-save files into a namespace; either may be empty.
func (e Engine) Restore(n *NS, v4, v6 string) error {
	if v4 != "" {
		if _, err := n.Run(strings.NewReader(v4), e.Restore4); err != nil {
			return err
		}
	}
	if v6 == "" {
		return nil
	}
	_, err := n.Run(strings.NewReader(v6), e.Restore6)
	return err
}

// Save is the rules of both families with their counters.
func (e Engine) Save(n *NS) (v4, v6 string, err error) {
	if v4, err = n.Run(nil, e.Save4, "-c"); err != nil {
		return "", "", err
	}
	v6, err = n.Run(nil, e.Save6, "-c")
	return v4, v6, err
}
