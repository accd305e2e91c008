package bpf

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/cilium/ebpf/asm"
	"github.com/google/go-cmp/cmp"
)

// noon is the time, in ns since boot, where the clock stands still: two seconds.
const noon = 2e9

// atNoon is conntrack with a clock that stands still.
func atNoon(t *testing.T, seconds map[int]uint32) *bench {
	t.Helper()
	spec := classifier(t, "cfg_conntrack")
	spec.Maps["ct"].MaxEntries = 64
	v := spec.Variables["cfg_ct_timeouts"]
	var times [32]uint32
	if err := v.Get(&times); err != nil {
		t.Fatal(err)
	}
	for i, n := range seconds {
		times[i] = n
	}
	if err := v.Set(times); err != nil {
		t.Fatal(err)
	}
	for name, p := range spec.Programs {
		if name != "tc_ingress" && name != "tc_egress" {
			delete(spec.Programs, name)
		}
		for i, ins := range p.Instructions {
			if ins.IsBuiltinCall() && ins.Constant == int64(asm.FnKtimeGetBootNs) {
				p.Instructions[i] = asm.Mov.Imm(asm.R0, noon).WithMetadata(ins.Metadata)
			}
		}
	}
	return newBench(t, spec)
}

// one is the only flow that there is, and which map it is in.
func (b *bench) one() (k CtKey, f CtFlow, in string) {
	b.Helper()
	var a CtAssured
	if it := b.Maps["ct_new"].Iterate(); it.Next(&k, &f) {
		return k, f, "ct_new"
	}
	if it := b.Maps["ct"].Iterate(); !it.Next(&k, &a) {
		return k, f, ""
	}
	return k, a.Flow, "ct"
}

// put writes it back, changed.
func (b *bench) put(change func(*CtFlow)) {
	b.Helper()
	k, f, in := b.one()
	if in == "" {
		b.Fatal("no flow")
	}
	change(&f)
	var err error
	if in == "ct" {
		err = b.Maps[in].Put(k, CtAssured{Flow: f})
	} else {
		err = b.Maps[in].Put(k, f)
	}
	if err != nil {
		b.Fatal(err)
	}
}

// later is a moment after noon.
func later(seconds, ns uint64) uint64 { return noon + seconds*1e9 + ns }

// TestClock: a flow lives for its time to the nanosecond, from each packet on that counts.
func TestClock(t *testing.T) {
	b := atNoon(t, nil)
	type step struct {
		reply   bool
		payload []byte
		state   uint8
		seconds uint64 // that it lives for
		in      string
		packets [2]uint64
	}
	s := func(flags byte, seq, acked uint32) []byte {
		return seg{sport: 40000, dport: 80, flags: flags, seq: seq, ack: acked}.bytes()
	}
	r := func(flags byte, seq, acked uint32) []byte {
		return seg{sport: 80, dport: 40000, flags: flags, seq: seq, ack: acked}.bytes()
	}
	chunk := func(tag uint32, kind ...byte) []byte {
		return slices.Concat(be16(1, 1), be32(tag, 0), kind, be16(20), be32(7), make([]byte, 12))
	}
	for _, c := range []struct {
		name  string
		proto byte
		steps []step
	}{
		{"udp", protoUDP, []step{{false, udp(1, 2, 0), isNew, 30, "ct_new", [2]uint64{1, 0}}, {false, udp(1, 2, 0), isNew, 30, "ct_new", [2]uint64{2, 0}},
			{true, udp(2, 1, 0), established, 30, "ct_new", [2]uint64{2, 1}}, {false, udp(1, 2, 0), established, 30, "ct_new", [2]uint64{3, 1}}}},
		{"gre", protoGRE, []step{{false, make([]byte, 8), isNew, 30, "ct_new", [2]uint64{1, 0}}, {true, make([]byte, 8), established, 30, "ct_new", [2]uint64{1, 1}},
			{false, make([]byte, 8), established, 180, "ct", [2]uint64{2, 1}}}},
		{"esp", 50, []step{{false, nil, isNew, 600, "ct_new", [2]uint64{1, 0}}, {true, nil, established, 600, "ct_new", [2]uint64{1, 1}}, {false, nil, established, 600, "ct_new", [2]uint64{2, 1}}}},
		{"echo", protoICMP, []step{{false, icmp(8, 0, 7, nil), isNew, 30, "ct_new", [2]uint64{1, 0}}, {true, icmp(0, 0, 7, nil), established, 30, "ct_new", [2]uint64{1, 1}}}},
		{"a connection", protoTCP, []step{{false, s(syn, 99, 0), isNew, 120, "ct_new", [2]uint64{1, 0}}, {true, r(syn|ack, 499, 100), established, 60, "ct_new", [2]uint64{1, 1}},
			{false, s(ack, 100, 500), established, 432000, "ct", [2]uint64{2, 1}}, {false, s(fin|ack, 100, 500), established, 120, "ct", [2]uint64{3, 1}},
			{true, r(ack, 500, 101), established, 60, "ct", [2]uint64{3, 2}}, {true, r(fin|ack, 500, 101), established, 30, "ct", [2]uint64{3, 3}},
			{false, s(ack, 101, 501), established, 120, "ct", [2]uint64{4, 3}}}},
		{"picked up", protoTCP, []step{{false, s(ack, 99, 500), isNew, 300, "ct_new", [2]uint64{1, 0}}, {true, r(ack, 500, 99), established, 300, "ct_new", [2]uint64{1, 1}},
			{false, s(ack, 99, 500), established, 432000, "ct", [2]uint64{2, 1}}, {true, r(rst, 500, 0), established, 10, "ct", [2]uint64{2, 2}}}},
		{"an association", protoSCTP, []step{{false, chunk(0, 1, 0), isNew, 10, "ct_new", [2]uint64{1, 0}}, {true, chunk(7, 2, 0), established, 3, "ct_new", [2]uint64{1, 1}}}},
		{"heartbeat", protoSCTP, []step{{false, chunk(9, 4, 0), isNew, 30, "ct_new", [2]uint64{1, 0}}}},
	} {
		b.forget()
		for i, s := range c.steps {
			what := fmt.Sprintf("%s, packet %d", c.name, i+1)
			if i > 0 {
				b.put(func(f *CtFlow) { f.Expires = later(0, 1) }) // a nanosecond is enough
			}
			send := b.send
			if s.reply {
				send = b.receive
			}
			b.expect(what, send(c.proto, s.payload), s.state)
			_, f, in := b.one()
			bytes := [2]uint64{s.packets[0] * uint64(20+len(c.steps[0].payload)), s.packets[1] * uint64(20+len(c.steps[0].payload))}
			if f.Expires != later(s.seconds, 0) || f.Created != noon || in != s.in || f.Packets != s.packets || f.Bytes != bytes {
				t.Errorf("%s: expires at noon + %d ns, created at %d, %d packets, %d bytes, in %q; want %d s, %d, %d, %q", what, f.Expires-noon, f.Created, f.Packets, f.Bytes, in,
					s.seconds, s.packets, bytes, s.in)
			}
		}
	}
}

// TestClockOfStreams: a UDP flow that was answered becomes a stream when it is more than two seconds old.
func TestClockOfStreams(t *testing.T) {
	b := atNoon(t, nil)
	for _, proto := range []byte{protoUDP, 136} {
		for _, c := range []struct {
			age     uint64
			answer  bool
			seconds uint64
			in      string
		}{{2e9, true, 30, "ct_new"}, {2e9 + 1, true, 120, "ct"}, {9e9, false, 30, "ct_new"}, {1e9, true, 30, "ct_new"}} {
			b.forget()
			b.send(proto, udp(1, 2, 0))
			if c.answer {
				b.receive(proto, udp(2, 1, 0))
			}
			age := c.age
			b.put(func(f *CtFlow) { f.Created = noon - age })
			b.send(proto, udp(1, 2, 0))
			if _, f, in := b.one(); f.Expires != later(c.seconds, 0) || in != c.in {
				t.Errorf("protocol %d, %d ns old, answered %t: lives %d ns, in %s; want %d s in %s", proto, c.age, c.answer, f.Expires-noon, in, c.seconds, c.in)
			}
		}
	}
}

// TestClockOfWhatIsOver: a flow is over at the nanosecond that it says, in either map, for packets and for errors about it.
func TestClockOfWhatIsOver(t *testing.T) {
	b := atNoon(t, nil)
	query, answer := udp(1, 2, 0), udp(2, 1, 0)
	unreachable := icmp(3, 3, 0, ip4(local4, peer4, protoUDP, 0, nil, query))
	for _, in := range []string{"ct_new", "ct"} {
		for _, c := range []struct {
			expires      uint64
			err, packet  uint8
			remains      string
			byOriginator [2]uint64
		}{{noon, invalid, isNew, "ct_new", [2]uint64{1, 0}}, {noon + 1, related, established, in, [2]uint64{1, 2}}} {
			begin := func() {
				b.forget()
				b.send(protoUDP, query)
				b.receive(protoUDP, answer)
				if in == "ct" {
					b.put(func(f *CtFlow) { f.Created = noon; f.Created -= 3e9 })
					b.send(protoUDP, query)
				}
				b.put(func(f *CtFlow) { f.Expires, f.Packets = c.expires, [2]uint64{1, 1} })
			}
			what := fmt.Sprintf("in %s, over %d ns after noon", in, c.expires-noon)
			begin()
			b.expect(what+": error", b.receive(protoICMP, unreachable), c.err)
			b.expect(what+": answer", b.receive(protoUDP, answer), c.packet)
			if _, f, now := b.one(); now != c.remains || f.Packets != c.byOriginator {
				t.Errorf("%s: in %s, %d packets; want %s, %d", what, now, f.Packets, c.remains, c.byOriginator)
			}
		}
	}
}

// TestClockOutOfWindow: FINs out of the window from both ends shorten the life of a connection, unless it has less than two minutes left or
// less than data that is not acknowledged.
func TestClockOutOfWindow(t *testing.T) {
	b := atNoon(t, map[int]uint32{11: 50})
	far := func(sport, dport int, flags byte) []byte {
		return seg{sport: sport, dport: dport, flags: flags, seq: 900_000_000, ack: 1}.bytes()
	}
	for _, c := range []struct {
		expires uint64
		want    uint64
	}{{later(119, 999_999_999), later(119, 999_999_999)}, {later(120, 0), later(50, 0)}, {later(120, 500_000_000), later(50, 0)}, {later(400000, 0), later(50, 0)}} {
		b.forget()
		flow{b, 40000}.handshake()
		b.put(func(f *CtFlow) { f.Expires = c.expires })
		b.expect("FIN far off", b.send(protoTCP, far(40000, 80, fin|ack)), invalid)
		if _, f, _ := b.one(); f.Expires != c.expires {
			t.Errorf("after one: %d ns, want %d", f.Expires-noon, c.expires-noon)
		}
		b.expect("FIN far off from the peer", b.receive(protoTCP, far(80, 40000, fin|ack)), invalid)
		if _, f, _ := b.one(); f.Expires != c.want {
			t.Errorf("after one from each end: %d ns, want %d", f.Expires-noon, c.want-noon)
		}
	}
}

// TestClockStops: a segment that comes again and again is counted as often as a byte can say.
func TestClockStops(t *testing.T) {
	b := atNoon(t, nil)
	f := flow{b, 40000}.handshake()
	for n := range 300 {
		f.out(ack, 1, 1, 0)
		if _, f, _ := b.one(); int(f.Retrans) != min(n+1, 255) {
			t.Fatalf("sent %d times again: %d", n+1, f.Retrans)
		}
	}
}

// TestKeys: which flow a packet belongs to, and which end sends it.
func TestKeys(t *testing.T) {
	b := atNoon(t, nil)
	low4, high4 := netip.MustParseAddr("1.2.3.4"), netip.MustParseAddr("1.2.3.5") // as they lie in memory, too
	low6, high6 := netip.MustParseAddr("2001:db8:1:2:3:4:5:6"), netip.MustParseAddr("2001:db8:1:2:3:4:5:7")
	for _, c := range []struct {
		name   string
		proto  byte
		six    bool
		packet []byte // from the low end
		back   []byte
		lo, hi uint16
		kind   uint8 // if the low end asks
	}{
		{"tcp", protoTCP, false, seg{sport: 10, dport: 20, flags: syn}.bytes(), seg{sport: 20, dport: 10, flags: rst | ack, ack: 1}.bytes(), 10, 20, 0},
		{"udp", protoUDP, false, udp(10, 20, 0), udp(20, 10, 0), 10, 20, 0},
		{"udp, larger port first", protoUDP, true, udp(20, 10, 0), udp(10, 20, 0), 20, 10, 0},
		{"udp, one port", protoUDP, true, udp(123, 123, 0), udp(123, 123, 0), 123, 123, 0},
		{"udp-lite", 136, true, udp(10, 20, 0), udp(20, 10, 0), 10, 20, 0},
		{"dccp", 33, false, slices.Concat(be16(10, 20), make([]byte, 12)), slices.Concat(be16(20, 10), make([]byte, 12)), 0, 0, 0},
		{"esp", 50, true, nil, nil, 0, 0, 0},
		{"gre", protoGRE, false, make([]byte, 8), make([]byte, 8), 0, 0, 0},
		{"pptp", protoGRE, true, []byte{0x30, 1, 0x88, 0x0b, 0, 0, 1, 2}, nil, 0, 0x102, 0},
		{"echo", protoICMP, false, icmp(8, 1, 7, nil), icmp(0, 1, 7, nil), 7, 0x801, 1},
		{"timestamp", protoICMP, false, icmp(13, 0, 7, nil), icmp(14, 0, 7, nil), 7, 0xd00, 1},
		{"address mask", protoICMP, false, icmp(17, 255, 0x102, nil), icmp(18, 255, 0x102, nil), 0x102, 0x11ff, 1},
		{"echo 6", protoICMP6, true, icmp(128, 0, 7, nil), icmp(129, 0, 7, nil), 7, 0x8000, 1},
		{"node information", protoICMP6, true, icmp(139, 2, 7, nil), icmp(140, 2, 7, nil), 7, 0x8b02, 1},
	} {
		lo, hi, family := low4, high4, uint8(4)
		if c.six {
			lo, hi, family = low6, high6, 6
		}
		for _, turned := range []bool{false, true} {
			src, dst := lo, hi
			want := CtKey{LoAddr: wordsOf(lo), HiAddr: wordsOf(hi), LoPort: c.lo, HiPort: c.hi, Family: family, Proto: c.proto, Kind: c.kind}
			if turned {
				src, dst = hi, lo
				if want.Kind == 0 {
					want.LoPort, want.HiPort = want.HiPort, want.LoPort
				} else {
					want.Kind = 2
				}
			}
			b.forget()
			_, p := b.run("tc_ingress", ourselves, frame(src, dst, c.proto, c.packet))
			b.expect(c.name, p.CtState, isNew)
			k, f, _ := b.one()
			if diff := cmp.Diff(want, k); diff != "" || (f.LowIsOrig == 1) == turned {
				t.Errorf("%s, turned %t: low is the originator: %d (-want +got)\n%s", c.name, turned, f.LowIsOrig, diff)
			}
			if c.back == nil && c.proto == protoGRE {
				continue
			}
			_, p = b.run("tc_ingress", ourselves, frame(src, dst, c.proto, c.packet))
			b.expect(c.name+" again", p.CtState, isNew)
			_, p = b.run("tc_ingress", ourselves, frame(dst, src, c.proto, c.back))
			b.expect(c.name+" back", p.CtState, established)
		}
	}
}

// TestKeysOfOneself: a host that talks to itself. Where its ends cannot be told apart, all is a reply but the first packet.
func TestKeysOfOneself(t *testing.T) {
	b := atNoon(t, nil)
	for _, self := range []netip.Addr{local4, odd6} {
		proto, ask, reply := byte(protoICMP), byte(8), byte(0)
		if self.Is6() {
			proto, ask, reply = protoICMP6, 128, 129
		}
		for _, c := range []struct {
			name  string
			proto byte
			sends [][]byte
			want  []uint8
		}{
			{"two ports", protoUDP, [][]byte{udp(10, 20, 0), udp(10, 20, 0), udp(20, 10, 0), udp(10, 20, 0)}, []uint8{isNew, isNew, established, established}},
			{"neighbouring ports", protoUDP, [][]byte{udp(11, 10, 0), udp(11, 10, 0), udp(10, 11, 0)}, []uint8{isNew, isNew, established}},
			{"one port", protoUDP, [][]byte{udp(10, 10, 0), udp(10, 10, 0)}, []uint8{isNew, established}},
			{"no ports", 50, [][]byte{nil, nil}, []uint8{isNew, established}},
			{"echo", proto, [][]byte{icmp(ask, 0, 7, nil), icmp(ask, 0, 7, nil), icmp(reply, 0, 7, nil)}, []uint8{isNew, isNew, established}},
			{"reply alone", proto, [][]byte{icmp(reply, 0, 7, nil)}, []uint8{invalid}},
		} {
			b.forget()
			for i, payload := range c.sends {
				_, p := b.run("tc_ingress", ourselves, frame(self, self, c.proto, payload))
				b.expect(fmt.Sprintf("%s, %s, packet %d", self, c.name, i+1), p.CtState, c.want[i])
			}
			if k, f, _ := b.one(); c.name == "echo" && (k.Kind != 1 || f.LowIsOrig != 1) { // the low end is the one that asks
				t.Errorf("%s: kind %d, low is the originator: %d", self, k.Kind, f.LowIsOrig)
			}
		}
	}
}

// TestUntrackable: what belongs to no flow.
func TestUntrackable(t *testing.T) {
	b := atNoon(t, nil)
	for _, c := range []struct {
		name    string
		six     bool
		proto   byte
		payload []byte
		want    uint8
	}{
		{"cut tcp", false, protoTCP, make([]byte, 19), invalid},
		{"cut udp", false, protoUDP, make([]byte, 7), invalid},
		{"cut sctp", false, protoSCTP, make([]byte, 11), invalid},
		{"cut icmp", false, protoICMP, make([]byte, 7), invalid},
		{"cut dccp", false, 33, make([]byte, 11), isNew},
		{"cut gre", false, protoGRE, make([]byte, 3), isNew},
		{"ICMPv6 in IPv4", false, protoICMP6, icmp(128, 0, 7, nil), invalid},
		{"ICMP in IPv6", true, protoICMP, icmp(8, 0, 7, nil), invalid},
		{"no next header", true, 59, nil, invalid},
		{"59 in IPv4", false, 59, nil, isNew},
		{"60 in IPv4", false, 60, nil, isNew},
		{"esp in IPv6", true, 50, nil, isNew},
	} {
		src, dst := peer4, local4
		if c.six {
			src, dst = other6, odd6
		}
		b.forget()
		_, p := b.run("tc_ingress", ourselves, frame(src, dst, c.proto, c.payload))
		b.expect(c.name, p.CtState, c.want)
	}
}
