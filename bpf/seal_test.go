package bpf

import (
	"net"
	"runtime"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
)

const theSeal = 0x123456789abcdef1

// sealing is an XDP program that puts these two words in front of every frame.
func sealing(t *testing.T, key, rest uint64) *ebpf.Program {
	t.Helper()
	put := func(off int16, v uint64) asm.Instructions {
		return asm.Instructions{asm.LoadImm(asm.R3, int64(v), asm.DWord), asm.StoreMem(asm.R2, off, asm.R3, asm.DWord)}
	}
	insns := asm.Instructions{
		asm.Mov.Reg(asm.R6, asm.R1),
		asm.Mov.Imm(asm.R2, -16),
		asm.FnXdpAdjustMeta.Call(),
		asm.LoadMem(asm.R2, asm.R6, 8, asm.Word), // data_meta
		asm.LoadMem(asm.R3, asm.R6, 0, asm.Word), // data
		asm.Mov.Reg(asm.R4, asm.R2),
		asm.Add.Imm(asm.R4, 16),
		asm.JGT.Reg(asm.R4, asm.R3, "out"),
	}
	insns = append(append(insns, put(0, key)...), put(8, rest)...)
	insns = append(insns, asm.Mov.Imm(asm.R0, 2).WithSymbol("out"), asm.Return()) // XDP_PASS
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.XDP, License: "GPL", Instructions: insns})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

// tc ingress, whose own prerouting rules would drop everything, believes nothing but a seal of its own generation and interface.
func TestSeal(t *testing.T) {
	w := newWorld(t)
	dev, err := netlink.LinkByName("r1")
	if err != nil {
		t.Fatal(err)
	}
	here := uint64(dev.Attrs().Index)
	const accept, dropped, rejected, untracked = 1 << 32, 2 << 32, 3 << 32, 0x10001 << 32
	for _, c := range []struct {
		name      string
		key, rest uint64
		ours      uint64 // own_seal
		arrives   bool
		answered  bool
	}{
		{"sealed", theSeal, here | accept, theSeal, true, false},
		{"sealed, not to be tracked", theSeal, here | untracked, theSeal, true, false},
		{"another generation's", theSeal + 2, here | accept, theSeal, false, false},
		{"another interface's", theSeal, (here + 1) | accept, theSeal, false, false},
		{"left to tc", 0, 0, theSeal, false, false},
		{"left to tc by none", 0, here | accept, 0, false, false},
		{"sealed, to be dropped", theSeal, here | dropped, theSeal, false, false},
		{"sealed, to be rejected", theSeal, here | rejected, theSeal, false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			spec := classifier(t, "cfg_prerouting", "cfg_conntrack", "cfg_sealed")
			if err := spec.Variables["own_seal"].Set(c.ours); err != nil {
				t.Fatal(err)
			}
			states := int32(isNew)
			if c.rest>>32 == untracked>>32 {
				states = 16 /* UNTRACKED */
			}
			for _, p := range spec.Programs {
				p.Instructions = replace(p.Instructions, "fw_prerouting", asm.Mov.Imm(asm.R0, 2), asm.Return())
				p.Instructions = replace(p.Instructions, "fw_input", onlyStates("fw_input", states)...)
			}
			coll := load(t, spec)
			runtime.LockOSThread() // never unlocked
			w.TB = t               // what is attached goes with the case
			w.in(w.router, func() error { return nil })
			w.protect(dispatched(t, coll), "r1")
			l, err := link.AttachXDP(link.XDPOptions{Program: sealing(t, c.key, c.rest), Interface: dev.Attrs().Index, Flags: link.XDPDriverMode})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { l.Close() })
			receiver, err := net.ListenPacket("udp", "10.9.1.1:7000")
			if err != nil {
				t.Fatal(err)
			}
			defer receiver.Close()
			w.in(w.a, func() error { return nil })
			if c.answered {
				w.expectRefused("the sender", ask("10.9.1.1:7000"))
				return
			}
			wait := 3 * time.Second
			if !c.arrives {
				wait = 100 * time.Millisecond
			}
			if err := tell("10.9.1.1:7000"); err != nil {
				t.Fatal(err)
			}
			receiver.SetReadDeadline(time.Now().Add(wait))
			if _, _, err := receiver.ReadFrom(make([]byte, 9)); (err == nil) != c.arrives {
				t.Errorf("arrived: %t", err == nil)
			}
		})
	}
}

// dispatched is the dispatchers in front of a generation's programs. Where GRO was at work they are needed: cb[0] has something in it.
func dispatched(t *testing.T, coll *ebpf.Collection) *ebpf.Collection {
	t.Helper()
	spec, err := LoadDispatcher()
	if err != nil {
		t.Fatal(err)
	}
	d := load(t, spec)
	for name, v := range map[string]any{"gen": uint32(1), "progs_ingress": coll.Programs["tc_ingress"], "progs_egress": coll.Programs["tc_egress"]} {
		key := uint32(1)
		if name == "gen" {
			key = 0
		}
		if err := d.Maps[name].Put(key, v); err != nil {
			t.Fatal(err)
		}
	}
	return &ebpf.Collection{Maps: coll.Maps, Programs: map[string]*ebpf.Program{
		"tc_ingress": d.Programs["tc_dispatch_ingress"], "tc_egress": d.Programs["tc_dispatch_egress"],
	}}
}

// tell sends a datagram.
func tell(addr string) error {
	c, err := net.Dial("udp", addr)
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = c.Write([]byte("?"))
	return err
}
