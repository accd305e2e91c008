package netns

import (
	"net/netip"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"

	"github.com/bpfwall/bpfwall/internal/lab"
)

// tcIndexAt is where tc_index is in struct __sk_buff.
const tcIndexAt = 44

// sendWith has a namespace put a value into the tc_index of all that it sends, which a veth hands over.
func sendWith(t *testing.T, n *lab.NS, value int32) {
	t.Helper()
	prog, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.SchedCLS, License: "GPL", Instructions: asm.Instructions{
		asm.Mov.Imm(asm.R2, value),
		asm.StoreMem(asm.R1, tcIndexAt, asm.R2, asm.Word),
		asm.Mov.Imm(asm.R0, -1), // TCX_NEXT
		asm.Return(),
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { prog.Close() })
	eth0, err := n.Link("eth0")
	if err != nil {
		t.Fatal(err)
	}
	err = n.Do(func() error {
		l, err := link.AttachTCX(link.TCXOptions{Interface: eth0.Attrs().Index, Program: prog, Attach: ebpf.AttachTCXEgress})
		if err == nil {
			t.Cleanup(func() { l.Close() })
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestForgedCarry: what bpfwall's hooks tell each other in tc_index cannot be made up by a container or a neighbour by veth, on an old
// interface or on one that came after the apply.
func TestForgedCarry(t *testing.T) {
	for _, beside := range []struct{ name, flag string }{{"", "--json"}, {"beside nat", "--beside-nat"}} {
		t.Run(beside.name, func(t *testing.T) {
			w := newWorld(t, lab.Options{})
			files := rules(t, ":INPUT DROP [0:0]", ":FORWARD DROP [0:0]", ":OUTPUT ACCEPT [0:0]", "-A INPUT -m conntrack --ctstate UNTRACKED -j ACCEPT",
				"v6 -A INPUT -p icmp -m icmp6 --icmpv6-type 135 -j ACCEPT", "v6 -A INPUT -p icmp -m icmp6 --icmpv6-type 136 -j ACCEPT",
				"-A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT", "-A FORWARD -i wan0 -j ACCEPT", "-A FORWARD -m conntrack --ctstate UNTRACKED -j ACCEPT")
			if _, err := w.DUT.Bpfwall(append([]string{"apply", "--yes", beside.flag}, files...)...); err != nil {
				t.Fatal(err)
			}
			late, err := w.Bridge(lab.Docker0, 1)
			if err != nil {
				t.Fatal(err)
			}
			for _, value := range []int32{0x8000, 0xd000 | 16, 0x4000 | 16, 0x4000 | 2, 0x2000, 0x1000, 0xffff} {
				sendWith(t, w.Client, value)
				sendWith(t, late[0], value)
				for _, c := range []struct {
					what string
					from *lab.NS
					to   netip.Addr
					at   *lab.NS
				}{
					{"client to server", w.Client, lab.WAN.Far4.Addr(), w.Server}, {"client to server", w.Client, lab.WAN.Far6.Addr(), w.Server},
					{"client to host", w.Client, lab.LAN.DUT4.Addr(), w.DUT}, {"client to host", w.Client, lab.LAN.DUT6.Addr(), w.DUT},
					{"new container to server", late[0], lab.WAN.Far4.Addr(), w.Server}, {"new container to server", late[0], lab.WAN.Far6.Addr(), w.Server},
				} {
					at := netip.AddrPortFrom(c.to, 53)
					if got := ask(t, c.from, c.at, at, at, 10); got != "nothing came back" {
						t.Errorf("tc_index %#x: %s by %s: %s", value, c.what, c.to, got)
					}
				}
			}
		})
	}
}
