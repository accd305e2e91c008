package dataplane

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/google/nftables"

	"github.com/bpfwall/bpfwall/ruleset"
)

// inputProgram judges at netfilter's hooks, and inputDispatcher stands there.
const (
	inputProgram    = "nf_input"
	inputDispatcher = "nf_dispatch_input"
)

// chooseNAT finds out whether the kernel translates addresses here. If it does, or is going to, input is judged at LOCAL_IN, and
// forwarded and sent packets by the addresses that they have between DNAT and SNAT.
func (t *transaction) chooseNAT() error {
	found, err := natRules()
	if err != nil {
		t.warn("nat rules of the kernel: %s", err)
	}
	t.nat = len(found) > 0 || t.opts.BesideNAT || t.again != nil && t.again.NAT
	if !t.nat {
		return nil
	}
	if err := probeNAT(); err != nil {
		return err
	}
	if len(found) > 0 {
		t.warn("the kernel translates addresses (%s): rules see packets between DNAT and SNAT, and input is judged at LOCAL_IN", strings.Join(found, "; "))
	}
	if tables := flowtables(); len(tables) > 0 {
		t.warn("%s: beside NAT, what it forwards is misjudged, most of it dropped (docs/nat.md): remove it", strings.Join(tables, "; "))
	}
	if marksInput(t.rs) {
		t.warn("MARK for packets that this host takes in: beside the kernel's NAT only the rules that follow see the mark, not the stack")
	}
	return nil
}

// probeNAT finds out whether the kernel can do it. Netfilter programs came with Linux 6.4, their defragmentation with 6.6.
func probeNAT() error {
	if err := running.netfilter(); errors.Is(err, ebpf.ErrNotSupported) {
		return &UnsupportedError{Feature: "judging beside the kernel's NAT", Kernel: "6.6", Running: kernelRelease()}
	}
	return nil
}

// marksInput reports whether a packet that this host takes in may get a mark.
func marksInput(rs *ruleset.Ruleset) bool {
	marks := func(s ruleset.Statement) bool { return s.SetMark != nil }
	for _, c := range rs.Chains {
		if c.Hook != ruleset.HookInput && c.Hook != ruleset.HookNone {
			continue
		}
		for _, r := range c.Rules {
			if slices.ContainsFunc(r.Statements, marks) {
				return true
			}
		}
	}
	return false
}

// natStatus tells when the host and the generation in force disagree about NAT.
func (d *Dataplane) natStatus(s *Status) {
	if !s.Generation.NAT {
		if found, err := natRules(); err == nil && len(found) > 0 {
			s.warn(fmt.Sprintf("nat rules of the kernel came after the apply (%s), and packets are misjudged: apply again", strings.Join(found, "; ")))
		}
	}
}

// natRules names what translates addresses.
func natRules() ([]string, error) {
	found, err := natChains()
	if legacyNAT() {
		found = append(found, "the nat table of iptables-legacy")
	}
	return found, err
}

// natChains lists the nf_tables chains of type nat that have rules, in this network namespace.
func natChains() ([]string, error) {
	conn, err := nftables.New()
	if err != nil {
		return nil, err
	}
	chains, err := conn.ListChains()
	if err != nil {
		return nil, err
	}
	var found []string
	for _, c := range chains {
		if c.Type != nftables.ChainTypeNAT {
			continue
		}
		rules, err := conn.GetRules(c.Table, c)
		if err != nil {
			return nil, err
		}
		if len(rules) > 0 {
			found = append(found, fmt.Sprintf("table %s %s chain %s: %d", familyName(c.Table.Family), c.Table.Name, c.Name, len(rules)))
		}
	}
	return found, nil
}

// flowtables lists the flowtables of nf_tables: their packets go from interface to interface without their conntrack entry.
func flowtables() []string {
	conn, err := nftables.New()
	if err != nil {
		return nil
	}
	tables, _ := conn.ListTables()
	var found []string
	for _, table := range tables {
		all, _ := conn.ListFlowtables(table)
		for _, f := range all {
			found = append(found, fmt.Sprintf("flowtable %s of table %s %s", f.Name, familyName(table.Family), table.Name))
		}
	}
	return found
}

func familyName(f nftables.TableFamily) string {
	switch f {
	case nftables.TableFamilyIPv4:
		return "ip"
	case nftables.TableFamilyIPv6:
		return "ip6"
	case nftables.TableFamilyINet:
		return "inet"
	}
	return fmt.Sprintf("family %d", f)
}

// legacyNAT reports whether the nat table of iptables-legacy was made, which listing it is enough for: a hint.
func legacyNAT() bool {
	for _, path := range []string{"/proc/thread-self/net/ip_tables_names", "/proc/thread-self/net/ip6_tables_names"} {
		b, _ := os.ReadFile(path)
		for line := range strings.Lines(string(b)) {
			if strings.TrimSpace(line) == "nat" {
				return true
			}
		}
	}
	return false
}
