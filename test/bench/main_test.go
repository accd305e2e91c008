package main

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bpfwall/bpfwall/internal/classbench"
	"github.com/bpfwall/bpfwall/internal/lab"
)

// TestInterrupted ends a run in the middle of it: no namespace is left behind.
func TestInterrupted(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root to make network namespaces")
	}
	path := filepath.Join(t.TempDir(), "bench")
	if text, err := exec.Command("go", "build", "-o", path, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	firewall, err := lab.Bpfwall()
	if err != nil {
		t.Fatal(err)
	}
	defer lab.RemoveBinary()
	cmd := exec.Command(path, "-quick", "-only", "frames", "-rounds", "1000")
	cmd.Env = append(os.Environ(), "BPFWALL="+firewall)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); len(lab.Stale(cmd.Process.Pid)) < 6; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			_ = cmd.Process.Kill()
			t.Fatal("no second router after a minute")
		}
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Error("an interrupted run ended well")
	}
	if left := lab.Stale(cmd.Process.Pid); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

// TestScenarios: as many rules as their makers say, and traffic that the rules decide as they should.
func TestScenarios(t *testing.T) {
	for _, c := range []struct {
		s      *scenario
		rules  int
		accept float64 // share of the traffic, at least
		most   float64
	}{
		{rulesetSize(50), 54, 1, 1}, {rulesetSize(1000), 1000, 1, 1}, {rulesetSize(5000), 5000, 1, 1},
		{ruleComplexity(1), 1000, 1, 1}, {ruleComplexity(3), 1000, 1, 1}, {ruleComplexity(5), 1000, 1, 1},
		{enterprise(50), 51, 0.7, 0.95}, {enterprise(1000), 1001, 0.85, 0.97},
		{ddos(1000), 1002, 0, 0}, {misses(100), 100, 1, 1},
	} {
		if len(c.s.rules) != c.rules {
			t.Errorf("%s: %d rules, want %d", c.s, len(c.s.rules), c.rules)
		}
		n := 0.0
		for _, h := range c.s.headers[:512] {
			if c.s.verdict(h, false) {
				n += 1.0 / 512
			}
		}
		if n < c.accept || n > c.most {
			t.Errorf("%s: %.2f of the traffic is accepted, want %.2f to %.2f", c.s, n, c.accept, c.most)
		}
	}
}

// TestSetsByHand: what becomes of rules in nft's and ipset's languages.
func TestSetsByHand(t *testing.T) {
	text, err := ddos(50).nftSets()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"type ipv4_addr . inet_service;", "192.168.0.6 . 10249", "ip saddr . udp sport @s0 counter drop", "ct state established counter accept"} {
		if !strings.Contains(text, want) {
			t.Errorf("nft sets: no %q in\n%s", want, text)
		}
	}
	sets, rules, err := enterprise(50).ipset()
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(sets, "192.168.10.6,udp:8088\n") || !strings.Contains(rules, "-m set --match-set s2 dst,dst -j ACCEPT\nCOMMIT") {
		t.Errorf("ipset:\n%s%s", sets, rules)
	}
	if _, err := filterSet("acl", classbench.Generate(classbench.ACL, 100, 1)).nftSets(); !errors.Is(err, errNoSets) {
		t.Errorf("rules with nothing in common: error %v", err)
	}
}

// TestPlots: plots are XML, whatever was measured.
func TestPlots(t *testing.T) {
	r := &Report{
		Programs: []Program{{Set: "acl", Rules: 10, Hook: "tc", Traffic: classbench.Hot, Nanoseconds: -3}},
		Frames:   []Frame{{Scenario: "misses", Contender: ours, Rules: 10, Added: 200}, {Scenario: "misses", Contender: ours, Rules: 1000, Added: 210}},
		Changes:  []Change{{Contender: "a & b", Rules: 100_000, Load: 12}},
	}
	plots := r.plots()
	if len(plots) != 3 {
		t.Errorf("%d plots, want 3", len(plots))
	}
	for _, p := range plots {
		d := xml.NewDecoder(strings.NewReader(p.svg()))
		for {
			if _, err := d.Token(); err == io.EOF {
				break
			} else if err != nil {
				t.Fatalf("%s: %v\n%s", p.file, err, p.svg())
			}
		}
	}
	if !strings.Contains(r.readme(), "### Frames: misses") {
		t.Error("no table of frames in the page")
	}
}
