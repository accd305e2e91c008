package bpf

import (
	"testing"

	"github.com/cilium/ebpf"
)

// The programs of a host whose kernel translates addresses load; what they do is tested with real NAT in test/netns.
func TestLoadsBesideNAT(t *testing.T) {
	spec := classifier(t)
	for _, name := range []string{"cfg_nat", "cfg_conntrack", "cfg_mac", "cfg_tcp_options", "cfg_addrtypes", "cfg_ifnames", "cfg_reads_transport", "cfg_checksums"} {
		if err := spec.Variables[name].Set(uint8(1)); err != nil {
			t.Fatal(err)
		}
	}
	newBench(t, withLimit(t, spec))
}

// BenchmarkInput is what input costs: all of it at tc ingress, or beside NAT at ingress and at LOCAL_IN; ns a packet.
func BenchmarkInput(b *testing.B) {
	for _, c := range []struct {
		name, prog string
		switches   []string
	}{
		{"ingress", "tc_ingress", nil},
		{"ingress beside NAT", "tc_ingress", []string{"cfg_nat"}},
		{"LOCAL_IN", "nf_input", []string{"cfg_nat"}},
		{"egress", "tc_egress", nil},
		{"egress beside NAT, not translated", "tc_egress", []string{"cfg_nat"}},
	} {
		b.Run(c.name, func(b *testing.B) {
			bench := newBench(b, classifier(b, append(c.switches, "cfg_reads_transport", "cfg_conntrack", "cfg_ifnames")...))
			data := frame(peer4, local4, protoUDP, udp(9, 53, 100))
			opts := &ebpf.RunOptions{Data: data, Repeat: uint32(b.N)}
			if c.prog == "nf_input" {
				opts.Data = data[14:]
			} else {
				opts.Context = &skBuff{Ifindex: uint32(bench.ifindex), CB: [5]uint32{15}}
			}
			b.ResetTimer()
			want := uint32(pass)
			if c.prog == "nf_input" {
				want = 1 // NF_ACCEPT
			}
			if ret, err := bench.Programs[c.prog].Run(opts); err != nil || ret != want {
				b.Fatal(ret, err)
			}
		})
	}
}
