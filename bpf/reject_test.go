package bpf

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
)

// answering puts a function that returns one verdict in place of each hook's stub, as the translator does.
func answering(tb testing.TB, spec *ebpf.CollectionSpec, verdict int32) *ebpf.CollectionSpec {
	tb.Helper()
	for _, p := range spec.Programs {
		for _, hook := range []string{"fw_input", "fw_output", "fw_forward"} {
			p.Instructions = replace(p.Instructions, hook, asm.Mov.Imm(asm.R0, verdict), asm.Return())
		}
	}
	return spec
}

func replace(insns asm.Instructions, name string, body ...asm.Instruction) asm.Instructions {
	start := slices.IndexFunc(insns, func(i asm.Instruction) bool { f := btf.FuncMetadata(&i); return f != nil && f.Name == name })
	if start < 0 {
		return insns
	}
	end := start + 1
	for end < len(insns) && btf.FuncMetadata(&insns[end]) == nil {
		end++
	}
	body[0] = btf.WithFuncMetadata(body[0].WithSymbol(name).WithSource(insns[start].Source()), btf.FuncMetadata(&insns[start]))
	return slices.Concat(insns[:start], body, insns[end:])
}

const reject = 3 // FW_REJECT; the answer is in the second byte

// packetOf takes the answer apart and checks lengths and checksums.
func (b *bench) packetOf(frame []byte) (src, dst netip.Addr, proto byte, payload []byte) {
	b.Helper()
	p := frame[14:]
	pseudo := be16(0)
	if p[0]>>4 == 4 {
		if checksum(p[:20]) != 0 || int(binary.BigEndian.Uint16(p[2:])) != len(p) {
			b.Errorf("IP header %x of %d bytes", p[:20], len(p))
		}
		tos := map[byte]byte{protoICMP: 0xc0}[p[9]] // RFC 1812 4.3.2.5
		if p[8] != 64 || p[1] != tos || binary.BigEndian.Uint16(p[6:]) != 0x4000 {
			b.Errorf("IP header %x: TTL, TOS or fragment field", p[:20])
		}
		src, dst, proto, payload = netip.AddrFrom4([4]byte(p[12:])), netip.AddrFrom4([4]byte(p[16:])), p[9], p[20:]
	} else {
		if int(binary.BigEndian.Uint16(p[4:])) != len(p)-40 {
			b.Errorf("IPv6 header %x of %d bytes", p[:40], len(p))
		}
		if p[7] != 64 || p[0] != 0x60 || p[1] != 0 {
			b.Errorf("IPv6 header %x: hop limit or traffic class", p[:40])
		}
		src, dst, proto, payload = netip.AddrFrom16([16]byte(p[8:])), netip.AddrFrom16([16]byte(p[24:])), p[6], p[40:]
	}
	if proto != protoICMP {
		pseudo = slices.Concat(src.AsSlice(), dst.AsSlice(), be16(len(payload), int(proto)))
	}
	if checksum(pseudo, payload) != 0 {
		b.Errorf("transport checksum of %x", payload)
	}
	return src, dst, proto, payload
}

func TestReset(t *testing.T) {
	b := newBench(t, answering(t, classifier(t), reject))
	for _, c := range []struct {
		name     string
		src, dst netip.Addr
		seg      seg
		want     seg
	}{
		{"syn", peer4, local4, seg{flags: syn, seq: 7}, seg{flags: rst | ack, ack: 8}},
		{"syn 6", peer6, local6, seg{flags: syn, seq: 7}, seg{flags: rst | ack, ack: 8}},
		{"data", peer4, local4, seg{flags: ack, seq: 7, ack: 9, data: 11}, seg{flags: rst, seq: 9}},
		{"data 6, long", peer6, local6, seg{flags: ack, seq: 7, ack: 9, data: 1111}, seg{flags: rst, seq: 9}},
		{"fin without ack", peer4, local4, seg{flags: fin, seq: 7, data: 4}, seg{flags: rst | ack, ack: 12}},
		{"options", peer4, local4, seg{flags: syn, seq: 7, options: make([]byte, 20)}, seg{flags: rst | ack, ack: 8}},
	} {
		c.seg.sport, c.seg.dport, c.want.sport, c.want.dport = 31245, 80, 80, 31245
		if ret, _ := b.run("tc_ingress", ourselves, frame(c.src, c.dst, protoTCP, c.seg.bytes())); ret != redirect {
			t.Errorf("%s: verdict %d", c.name, ret)
			continue
		}
		if !bytes.Equal(b.out[:12], slices.Concat(peerMAC, ourMAC)) {
			t.Errorf("%s: addresses %x", c.name, b.out[:12])
		}
		src, dst, proto, got := b.packetOf(b.out)
		c.want.window = 1
		want := c.want.bytes()
		copy(want[14:], be16(0, int(binary.BigEndian.Uint16(got[16:]))))
		if src != c.dst || dst != c.src || proto != protoTCP || !bytes.Equal(got, want) {
			t.Errorf("%s: %v -> %v protocol %d\n got %x\nwant %x", c.name, src, dst, proto, got, want)
		}
	}
}

func TestError(t *testing.T) {
	codes := []struct{ with, v4, v6 byte }{{0, 3, 4}, {1, 3, 4}, {2, 3, 4}, {3, 1, 3}, {4, 0, 0}, {5, 2, 4}, {6, 9, 1}, {7, 10, 1},
		{8, 13, 1}, {9, 13, 5}, {10, 13, 6}}
	for _, c := range codes {
		b := newBench(t, answering(t, classifier(t), reject|int32(c.with)<<8))
		for _, size := range []int{0, 1, 63, 64, 65, 1400} {
			b.expectError(peer4, local4, protoUDP, udp(9, 53, size), 3, c.v4)
			b.expectError(peer6, local6, protoUDP, udp(9, 53, size), 1, c.v6)
		}
		b.expectError(peer4, local4, protoUDP, be16(9, 53, 2, 0), 3, c.v4) // its length lies
		b.expectError(peer4, local4, protoUDP, be16(9, 53), 3, c.v4)
		b.expectError(peer4, local4, protoICMP, icmp(8, 0, 7, []byte("ping")), 3, c.v4)
		b.expectError(peer6, local6, protoICMP6, icmp(128, 0, 7, []byte("ping")), 1, c.v6)
		b.expectError(peer6, local6, protoICMP6, icmp(135, 0, 7, make([]byte, 16)), 1, c.v6)
		b.expectError(peer4, local4, protoGRE, make([]byte, 9), 3, c.v4)
		b.expectError(peer6, local6, 50, make([]byte, 30), 1, c.v6)
	}
}

// expectError sends a packet and checks the error that comes back.
func (b *bench) expectError(from, to netip.Addr, proto byte, payload []byte, typ, code byte) {
	b.Helper()
	in := frame(from, to, proto, payload)
	if ret, _ := b.run("tc_ingress", ourselves, in); ret != redirect {
		b.Errorf("%d bytes: verdict %d", len(payload), ret)
		return
	}
	src, dst, proto, got := b.packetOf(b.out)
	max := map[byte]int{protoICMP: 548, protoICMP6: 1232}[proto]
	quote := in[14:min(14+max, len(in))]
	if src != to || dst != from || max == 0 || got[0] != typ || got[1] != code || !bytes.Equal(got[8:], quote) {
		b.Errorf("%v -> %v protocol %d type %d code %d quotes %d bytes, want code %d and %d bytes", src, dst, proto, got[0], got[1],
			len(got)-8, code, len(quote))
	}
}

func TestNoAnswer(t *testing.T) {
	b := newBench(t, answering(t, classifier(t), reject))
	hostUnreachable := icmp(3, 1, 0, ip4(local4, peer4, protoUDP, 0, nil, udp(1, 2, 0)))
	group, broadcast := netip.MustParseAddr("224.0.0.251"), netip.MustParseAddr("255.255.255.255")
	for name, in := range map[string][]byte{
		"rst":               frame(peer4, local4, protoTCP, seg{flags: rst}.bytes()),
		"icmp error":        frame(peer4, local4, protoICMP, hostUnreachable),
		"icmp 6 error":      frame(peer6, local6, protoICMP6, icmp(1, 0, 0, nil)),
		"later fragment":    ether(nil, 0x0800, ip4(peer4, local4, protoUDP, 5, nil, udp(1, 2, 0))),
		"multicast":         frame(peer4, group, protoUDP, udp(1, 2, 0)),
		"broadcast":         frame(peer4, broadcast, protoUDP, udp(1, 2, 0)),
		"from nobody":       frame(netip.IPv4Unspecified(), local4, protoUDP, udp(1, 2, 0)),
		"broadcast frame":   append(bytes.Repeat([]byte{255}, 6), frame(peer4, local4, protoUDP, udp(1, 2, 0))[6:]...),
		"malformed segment": frame(peer4, local4, protoTCP, make([]byte, 8)),
	} {
		if ret, _ := b.run("tc_ingress", ourselves, in); ret != drop {
			t.Errorf("%s: verdict %d", name, ret)
		}
	}
	if n := b.stat(ClassifierFwStatFW_STAT_REJECT_SUPPRESSED); n != 9 {
		t.Errorf("%d counted", n)
	}
}

func TestErrorRate(t *testing.T) {
	b := newBench(t, answering(t, classifier(t), reject))
	sent := 0
	for range 500 {
		if ret, _ := b.run("tc_ingress", ourselves, frame(peer4, local4, protoUDP, udp(9, 53, 9))); ret == redirect {
			sent++
		}
	}
	if sent < 50 || sent > 400 {
		t.Errorf("%d of 500 errors sent", sent)
	}
}

// A frame whose checksum is still to be computed is quoted in an error that is right once it has been.
func TestErrorOfUnfinishedChecksum(t *testing.T) {
	b := newBench(t, answering(t, classifier(t), reject))
	for _, size := range []int{1, 64, 1300} {
		payload := udp(53, 9, size)
		for i := range size {
			payload[8+i] = byte(i * 7)
		}
		pseudo := slices.Concat(local4.AsSlice(), peer4.AsSlice(), be16(len(payload), protoUDP))
		copy(payload[6:], be16(int(^checksum(pseudo))))
		if ret, _ := b.run("tc_egress", ourselves, frame(local4, peer4, protoUDP, payload)); ret != redirect {
			t.Fatalf("verdict %d", ret)
		}
		const quote = 14 + 20 + 8
		quoted := b.out[quote+20:]
		copy(quoted[6:], be16(int(checksum(quoted)))) // what the device will do
		b.packetOf(b.out)
	}
}
