package lab

import (
	"encoding/json"
	"fmt"
	"strings"
)

// CountPorts counts the UDP packets that reach a hook of the namespace's stack (as nft writes it: "prerouting", "input"), by
// destination port, and then drops them. Its counters belong to the measuring, not to the firewall under test.
func (n *NS) CountPorts(hook string, ports ...int) error {
	var b strings.Builder
	fmt.Fprintln(&b, "table inet lab {")
	for _, p := range ports {
		fmt.Fprintf(&b, "counter p%d { }\n", p)
	}
	// After every other chain of the hook.
	fmt.Fprintf(&b, "chain c { type filter hook %s priority 1000; policy accept;\n", hook)
	for _, p := range ports {
		fmt.Fprintf(&b, "udp dport %d counter name p%d drop\n", p, p)
	}
	fmt.Fprintln(&b, "}\n}")
	_, err := n.Run(strings.NewReader(b.String()), "nft", "-f", "-")
	return err
}

// PortCounts reads what CountPorts counted.
func (n *NS) PortCounts() (map[int]uint64, error) {
	text, err := n.Run(nil, "nft", "-j", "list", "counters", "table", "inet", "lab")
	if err != nil {
		return nil, err
	}
	var listing struct {
		Nftables []struct {
			Counter *struct {
				Name    string
				Packets uint64
			}
		}
	}
	if err := json.Unmarshal([]byte(text), &listing); err != nil {
		return nil, fmt.Errorf("nft -j list counters: %w", err)
	}
	counts := map[int]uint64{}
	for _, o := range listing.Nftables {
		var port int
		if o.Counter == nil {
			continue
		}
		if _, err := fmt.Sscanf(o.Counter.Name, "p%d", &port); err == nil {
			counts[port] = o.Counter.Packets
		}
	}
	return counts, nil
}
