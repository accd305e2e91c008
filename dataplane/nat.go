package dataplane

import (
	"fmt"
	"os"
	"strings"

	"github.com/google/nftables"

	"github.com/bpfwall/bpfwall/ruleset"
)

// natWarning is what Status and Apply say of a host with NAT.
const natWarning = "nat rules of the kernel are in force (%s); input and forward rules see addresses before DNAT and after SNAT"

// checkNAT refuses rules that the kernel's NAT would make mean something else, unless the operator knows.
func (t *transaction) checkNAT() error {
	chains, err := natChains()
	if err != nil {
		t.warn("nat rules of the kernel: %s", err)
	}
	if legacyNAT() {
		t.warn("the nat table of iptables-legacy is there: if it has rules, input and forward rules see addresses before DNAT and after SNAT")
	}
	if len(chains) == 0 {
		return nil
	}
	why := natDanger(t.rs)
	if why != "" && !t.opts.BesideNAT {
		return &NATError{Chains: chains, Why: why}
	}
	t.warn(natWarning, strings.Join(chains, "; "))
	return nil
}

// natDanger names what of a ruleset depends on addresses that NAT changes on the way; "" if nothing does.
func natDanger(rs *ruleset.Ruleset) string {
	switch {
	case rs.UsesConntrack():
		return "rules that match the conntrack state"
	case len(rs.Base(ruleset.HookForward, ruleset.FamilyIPv4))+len(rs.Base(ruleset.HookForward, ruleset.FamilyIPv6)) > 0:
		return "the forward chain"
	}
	return ""
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
