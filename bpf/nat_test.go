package bpf

import "testing"

// The programs of a host whose kernel translates addresses load; what they do is tested with real NAT in test/netns.
func TestLoadsBesideNAT(t *testing.T) {
	spec := classifier(t)
	for _, name := range []string{"cfg_nat", "cfg_conntrack", "cfg_mac", "cfg_tcp_options", "cfg_addrtypes", "cfg_ifnames", "cfg_reads_transport"} {
		if err := spec.Variables[name].Set(uint8(1)); err != nil {
			t.Fatal(err)
		}
	}
	newBench(t, spec)
}
