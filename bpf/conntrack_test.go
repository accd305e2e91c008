package bpf

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/cilium/ebpf"
)

// The states of enum fw_state.
const (
	invalid     = 1
	established = 2
	related     = 4
	isNew       = 8
	untracked   = 16
)

// send puts an IP payload from us to the peer through tc_egress, receive one from the peer through tc_ingress; both report the state.
func (b *bench) send(proto byte, payload []byte) uint8 {
	b.Helper()
	_, p := b.run("tc_egress", ourselves, frame(local4, peer4, proto, payload))
	return p.CtState
}

func (b *bench) receive(proto byte, payload []byte) uint8 {
	b.Helper()
	_, p := b.run("tc_ingress", ourselves, frame(peer4, local4, proto, payload))
	return p.CtState
}

// flow is one TCP connection of a test: numbers are relative to the initial ones.
type flow struct {
	*bench
	sport int // ours
}

const ourISN, peerISN = 1000, 900000

// out sends, in receives a segment; the result is its state.
func (f flow) out(flags byte, seq, acked uint32, data int) uint8 {
	f.Helper()
	s := seg{sport: f.sport, dport: 80, flags: flags, seq: ourISN + seq, data: data}
	if flags&ack != 0 {
		s.ack = peerISN + acked
	}
	return f.send(protoTCP, s.bytes())
}

func (f flow) in(flags byte, seq, acked uint32, data int) uint8 {
	f.Helper()
	s := seg{sport: 80, dport: f.sport, flags: flags, seq: peerISN + seq, data: data}
	if flags&ack != 0 {
		s.ack = ourISN + acked
	}
	return f.receive(protoTCP, s.bytes())
}

// handshake opens the connection from our side.
func (f flow) handshake() flow {
	f.Helper()
	f.expect("syn", f.out(syn, 0, 0, 0), isNew)
	f.expect("syn/ack", f.in(syn|ack, 0, 1, 0), established)
	f.expect("ack", f.out(ack, 1, 1, 0), established)
	return f
}

func (b *bench) expect(what string, got, want uint8) {
	b.Helper()
	if got != want {
		b.Errorf("%s: state %d, want %d", what, got, want)
	}
}

// sizes are the numbers of flows in the two maps.
func (b *bench) sizes() (halfOpen, assured int) {
	return size[CtFlow](b, "ct_new"), size[CtAssured](b, "ct")
}

func size[V any](b *bench, name string) (n int) {
	b.Helper()
	var k CtKey
	var v V
	it := b.Maps[name].Iterate()
	for it.Next(&k, &v) {
		n++
	}
	if err := it.Err(); err != nil {
		b.Fatal(err)
	}
	return n
}

func (b *bench) expectSizes(what string, halfOpen, assured int) {
	b.Helper()
	if h, a := b.sizes(); h != halfOpen || a != assured {
		b.Errorf("%s: %d half-open and %d assured flows, want %d and %d", what, h, a, halfOpen, assured)
	}
}

func tracker(t *testing.T) *bench {
	spec := classifier(t, "cfg_conntrack")
	spec.Maps["ct"].MaxEntries = 64
	return newBench(t, spec)
}

func TestTCPLife(t *testing.T) {
	b := tracker(t)
	f := flow{b, 40000}
	b.expect("syn", f.out(syn, 0, 0, 0), isNew)
	b.expect("syn again", f.out(syn, 0, 0, 0), isNew)
	b.expectSizes("after syn", 1, 0)
	b.expect("syn/ack", f.in(syn|ack, 0, 1, 0), established)
	b.expect("ack", f.out(ack, 1, 1, 0), established)
	b.expectSizes("after ack", 0, 1)
	b.expect("data", f.out(psh|ack, 1, 1, 500), established)
	b.expect("ack of data", f.in(ack, 1, 501, 0), established)
	b.expect("syn on a live flow", f.out(syn, 9, 0, 0), established)
	b.expect("syn from the other end", f.in(syn, 9, 0, 0), invalid)
	b.expect("far too high", f.in(ack, 1_000_000, 501, 10), invalid)
	b.expect("ack of what was not sent", f.in(ack, 1, 100_000, 0), invalid)
	b.expect("retransmission", f.out(psh|ack, 1, 1, 500), established)
	b.expect("rst below the window", f.in(rst, ^uint32(5), 0, 0), invalid)
	b.expect("rst in the window, not exact", f.in(rst, 5, 0, 0), established)
	b.expect("alive", f.out(ack, 501, 1, 0), established)
	b.expect("fin", f.out(fin|ack, 501, 1, 0), established)
	b.expect("ack of fin", f.in(ack, 1, 502, 0), established)
	b.expect("fin back", f.in(fin|ack, 1, 502, 0), established)
	b.expect("last ack", f.out(ack, 502, 2, 0), established)
	b.expect("syn after our own close", f.out(syn, 70000, 0, 0), isNew)
	b.expectSizes("a new life", 1, 0)
}

func TestTCPFirstSegment(t *testing.T) {
	b := tracker(t)
	for i, c := range []struct {
		flags byte
		want  uint8
	}{
		{syn, isNew}, {syn | ece | cwr, isNew}, {syn | psh, isNew}, {syn | urg, isNew},
		{ack, isNew}, {ack | psh, isNew}, {ack | urg, isNew},
		{syn | ack, invalid}, {fin, invalid}, {fin | ack, invalid}, {rst, invalid}, {rst | ack, invalid}, {0, invalid},
		{syn | fin, invalid}, {syn | rst, invalid}, {fin | psh | urg, invalid}, {rst | urg, invalid}, {syn | ack | urg, invalid},
	} {
		f := flow{b, 41000 + i}
		b.expect("first segment "+string(rune('a'+i)), f.out(c.flags, 0, 0, 0), c.want)
	}
}

func TestTCPPickup(t *testing.T) {
	b := tracker(t)
	f := flow{b, 42000}
	b.expect("ack out of nothing", f.out(ack, 5000, 70000, 10), isNew)
	b.expect("again", f.out(ack, 5010, 70000, 10), isNew)
	b.expect("answer", f.in(ack, 70000, 5020, 100), established)
	b.expect("and on", f.out(ack, 5020, 70100, 0), established)
	b.expectSizes("assured", 0, 1)
}

func TestTCPRefused(t *testing.T) {
	b := tracker(t)
	f := flow{b, 43000}
	b.expect("syn", f.out(syn, 0, 0, 0), isNew)
	b.expect("rst", f.in(rst|ack, 0, 1, 0), established)
	b.expectSizes("gone", 0, 0)
	f = flow{b, 43001}.handshake()
	b.expect("exact rst", f.in(rst, 1, 0, 0), established)
	b.expect("data after it", f.out(ack, 1, 1, 5), established)
}

func TestTCPTimeout(t *testing.T) {
	b := tracker(t)
	f := flow{b, 44000}.handshake()
	var k CtKey
	var v CtAssured
	it := b.Maps["ct"].Iterate()
	if !it.Next(&k, &v) {
		t.Fatal("no flow")
	}
	if s := (v.Flow.Expires - v.Flow.Created) / 1e9; s < 431999 || s > 432001 {
		t.Errorf("expires after %d s", s)
	}
	v.Flow.Expires = 1
	if err := b.Maps["ct"].Update(k, v, ebpf.UpdateLock); err != nil {
		t.Fatal(err)
	}
	b.expect("expired: syn/ack", f.in(syn|ack, 0, 1, 0), invalid)
	b.expectSizes("deleted", 0, 0)
}

func TestUDP(t *testing.T) {
	b := tracker(t)
	for range 3 {
		b.expect("query", b.send(protoUDP, udp(5000, 53, 9)), isNew)
	}
	b.expect("answer", b.receive(protoUDP, udp(53, 5000, 9)), established)
	b.expect("query after it", b.send(protoUDP, udp(5000, 53, 9)), established)
	b.expect("another port", b.receive(protoUDP, udp(53, 5001, 9)), isNew)
	b.expectSizes("young", 2, 0)
	b.age("ct_new")
	b.expect("later", b.send(protoUDP, udp(5000, 53, 9)), established)
	b.expectSizes("a stream", 1, 1)
	b.expect("malformed", b.send(protoUDP, be16(5000, 53, 99, 0)), invalid)
}

// age makes all flows that were answered three seconds older.
func (b *bench) age(name string) {
	b.Helper()
	var k CtKey
	var v CtFlow
	flows := map[CtKey]CtFlow{}
	for it := b.Maps[name].Iterate(); it.Next(&k, &v); {
		flows[k] = v
	}
	for k, v := range flows {
		v.Created -= 3e9
		if err := b.Maps[name].Put(k, v); err != nil {
			b.Fatal(err)
		}
	}
}

func TestICMP(t *testing.T) {
	b := tracker(t)
	b.expect("unasked reply", b.receive(protoICMP, icmp(0, 0, 7, nil)), invalid)
	b.expect("echo", b.send(protoICMP, icmp(8, 0, 7, nil)), isNew)
	b.expect("their echo, same id", b.receive(protoICMP, icmp(8, 0, 7, nil)), isNew)
	b.expect("reply", b.receive(protoICMP, icmp(0, 0, 7, nil)), established)
	b.expect("reply to them", b.send(protoICMP, icmp(0, 0, 7, nil)), established)
	b.expect("other id", b.receive(protoICMP, icmp(0, 0, 8, nil)), invalid)
	b.expect("other code", b.receive(protoICMP, icmp(0, 1, 7, nil)), invalid)
	b.expect("timestamp", b.send(protoICMP, icmp(13, 0, 7, nil)), isNew)
	b.expect("router advertisement", b.receive(protoICMP, icmp(9, 0, 7, nil)), invalid)
	for typ, want := range map[byte]uint8{128: isNew, 139: isNew, 129: invalid, 134: untracked, 135: untracked, 143: untracked, 138: invalid} {
		_, p := b.run("tc_ingress", ourselves, frame(peer6, local6, protoICMP6, icmp(typ, 0, 1, nil)))
		b.expect("icmp 6", p.CtState, want)
	}
	_, p := b.run("tc_ingress", ourselves, frame(peer6, local6, protoICMP, icmp(8, 0, 1, nil)))
	b.expect("icmp in ipv6", p.CtState, invalid)
}

func TestRelated(t *testing.T) {
	b := tracker(t)
	router := netip.MustParseAddr("203.0.113.9")
	unreachable := func(quoted []byte) uint8 {
		_, p := b.run("tc_ingress", ourselves, frame(router, local4, protoICMP, icmp(3, 3, 0, quoted)))
		return p.CtState
	}
	query := ip4(local4, peer4, protoUDP, 0, nil, udp(5000, 53, 9))
	b.expect("before the query", unreachable(query), invalid)
	b.expect("query", b.send(protoUDP, udp(5000, 53, 9)), isNew)
	b.expect("whole", unreachable(query), related)
	b.expect("ports only", unreachable(query[:24]), related)
	b.expect("ports cut", unreachable(query[:23]), invalid)
	b.expect("options", unreachable(ip4(local4, peer4, protoUDP, 0, make([]byte, 8), udp(5000, 53, 0))), related)
	b.expect("other port", unreachable(ip4(local4, peer4, protoUDP, 0, nil, udp(5001, 53, 9))), invalid)
	b.expect("later fragment", unreachable(ip4(local4, peer4, protoUDP, 1, nil, udp(5000, 53, 9))), invalid)
	b.expect("not ours", unreachable(ip4(peer4, local4, protoUDP, 0, nil, udp(53, 5000, 9))), invalid)
	b.expect("echo", b.send(protoICMP, icmp(8, 0, 7, nil)), isNew)
	b.expect("of echo", unreachable(ip4(local4, peer4, protoICMP, 0, nil, icmp(8, 0, 7, nil))), related)
	b.expect("of an error", unreachable(ip4(local4, peer4, protoICMP, 0, nil, icmp(3, 0, 7, nil))), invalid)
	b.expect("their echo, id 0", b.receive(protoICMP, icmp(8, 0, 0, nil)), isNew)
	b.expect("of the reply", unreachable(ip4(local4, peer4, protoICMP, 0, nil, icmp(0, 0, 0, nil))), related)
	b.expect("of the reply, cut", unreachable(ip4(local4, peer4, protoICMP, 0, nil, icmp(0, 0, 0, nil)[:7])), invalid)
	_, p := b.run("tc_egress", ourselves, frame(local6, peer6, protoTCP, seg{sport: 7, dport: 8, flags: syn}.bytes()))
	b.expect("syn 6", p.CtState, isNew)
	quoted := ip6(local6, peer6, 0, append(ext(6, 0), be16(7, 8)...))
	_, p = b.run("tc_ingress", ourselves, frame(peer6, local6, protoICMP6, icmp(1, 4, 0, quoted)))
	b.expect("of 6 with extension", p.CtState, related)
}

// TestRedirects: IPv6 routers are believed if they are neighbours (RFC 4861 8.1).
func TestRedirects(t *testing.T) {
	b := tracker(t)
	_, p := b.run("tc_egress", ourselves, frame(local6, peer6, protoUDP, udp(5000, 53, 9)))
	b.expect("query", p.CtState, isNew)
	query := ip6(local6, peer6, protoUDP, udp(5000, 53, 9))
	option := func(kind, units byte) []byte { return append([]byte{kind, units, 0, 0, 0, 0, 0, 0}, query...) }
	for _, c := range []struct {
		name   string
		router string
		hops   byte
		code   byte
		option []byte
		want   uint8
	}{
		{"a neighbour's", "fe80::1", 255, 0, option(4, 7), related},
		{"the last of them", "febf:ffff::1", 255, 0, option(4, 7), related},
		{"from afar", "fe80::1", 254, 0, option(4, 7), invalid},
		{"another source", "fec0::1", 255, 0, option(4, 7), invalid},
		{"code 1", "fe80::1", 255, 1, option(4, 7), invalid},
		{"another option", "fe80::1", 255, 0, option(5, 7), invalid},
		{"an option of no length", "fe80::1", 255, 0, option(4, 0), invalid},
		{"no option", "fe80::1", 255, 0, nil, invalid},
		{"half an option", "fe80::1", 255, 0, []byte{4}, invalid},
	} {
		f := frame(netip.MustParseAddr(c.router), local6, protoICMP6, icmp(137, c.code, 0, append(make([]byte, 32), c.option...)))
		f[14+7] = c.hops
		_, p := b.run("tc_ingress", ourselves, f)
		b.expect(c.name, p.CtState, c.want)
	}
}

func TestOthers(t *testing.T) {
	b := tracker(t)
	b.expect("gre", b.send(protoGRE, make([]byte, 8)), isNew)
	b.expect("gre back", b.receive(protoGRE, make([]byte, 8)), established)
	b.expect("esp", b.receive(50, make([]byte, 16)), isNew)
	_, p := b.run("tc_ingress", ourselves, frame(peer6, local6, 59, nil))
	b.expect("no next header", p.CtState, invalid)
}

func TestForwardIsItsOwnFlow(t *testing.T) {
	b := tracker(t)
	syn := frame(peer4, netip.MustParseAddr("203.0.113.9"), protoTCP, seg{sport: 1, dport: 2, flags: syn}.bytes())
	_, p := b.run("tc_egress", elsewhere, syn)
	b.expect("forwarded", p.CtState, isNew)
	if p.Hook != 4 {
		t.Errorf("hook %d", p.Hook)
	}
}

func TestTableFull(t *testing.T) {
	b := tracker(t) // 64 assured flows
	for i := range 70 {
		flow{b, 45000 + i}.handshake()
	}
	b.expectSizes("full", 6, 64)
	if n := b.stat(ClassifierFwStatFW_STAT_CT_FULL); n != 6 {
		t.Errorf("%d counted", n)
	}
	if n := b.notices(); n != 1 {
		t.Errorf("%d events, want one a second", n)
	}
	for i := range 70 {
		b.expect("data", flow{b, 45000 + i}.out(ack, 1, 1, 10), established)
	}
}

func TestFragments(t *testing.T) {
	b := tracker(t)
	later := func(offset int) uint32 {
		ret, p := b.run("tc_ingress", ourselves, ether(nil, 0x0800, ip4(peer4, local4, protoUDP, offset/8, nil, make([]byte, 16))))
		if ret == pass && (p.Dport != 2 || p.CtState != isNew || p.Frag != 1) {
			t.Errorf("later: dport %d, state %d, frag %d", p.Dport, p.CtState, p.Frag)
		}
		return ret
	}
	if later(24) != drop || b.stat(ClassifierFwStatFW_STAT_FRAG_UNKNOWN) != 1 {
		t.Error("a fragment without its first passed")
	}
	first := append(be16(1, 2, 40, 0), make([]byte, 16)...)
	ret, p := b.run("tc_ingress", ourselves, ether(nil, 0x0800, ip4(peer4, local4, protoUDP, 0x2000, nil, first)))
	if ret != pass || p.CtState != isNew {
		t.Errorf("first: verdict %d state %d", ret, p.CtState)
	}
	if later(24) != pass || later(40) != pass {
		t.Error("a later fragment was dropped")
	}
	if later(16) != drop || b.stat(ClassifierFwStatFW_STAT_FRAG_OVERLAP) != 1 {
		t.Error("an overlap passed")
	}
	v6 := func(next byte, offset, m int) (uint32, Pkt) {
		return b.run("tc_ingress", ourselves, ether(nil, 0x86dd, ip6(peer6, local6, 44, append(frag6(next, offset, m), udp(1, 2, 16)...))))
	}
	v6(17, 0, 1)
	if ret, p := v6(6, 24, 0); ret != pass || p.Proto != protoUDP || p.Dport != 2 {
		t.Errorf("later 6: verdict %d proto %d dport %d", ret, p.Proto, p.Dport)
	}
}

// TestQuotes: what an error over IPv6 quotes, header by header, and for whom it is.
func TestQuotes(t *testing.T) {
	b := tracker(t)
	_, p := b.run("tc_egress", ourselves, frame(odd6, other6, protoUDP, udp(5000, 53, 9)))
	b.expect("query", p.CtState, isNew)
	_, p = b.run("tc_egress", ourselves, frame(odd6, other6, protoGRE, []byte{0x30, 1, 0x88, 0x0b, 0, 0, 1, 2}))
	b.expect("call", p.CtState, isNew)
	changed := func(word int) netip.Addr {
		a := odd6.As16()
		a[4*word+3] ^= 1
		return netip.AddrFrom16(a)
	}
	datagram := udp(5000, 53, 9)
	six := func(next byte, parts ...[]byte) []byte { return ip6(odd6, other6, next, slices.Concat(parts...)) }
	version := six(17, datagram)
	version[0] = 0x71
	for _, c := range []struct {
		name   string
		to     netip.Addr
		quoted []byte
		want   uint8
	}{
		{"udp", odd6, six(17, datagram), related},
		{"not to its sender, word 0", changed(0), six(17, datagram), invalid},
		{"not to its sender, word 1", changed(1), six(17, datagram), invalid},
		{"not to its sender, word 2", changed(2), six(17, datagram), invalid},
		{"not to its sender, word 3", changed(3), six(17, datagram), invalid},
		{"another version", odd6, version, invalid},
		{"half a header", odd6, six(17)[:39], invalid},
		{"ports cut", odd6, six(17, datagram[:3]), invalid},
		{"ports only", odd6, six(17, datagram[:4]), related},
		{"an extension header", odd6, six(60, ext(17, 1), datagram), related},
		{"half an extension header", odd6, six(60, ext(17, 0)[:7]), invalid},
		{"32 extension headers", odd6, six(60, many(32, 17), datagram), related},
		{"33 extension headers", odd6, six(60, many(33, 17), datagram), invalid},
		{"first fragment", odd6, six(44, frag6(17, 0, 1), datagram), related},
		{"later fragment", odd6, six(44, frag6(17, 8, 0), datagram), invalid},
		{"a call", odd6, six(47, []byte{0x30, 1, 0x88, 0x0b, 0, 0, 1, 2}), related},
		{"another call", odd6, six(47, []byte{0x30, 1, 0x88, 0x0b, 0, 0, 1, 3}), invalid},
		{"a call that is none", odd6, six(47, []byte{0x30, 1, 0x88, 0x0c, 0, 0, 1, 2}), invalid},
		{"half a call", odd6, six(47, []byte{0x30, 1, 0x88, 0x0b, 0, 0, 1}), invalid},
	} {
		_, p := b.run("tc_ingress", ourselves, frame(peer6, c.to, protoICMP6, icmp(1, 4, 0, c.quoted)))
		b.expect(c.name, p.CtState, c.want)
	}
	likeAVersion := append([]byte{137}, six(17, datagram)...) // a redirect whose code and what follows look like the query
	_, p = b.run("tc_ingress", ourselves, frame(peer6, odd6, protoICMP6, likeAVersion))
	b.expect("a redirect of code 0x61", p.CtState, invalid)
	four := func(change func(h []byte)) []byte {
		f := ip4(local4, peer4, protoUDP, 0, make([]byte, 4), datagram)
		change(f)
		return f
	}
	b.expect("query 4", b.send(protoUDP, datagram), isNew)
	for name, c := range map[string]struct {
		quoted []byte
		want   uint8
	}{
		"options":             {four(func(h []byte) {}), related},
		"another version":     {four(func(h []byte) { h[0] = 0x56 }), invalid},
		"no header":           {ip4(local4, peer4, protoUDP, 0, nil, datagram)[:19], invalid},
		"first fragment":      {four(func(h []byte) { h[6] = 0x20 }), related},
		"do not fragment":     {four(func(h []byte) { h[6] = 0x40 }), related},
		"fragment at 8":       {four(func(h []byte) { h[7] = 1 }), invalid},
		"fragment at 32768":   {four(func(h []byte) { h[6] = 0x10 }), invalid},
		"header of 16 bytes":  {slices.Concat([]byte{0x44}, ip4(local4, peer4, protoUDP, 0, nil, nil)[1:16], datagram, datagram), invalid},
		"a length of 0":       {four(func(h []byte) { h[2], h[3] = 0, 0 }), related},
		"header of 60, of 28": {four(func(h []byte) { h[0] = 0x4f }), invalid},
	} {
		b.expect(name, b.receive(protoICMP, icmp(3, 3, 0, c.quoted)), c.want)
	}
}
