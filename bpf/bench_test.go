package bpf

import (
	"net/netip"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
)

// What netfilter's hooks cost a packet that tc judges: the dispatcher lets it go. Ingress and egress: BenchmarkPacket/defrag.
func BenchmarkInputDispatcher(b *testing.B) {
	spec, err := LoadDispatcher()
	if err != nil {
		b.Fatal(err)
	}
	needRoot(b)
	coll, err := ebpf.NewCollection(spec)
	if err != nil {
		b.Fatal(err)
	}
	defer coll.Close()
	data := ether(nil, 0x0800, ip4(peer4, local4, protoUDP, 0, nil, udp(1, 2, 100)))[14:]
	b.ResetTimer()
	if _, err := coll.Programs["nf_dispatch_input"].Run(&ebpf.RunOptions{Data: append(data, make([]byte, 14)...), Repeat: uint32(b.N)}); err != nil {
		b.Fatal(err)
	}
}

// The cost of a packet that is accepted, in ns, without the driver and the stack around it.
func BenchmarkPacket(b *testing.B) {
	for _, c := range []struct {
		name     string
		switches []string
	}{
		{"stateless", []string{"cfg_reads_transport"}},
		{"names", []string{"cfg_reads_transport", "cfg_ifnames"}},
		{"conntrack", []string{"cfg_reads_transport", "cfg_conntrack"}},
		{"checksum", []string{"cfg_reads_transport", "cfg_conntrack", "cfg_checksums"}},
		{"defrag", []string{"cfg_reads_transport", "cfg_conntrack", "cfg_defrag"}},
		{"router", []string{"cfg_reads_transport", "cfg_conntrack", "cfg_forwarding"}},
	} {
		b.Run(c.name, func(b *testing.B) {
			bench := newBench(b, classifier(b, c.switches...))
			f := flow{bench, 40000}
			f.out(syn, 0, 0, 0)
			f.bench.run("tc_ingress", ourselves, frame(peer4, local4, protoTCP, summed(peer4, local4, protoTCP, 16,
				seg{sport: 80, dport: 40000, flags: syn | ack, seq: peerISN, ack: ourISN + 1}.bytes())))
			f.out(ack, 1, 1, 0)
			segment := seg{sport: 80, dport: 40000, flags: ack, seq: peerISN + 1, ack: ourISN + 1, data: 1000}
			data := frame(peer4, local4, protoTCP, summed(peer4, local4, protoTCP, 16, segment.bytes()))
			ctx := skBuff{Ifindex: uint32(bench.ifindex), CB: [5]uint32{15}}
			b.ResetTimer()
			ret, err := bench.Programs["tc_ingress"].Run(&ebpf.RunOptions{Data: data, Context: &ctx, Repeat: uint32(b.N)})
			if err != nil || ret != pass {
				b.Fatal(ret, err)
			}
		})
	}
}

// The cost of a packet that passes through a router without a rule, at each end, beside a program that does nothing.
func BenchmarkForward(b *testing.B) {
	router := newRouter(b, classifier(b, "cfg_reads_transport", "cfg_forwarding", "cfg_route_notes"))
	nothing, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.SchedCLS, License: "GPL", Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, -1), asm.Return()}})
	if err != nil {
		b.Fatal(err)
	}
	defer nothing.Close()
	data := frame(peer4, netip.MustParseAddr("203.0.113.9"), protoUDP, udp(1, 2, 22))
	for _, c := range []struct {
		name    string
		program *ebpf.Program
		in      from
	}{{"nothing", nothing, ourselves}, {"ingress", router.Programs["tc_ingress"], ourselves}, {"egress", router.Programs["tc_egress"], elsewhere}} {
		b.Run(c.name, func(b *testing.B) {
			ctx := skBuff{Ifindex: uint32(router.ifindex), IngressIfindex: uint32(c.in), CB: [5]uint32{15}}
			b.ResetTimer()
			ret, err := c.program.Run(&ebpf.RunOptions{Data: data, Context: &ctx, Repeat: uint32(b.N)})
			if err != nil || ret != pass {
				b.Fatal(ret, err)
			}
		})
	}
}

// A netfilter program that does nothing: what of the above is the running.
func BenchmarkEmptyNetfilter(b *testing.B) {
	needRoot(b)
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{Name: "accept", Type: ebpf.Netfilter, AttachType: ebpf.AttachNetfilter, License: "GPL",
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 1), asm.Return()}})
	if err != nil {
		b.Fatal(err)
	}
	defer p.Close()
	data := append(ip4(peer4, local4, protoUDP, 0, nil, udp(1, 2, 100)), make([]byte, 14)...)
	b.ResetTimer()
	if _, err := p.Run(&ebpf.RunOptions{Data: data, Repeat: uint32(b.N)}); err != nil {
		b.Fatal(err)
	}
}
