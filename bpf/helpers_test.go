package bpf

import (
	"bytes"
	"encoding/binary"
	"net"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/ringbuf"
	"github.com/vishvananda/netns"
)

// calling is a hook body that calls a helper of the generated code with the packet or a slot, and returns what it says.
func calling(helper string, r1 asm.Instruction, args ...asm.Instruction) []asm.Instruction {
	body := append([]asm.Instruction{asm.Mov.Reg(asm.R6, asm.R1), r1}, args...)
	return append(body, asm.Call.Label(helper), asm.Return())
}

func TestLog(t *testing.T) {
	spec := classifier(t)
	if err := spec.Variables["own_generation"].Set(uint32(9)); err != nil {
		t.Fatal(err)
	}
	if err := spec.Variables["cfg_log_burst"].Set(uint32(2)); err != nil {
		t.Fatal(err)
	}
	body := append(calling("fw_log", asm.Mov.Reg(asm.R1, asm.R6), asm.Mov.Imm(asm.R2, 7))[:4], asm.Mov.Imm(asm.R0, 1), asm.Return())
	for _, p := range spec.Programs {
		p.Instructions = replace(p.Instructions, "fw_input", body...)
	}
	b := newBench(t, spec)
	r, err := ringbuf.NewReader(b.Maps["events"])
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for range 5 {
		b.run("tc_ingress", ourselves, frame(peer4, local4, protoUDP, udp(9, 53, 0)))
	}
	rec, err := r.Read()
	if err != nil {
		t.Fatal(err)
	}
	var e Event
	if err := binary.Read(bytes.NewReader(rec.RawSample), binary.NativeEndian, &e); err != nil {
		t.Fatal(err)
	}
	if e.LogId != 7 || e.Generation != 9 || e.Pkt.Dport != 53 || e.Ts == 0 {
		t.Errorf("event %+v", e)
	}
	if n := b.stat(ClassifierFwStatFW_STAT_EVENTS_SUPPRESSED); n < 2 || n > 3 {
		t.Errorf("%d suppressed", n)
	}
}

func TestLimit(t *testing.T) {
	spec := classifier(t)
	const hour = 3600e9
	body := []asm.Instruction{
		asm.Mov.Imm(asm.R1, 0), asm.LoadImm(asm.R2, hour, asm.DWord), asm.LoadImm(asm.R3, 3*hour, asm.DWord),
		asm.Call.Label("fw_limit"), asm.Return(), // 1, a token, is FW_ACCEPT; 0 is no verdict and drops
	}
	for _, p := range spec.Programs {
		p.Instructions = replace(p.Instructions, "fw_input", body...)
	}
	b := newBench(t, spec)
	for i := range 5 {
		want := map[bool]uint32{true: pass, false: drop}[i < 3]
		if ret, _ := b.run("tc_ingress", ourselves, frame(peer4, local4, protoUDP, udp(9, 53, 0))); ret != want {
			t.Errorf("packet %d: verdict %d", i, ret)
		}
	}
}

func TestJudge(t *testing.T) {
	b := newBench(t, answering(t, classifier(t), reject|8<<8))
	for hook, want := range map[uint8]uint32{1: 1, 2: 1, 3: reject | 8<<8, 4: reject | 8<<8, 5: reject | 8<<8, 9: 2} {
		pkts := make([]Pkt, ebpf.MustPossibleCPU())
		for i := range pkts {
			pkts[i].Hook = hook
		}
		if err := b.Maps["scratch"].Put(uint32(0), pkts); err != nil {
			t.Fatal(err)
		}
		if _, err := b.Programs["fw_judge"].Run(&ebpf.RunOptions{Data: make([]byte, 14)}); err != nil {
			t.Fatal(err)
		}
		var got uint32
		if err := b.Maps["judged"].Lookup(uint32(0), &got); err != nil || got != want {
			t.Errorf("hook %d: %#x, want %#x (%v)", hook, got, want, err)
		}
	}
}

// A drop of a malformed packet that no rule decided is counted.
func TestMalformedIsCounted(t *testing.T) {
	b := newBench(t, answering(t, classifier(t), 2)) // as generated code does it
	short := frame(peer4, local4, protoTCP, make([]byte, 8))
	for _, prog := range []string{"tc_ingress", "tc_egress"} {
		if ret, _ := b.run(prog, ourselves, short); ret != drop {
			t.Errorf("%s: verdict %d", prog, ret)
		}
	}
	if n := b.stat(ClassifierFwStatFW_STAT_MALFORMED); n != 2 {
		t.Errorf("%d counted", n)
	}
}

func TestMarkGoesOn(t *testing.T) {
	spec := classifier(t)
	for _, p := range spec.Programs {
		p.Instructions = replace(p.Instructions, "fw_input", asm.Mov.Imm(asm.R0, 1), asm.JEq.Imm(asm.R1, 0, "done"),
			asm.StoreImm(asm.R1, int16(offsetOf("mark")), 77, asm.Word), asm.Return().WithSymbol("done"))
	}
	b := newBench(t, spec)
	b.run("tc_ingress", ourselves, frame(peer4, local4, protoUDP, udp(9, 53, 0)))
	if b.after.Mark != 77 {
		t.Errorf("mark %d", b.after.Mark)
	}
}

// A DHCP client on a packet socket gets its answers whatever the rules say; a UDP socket on port 68 is behind the rules.
func TestDHCP(t *testing.T) {
	b := newBench(t, answering(t, classifier(t), 2))
	offer := frame(peer4, local4, protoUDP, udp(67, 68, 300))
	if ret, _ := b.run("tc_ingress", ourselves, offer); ret != pass {
		t.Errorf("no socket: verdict %d", ret)
	}
	if ret, _ := b.run("tc_ingress", ourselves, frame(peer4, local4, protoUDP, udp(67, 69, 300))); ret != drop {
		t.Errorf("another port: verdict %d", ret)
	}
	c, err := net.ListenPacket("udp4", ":68")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if ret, _ := b.run("tc_ingress", ourselves, offer); ret != drop {
		t.Errorf("a UDP socket: verdict %d", ret)
	}
}

func TestForwardedMAC(t *testing.T) {
	spec := classifier(t, "cfg_mac", "cfg_forwarding")
	w := newWorld(t)
	body := []asm.Instruction{
		asm.Mov.Imm(asm.R0, 2),
		asm.JEq.Imm(asm.R1, 0, "done"),
		asm.LoadMem(asm.R2, asm.R1, int16(offsetOf("smac")), asm.DWord),
		asm.JEq.Imm(asm.R2, 0, "done"),
		asm.LoadImm(asm.R3, 1<<48, asm.DWord), // FW_ABSENT48
		asm.JEq.Reg(asm.R2, asm.R3, "done"),
		asm.Mov.Imm(asm.R0, 1),
		asm.Return().WithSymbol("done"),
	}
	for _, p := range spec.Programs {
		p.Instructions = replace(p.Instructions, "fw_forward", body...)
	}
	w.protect(load(t, spec), "lo", "r1", "r2")
	w.listen(w.b)
	w.in(w.a, func() error { return nil })
	if err := fetch("10.9.2.2"); err != nil {
		t.Error(err)
	}
}

// Datagrams larger than the MTU get through conntrack as fragments, in all directions.
func TestFragmentTraffic(t *testing.T) {
	w := newWorld(t)
	spec := classifier(t, "cfg_conntrack", "cfg_forwarding", "cfg_reads_transport")
	for _, p := range spec.Programs {
		for _, hook := range []string{"fw_input", "fw_output", "fw_forward"} {
			p.Instructions = replace(p.Instructions, hook, onlyStates(hook, isNew|established|untracked)...)
		}
	}
	w.protect(load(t, spec), "lo", "r1", "r2")
	for _, c := range []struct {
		client, host netns.NsHandle
		addrs        []string
	}{
		{w.a, w.b, []string{"10.9.2.2", "[fd09:2::2]"}},
		{w.a, w.router, []string{"10.9.1.1", "[fd09:1::1]"}},
		{w.router, w.b, []string{"10.9.2.2", "[fd09:2::2]"}},
	} {
		var s net.PacketConn
		w.in(c.host, func() (err error) { s, err = net.ListenPacket("udp", ":7"); return err })
		go echo(s)
		w.in(c.client, func() error { return nil })
		for _, addr := range c.addrs {
			if err := shout(addr+":7", 5000); err != nil {
				t.Errorf("%s: %s", addr, err)
			}
		}
		s.Close()
	}
}

func echo(s net.PacketConn) {
	b := make([]byte, 9000)
	for {
		n, from, err := s.ReadFrom(b)
		if err != nil {
			return
		}
		s.WriteTo(b[:n], from)
	}
}
