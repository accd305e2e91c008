package bpf

import (
	"bytes"
	"slices"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// whole runs a packet through netfilter's hook, as it comes there: put together, without a link header.
func (b *bench) whole(packet []byte) (uint32, Pkt) {
	b.Helper()
	hook := struct { // struct nf_hook_state
		Hook, Family uint8
		_            [6]uint8
		_            [5]uint64
	}{Hook: 3 /* NF_INET_LOCAL_OUT, the one where a test run takes a packet without a link header */, Family: unix.NFPROTO_IPV4}
	if packet[0]>>4 == 6 {
		hook.Family = unix.NFPROTO_IPV6
	}
	ret, err := b.Programs["nf_input"].Run(&ebpf.RunOptions{Data: packet, Context: hook})
	if err != nil {
		b.Fatal(err)
	}
	var pkts []Pkt
	if err := b.Maps["scratch"].Lookup(uint32(0), &pkts); err != nil {
		b.Fatal(err)
	}
	return ret, pkts[0]
}

// TestHead: at netfilter's hooks the headers in a packet's first 512 bytes are read, and nothing of what comes behind.
func TestHead(t *testing.T) {
	b := only(t, []string{"nf_input"}, "cfg_conntrack", "cfg_tcp_options", "cfg_nat")
	tcp := seg{sport: 1, dport: 2, flags: syn, seq: 9, options: []byte{2, 4, 5, 0xb4, 4, 2, 1, 3, 3, 7, 1, 0}, data: 20}.bytes()
	halved := seg{sport: 1, dport: 2, flags: syn, options: []byte{1, 1, 2, 4, 5, 0xb4, 4, 2}, data: 4}.bytes()
	scale := seg{sport: 1, dport: 2, flags: syn, options: []byte{4, 2, 3, 3, 7, 1, 1, 1}, data: 4}.bytes()
	long := func(words int, rest ...byte) []byte { // an extension header of 8 * words bytes; the transport header follows at 40 + that
		return ip6(other6, odd6, 60, slices.Concat(ext(rest[0], words-1), rest[1:]))
	}
	datagram := append([]byte{17}, udp(1, 2, 30)...)
	init := slices.Concat(be16(1, 2), make([]byte, 8), []byte{1, 0, 0, 20}, be32(7), make([]byte, 12))
	for _, c := range []struct {
		name   string
		packet []byte
		want   want
		mss    uint32
		offer  uint8
	}{
		{"tcp", ip4(peer4, local4, protoTCP, 0, nil, tcp), want{6, 1, 2, syn, no8, 0, 0, 0, 72, 20}, 1460, 0x37},
		{"tcp 6", ip6(other6, odd6, protoTCP, tcp), want{6, 1, 2, syn, no8, 0, 0, 0, 92, 40}, 1460, 0x37},
		{"udp", ip4(peer4, local4, protoUDP, 0, make([]byte, 8), udp(1, 2, 0)), want{17, 1, 2, no8, no8, 0, 0, 0, 36, 28}, no16, 0},
		{"udp cut short", ip4(peer4, local4, protoUDP, 0, nil, udp(1, 2, 0)[:7]), want{17, no16, no16, no8, no8, 0, 0, 1, 27, 20}, no16, 0},
		{"icmp", ip4(peer4, local4, protoICMP, 0, nil, icmp(8, 0, 7, nil)), want{1, no16, no16, no8, 8, 0, 0, 0, 28, 20}, no16, 0},
		{"icmp 6", ip6(other6, odd6, protoICMP6, icmp(128, 0, 7, nil)), want{58, no16, no16, no8, 128, 0, 0, 0, 48, 40}, no16, 0},
		{"sctp", ip4(peer4, local4, protoSCTP, 0, nil, init), want{132, 1, 2, no8, no8, 0, 0, 0, 52, 20}, no16, 0},
		{"up to the last of 512", long(58, datagram...), want{17, 1, 2, no8, no8, 0, 0, 0, 542, 504}, no16, 0},
		{"one word further", long(59, datagram...), want{17, no16, no16, no8, no8, 0, 0, 1, 550, 512}, no16, 0},
		{"no next header behind 512", long(59, 59), want{59, no16, no16, no8, no8, 0, 0, 0, 512, 512}, no16, 0},
		{"no next header, cut", long(59, 59)[:511], want{}, 0, 0},
		{"extensions behind 512", long(59, append([]byte{60}, ext(59, 0)...)...), want{60, no16, no16, no8, no8, 0, 0, 1, 520, 512}, no16, 0},
		{"options up to the last of 512", long(55, append([]byte{6}, tcp...)...), want{6, 1, 2, syn, no8, 0, 0, 0, 532, 480}, 1460, 0x37},
		{"half an option", long(56, append([]byte{6}, halved...)...), want{6, 1, 2, syn, no8, 0, 0, 0, 520, 488}, no16, 0},
		{"half a scale", long(56, append([]byte{6}, scale...)...), want{6, 1, 2, syn, no8, 0, 0, 0, 520, 488}, no16, 0x20},
		{"some options", long(56, append([]byte{6}, tcp...)...), want{6, 1, 2, syn, no8, 0, 0, 0, 540, 488}, 1460, 0},
	} {
		b.forget()
		_, p := b.whole(c.packet)
		if c.name == "no next header, cut" {
			if ret, _ := b.whole(c.packet); ret != 0 {
				t.Errorf("%s: verdict %d", c.name, ret)
			}
			continue
		}
		if diff := cmp.Diff(c.want, seen(p)); diff != "" || p.TcpMss != c.mss || p.TcpOffer != c.offer {
			t.Errorf("%s: mss %d, offer %#x, want %d, %#x (-want +got):\n%s", c.name, p.TcpMss, p.TcpOffer, c.mss, c.offer, diff)
		}
		if c.name == "sctp" && (p.Ack != 7 || p.CtState != isNew) {
			t.Errorf("sctp: tag %d, state %d", p.Ack, p.CtState)
		}
	}
}

// TestHeadTracks: errors are related there too, by what they quote in the first bytes; a length of 0 is that of the buffer.
func TestHeadTracks(t *testing.T) {
	b := only(t, []string{"nf_input", "tc_egress"}, "cfg_conntrack", "cfg_nat")
	query := ip4(local4, peer4, protoUDP, 0, nil, udp(5000, 53, 9))
	_, p := b.run("tc_egress", ourselves, ether(nil, 0x0800, query))
	b.expect("query", p.CtState, isNew)
	_, p = b.whole(ip4(peer4, local4, protoICMP, 0, nil, icmp(3, 3, 0, query)))
	b.expect("error", p.CtState, related)
	_, p = b.whole(ip4(peer4, local4, protoICMP, 0, nil, icmp(3, 3, 0, query[:23])))
	b.expect("error, cut", p.CtState, invalid)
	_, p = b.whole(ip4(peer4, local4, protoUDP, 0, nil, udp(53, 5000, 9)))
	b.expect("answer", p.CtState, established)
	super := ip4(peer4, local4, protoTCP, 0, nil, seg{sport: 1, dport: 2, flags: syn, data: 600}.bytes())
	copy(super[2:], be16(0))
	if _, p = b.whole(super); p.Length != 640 || p.Payload != 600 {
		t.Errorf("length 0: %d bytes, payload %d", p.Length, p.Payload)
	}
	super = ip4(peer4, local4, protoTCP, 0, nil, seg{sport: 1, dport: 2, flags: syn, data: 600}.bytes())
	copy(super[2:], be16(140))
	if _, p = b.whole(super); p.Length != 140 || p.Payload != 600 {
		t.Errorf("length of the first segment: %d bytes, payload %d", p.Length, p.Payload)
	}
}

// TestEthernet: where nobody says how long the link header is, it is Ethernet's.
func TestEthernet(t *testing.T) {
	b := only(t, []string{"tc_ingress"}, "cfg_mac")
	for said, mac := range map[uint32]uint64{0: 0x020000000002, 15: 0x020000000002, 17: 1 << 48} {
		b.cb = said
		f := frame(peer4, local4, protoUDP, udp(1, 2, 0))
		if said == 17 { // two bytes more; the EtherType is still read where Ethernet has it
			f = slices.Concat(f[:14], be16(0), f[14:])
			mac = 0x020000000002
		}
		if _, p := b.run("tc_ingress", ourselves, f); p.Dport != 2 || p.Smac != mac || p.Length != 28 {
			t.Errorf("link header of %d: port %d, MAC %#x, length %d", int(said)-1, p.Dport, p.Smac, p.Length)
		}
	}
}

// TestChunks: of an SCTP packet 64 chunks are looked at, and three that move the state; with more of these it is invalid.
func TestChunks(t *testing.T) {
	b := atNoon(t, nil)
	sack, heartbeat, abort, unknown := []byte{3, 0, 0, 4}, []byte{4, 0, 0, 4}, []byte{6, 0, 0, 4}, []byte{192, 0, 0, 4}
	const closed, beating = 1, 8 // enum ct_sctp_state
	for _, c := range []struct {
		name   string
		chunks []byte
		want   uint8
		after  uint8
	}{
		{"none", nil, invalid, beating},
		{"half of one", heartbeat[:3], invalid, beating},
		{"one", heartbeat, isNew, beating},
		{"one, and half of one", append(heartbeat[:4:4], 6, 0, 0), isNew, beating},
		{"three that move", slices.Concat(heartbeat, heartbeat, abort), isNew, closed},
		{"four that move", bytes.Repeat(heartbeat, 4), invalid, beating},
		{"an ABORT in place 64", append(bytes.Repeat(sack, 63), abort...), isNew, closed},
		{"an ABORT in place 65", append(append(heartbeat[:4:4], bytes.Repeat(sack, 63)...), abort...), isNew, beating},
		{"a length of 0", []byte{4, 0, 0, 0}, invalid, beating},
		{"a length of 0 that moves nothing", []byte{3, 0, 0, 0}, invalid, beating},
		{"a length of 1", slices.Concat([]byte{4, 0, 0, 1}, abort), isNew, closed},
		{"padded by three", slices.Concat([]byte{4, 0, 0, 5, 0, 0, 0, 0}, abort), isNew, closed},
		{"padded by one", slices.Concat([]byte{4, 0, 0, 7, 0, 0, 0, 0}, abort), isNew, closed},
		{"not padded", slices.Concat([]byte{4, 0, 0, 8, 0, 0, 0, 0}, abort), isNew, closed},
		{"unknown", unknown, isNew, beating},
		{"the first unknown", []byte{16, 0, 0, 4}, isNew, beating},
		{"INIT of 19 bytes", slices.Concat([]byte{1, 0, 0, 20}, be32(7), make([]byte, 11)), invalid, beating},
		{"INIT of 20 bytes", slices.Concat([]byte{1, 0, 0, 20}, be32(7), make([]byte, 12)), isNew, 2},
		{"half an INIT", []byte{1, 0, 0, 4}, invalid, beating},
	} {
		b.forget()
		b.expect("HEARTBEAT", b.receive(protoSCTP, slices.Concat(be16(1, 2), be32(9, 0), heartbeat)), isNew)
		tag := be32(9, 0)
		if len(c.chunks) > 0 && c.chunks[0] == 1 {
			tag = be32(0, 0)
		}
		b.expect(c.name, b.receive(protoSCTP, slices.Concat(be16(1, 2), tag, c.chunks)), c.want)
		if _, f, _ := b.one(); f.TcpState != c.after {
			t.Errorf("%s: state %d, want %d", c.name, f.TcpState, c.after)
		}
	}
}
