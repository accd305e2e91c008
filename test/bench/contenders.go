package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"

	"github.com/bpfwall/bpfwall/internal/lab"
)

// contender is a firewall.
type contender struct {
	name     string
	load     func(c *course) error
	raw      bool // its rules are before connection tracking: for scenarios with a floor
	linear   int  // at most so many rules; 0: any
	optional bool // where it cannot be had or has no form for a ruleset, the report says why
}

// The names of those that something is compared with.
const (
	nothing  = "no firewall"
	dropAll  = "XDP: drop all"
	ours     = "bpfwall"
	oursRaw  = "bpfwall guard, XDP"
	legacy   = "iptables-legacy"
	nftables = "nft"
)

// contenders are in the order of the tables. Each counts what every rule decides, but for sets, which count as a whole.
var contenders = []contender{
	{name: nothing, load: func(*course) error { return nil }},
	{name: dropAll, load: (*course).dropEverything, raw: true},
	{name: ours, load: func(c *course) error { return apply(c.world.DUT, c.scenario.iptables(), "off") }},
	{name: oursRaw, load: func(c *course) error { return apply(c.world.DUT, c.scenario.raw(), "native") }, raw: true},
	{name: legacy, load: func(c *course) error { return lab.Legacy.Restore(c.world.DUT, c.scenario.iptables(), "") }, optional: true},
	{name: "iptables-legacy, raw", load: func(c *course) error { return lab.Legacy.Restore(c.world.DUT, c.scenario.raw(), "") }, raw: true, optional: true},
	{name: "iptables-nft", load: func(c *course) error { return lab.Nft.Restore(c.world.DUT, c.scenario.iptables(), "") }, linear: 5000, optional: true},
	{name: nftables, load: func(c *course) error { return nft(c.world.DUT, c.scenario.nft()) }, optional: true},
	{name: "nft, sets", load: func(c *course) error {
		text, err := c.scenario.nftSets()
		if err != nil {
			return err
		}
		return nft(c.world.DUT, text)
	}, optional: true},
	{name: "ipset", load: loadIPSet, optional: true},
}

func nft(n *lab.NS, text string) error {
	_, err := n.Run(strings.NewReader(text), "nft", "-f", "-")
	return err
}

func loadIPSet(c *course) error {
	sets, rules, err := c.scenario.ipset()
	if err != nil {
		return err
	}
	if _, err := c.world.DUT.Run(strings.NewReader(sets), "ipset", "restore"); err != nil {
		if strings.Contains(err.Error(), "set type not supported") {
			return errors.New("this kernel lacks the type of set")
		}
		return err
	}
	return lab.Legacy.Restore(c.world.DUT, rules, "")
}

// besides are other builds of bpfwall, from files, that take their turns too.
func besides(files string) (out []contender) {
	for file := range strings.SplitSeq(files, ",") {
		if file == "" {
			continue
		}
		out = append(out, contender{name: ours + ", " + filepath.Base(file), load: func(c *course) error {
			return withFile(c.scenario.iptables(), func(rules string) error {
				text, err := exec.Command(file, "--netns", c.world.DUT.Name, "apply", "--yes", "--xdp", "off", rules).CombinedOutput()
				if err != nil {
					return fmt.Errorf("%s: %w: %s", file, err, text)
				}
				return nil
			})
		}})
	}
	return out
}

// apply puts a file that iptables-save could have written in force.
func apply(n *lab.NS, text, xdp string) error {
	return withFile(text, func(file string) error {
		_, err := n.Bpfwall("apply", "--yes", "--xdp", xdp, file)
		return err
	})
}

// withFile calls f with the name of a file of rules.
func withFile(text string, f func(file string) error) error {
	dir, err := os.MkdirTemp("", "bpfwall-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "rules.v4")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return err
	}
	return f(file)
}

// dropEverything is the floor: frames that are dropped as soon as they arrive.
func (c *course) dropEverything() error {
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.XDP, License: "GPL", Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, xdpDrop), asm.Return()}})
	if err != nil {
		return err
	}
	defer p.Close()
	l, err := c.world.DUT.Link("lan0")
	if err != nil {
		return err
	}
	return c.world.DUT.Do(func() error {
		at, err := link.AttachXDP(link.XDPOptions{Program: p, Interface: l.Attrs().Index, Flags: link.XDPDriverMode})
		c.own(at)
		return err
	})
}
