package bpf

import (
	"net"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
)

// The generation word chooses the program; without a word everything passes, without a program nothing does.
func TestDispatcher(t *testing.T) {
	spec, err := LoadDispatcher()
	if err != nil {
		t.Fatal(err)
	}
	b := newBench(t, spec)
	accepting, dropping := load(t, classifier(t)), load(t, answering(t, classifier(t), 2))
	for slot, coll := range []*ebpf.Collection{accepting, dropping} {
		for progs, name := range map[string]string{"progs_ingress": "tc_ingress", "progs_egress": "tc_egress"} {
			if err := b.Maps[progs].Put(uint32(slot), coll.Programs[name]); err != nil {
				t.Fatal(err)
			}
		}
	}
	dispatch := func(prog string, gen uint32) uint32 {
		if err := b.Maps["gen"].Put(uint32(0), gen); err != nil {
			t.Fatal(err)
		}
		ctx := skBuff{Ifindex: uint32(b.ifindex)}
		ret, err := b.Programs[prog].Run(&ebpf.RunOptions{Data: frame(peer4, local4, protoUDP, udp(1, 2, 0)), Context: &ctx})
		if err != nil {
			t.Fatal(err)
		}
		return ret
	}
	for _, prog := range []string{"tc_dispatch_ingress", "tc_dispatch_egress"} {
		for gen, want := range map[uint32]uint32{0: pass, 1: drop, 2: pass, 3: drop, 4: pass} {
			if got := dispatch(prog, gen); got != want {
				t.Errorf("%s, generation %d: %d", prog, gen, got)
			}
		}
	}
	if err := b.Maps["progs_ingress"].Delete(uint32(0)); err != nil {
		t.Fatal(err)
	}
	if got := dispatch("tc_dispatch_ingress", 2); got != drop {
		t.Errorf("empty slot: %d", got)
	}
	if n := b.stat(Stat(DispatcherFwStatFW_STAT_NO_PROGRAM)); n != 1 {
		t.Errorf("%d counted", n)
	}
}

// In XDP a generation without a program leaves everything to tc.
func TestXDPDispatcher(t *testing.T) {
	spec, err := LoadDispatcher()
	if err != nil {
		t.Fatal(err)
	}
	b := newBench(t, spec)
	for slot, answer := range []int32{1, 3} { // XDP_DROP, XDP_TX
		p := load(t, &ebpf.CollectionSpec{Programs: map[string]*ebpf.ProgramSpec{"p": {
			Type: ebpf.XDP, AttachType: ebpf.AttachXDP, Flags: spec.Programs["xdp_dispatch"].Flags, License: "GPL",
			Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, answer), asm.Return()},
		}}})
		if err := b.Maps["progs_xdp"].Put(uint32(slot), p.Programs["p"]); err != nil {
			t.Fatal(err)
		}
	}
	check := func(gen, want uint32) {
		t.Helper()
		if err := b.Maps["gen"].Put(uint32(0), gen); err != nil {
			t.Fatal(err)
		}
		ret, err := b.Programs["xdp_dispatch"].Run(&ebpf.RunOptions{Data: frame(peer4, local4, protoUDP, udp(1, 2, 0))})
		if err != nil || ret != want {
			t.Errorf("generation %d: %d, want %d: %v", gen, ret, want, err)
		}
	}
	check(0, 2)
	check(1, 3)
	check(2, 1)
	check(3, 3)
	if err := b.Maps["progs_xdp"].Delete(uint32(1)); err != nil {
		t.Fatal(err)
	}
	check(3, 2)
}

// On lo both hooks give one packet one state: a datagram from one port to another is new twice, one to itself comes back as an answer.
func TestLoopbackState(t *testing.T) {
	w := newWorld(t)
	spec := classifier(t, "cfg_conntrack")
	for _, p := range spec.Programs {
		p.Instructions = replace(p.Instructions, "fw_input", onlyStates("fw_input", isNew)...)
		p.Instructions = replace(p.Instructions, "fw_output", onlyStates("fw_output", isNew)...)
	}
	coll := load(t, spec)
	w.protect(coll, "lo")
	receiver, err := net.ListenPacket("udp", "127.0.0.1:7002")
	if err != nil {
		t.Fatal(err)
	}
	defer receiver.Close()
	for range 3 {
		if err := say(receiver, "127.0.0.1:7001", "127.0.0.1:7002"); err != nil {
			t.Errorf("new in output and input: %s", err)
		}
	}
	self, err := net.ListenPacket("udp", "127.0.0.1:7000")
	if err != nil {
		t.Fatal(err)
	}
	defer self.Close()
	to := self.LocalAddr()
	for i, want := range []bool{true, false} {
		self.WriteTo([]byte("?"), to)
		self.SetReadDeadline(soon())
		if _, _, err := self.ReadFrom(make([]byte, 9)); (err == nil) != want {
			t.Errorf("packet %d to itself: %v", i+1, err)
		}
	}
}

// say sends a datagram between two addresses and waits for it.
func say(receiver net.PacketConn, from, to string) error {
	local, _ := net.ResolveUDPAddr("udp", from)
	remote, _ := net.ResolveUDPAddr("udp", to)
	c, err := net.DialUDP("udp", local, remote)
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := c.Write([]byte("?")); err != nil {
		return err
	}
	receiver.SetReadDeadline(soon())
	_, _, err = receiver.ReadFrom(make([]byte, 9))
	return err
}
