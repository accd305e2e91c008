package bpf

import (
	"errors"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/bpfwall/bpfwall/internal/cases"
	"github.com/bpfwall/bpfwall/packet"
	"github.com/bpfwall/bpfwall/ruleset"
)

// TestParseAsDecode: the parser in C and the one in Go read the same from frames, right ones and damaged ones.
func TestParseAsDecode(t *testing.T) {
	b := newBench(t, classifier(t, "cfg_tcp_options", "cfg_mac"))
	frames := caseFrames(t)
	for _, f := range frames {
		compare(t, b, f)
	}
	const seed = 20240229
	r := rand.New(rand.NewPCG(seed, seed))
	for range 20_000 {
		compare(t, b, damage(r, frames[r.IntN(len(frames))]))
		if t.Failed() {
			t.Logf("seed %d", seed)
			return
		}
	}
}

// caseFrames is every packet of the shared cases, in several encodings.
func caseFrames(t *testing.T) [][]byte {
	var out [][]byte
	for _, c := range cases.All() {
		for _, e := range c.Expects() {
			l, err := packet.Parse(e.Packet)
			if err != nil {
				t.Fatal(err)
			}
			for _, enc := range []packet.Encoding{{}, {PriorityTags: 2, IPv4Options: make([]byte, 8), Extensions: []uint8{0, 60, 43, 44, 60}}} {
				f, err := enc.Frame(&l.Packet)
				if err == nil && len(f) < 1500 {
					out = append(out, toUs(f))
				}
			}
		}
	}
	return out
}

// toUs sends a unicast frame to this host.
func toUs(f []byte) []byte {
	if f[0]&1 == 0 {
		copy(f, ourMAC)
	}
	return f
}

// damage changes some bytes behind the MAC addresses, and sometimes the length.
func damage(r *rand.Rand, f []byte) []byte {
	f = append(slices.Clone(f), make([]byte, 54)...)[:max(54, len(f))]
	for range 1 + r.IntN(3) {
		f[12+r.IntN(min(len(f), 110)-12)] = []byte{0, 1, 2, 4, 5, 6, 8, 17, 44, 0x45, 0x60, 0xff, byte(r.Uint32())}[r.IntN(13)]
	}
	switch r.IntN(4) {
	case 0:
		f = f[:54+r.IntN(max(1, len(f)-53))] // a test run takes no frame whose IP header is cut short
	case 1:
		f = append(f, make([]byte, r.IntN(40))...)
	}
	return f
}

// compare runs a frame through both parsers.
func compare(t *testing.T, b *bench, frame []byte) {
	t.Helper()
	want, err := packet.Decode(frame)
	ret, pkt := b.run("tc_ingress", ourselves, frame)
	switch {
	case errors.Is(err, packet.ErrNotIP):
		if ret != pass {
			t.Errorf("%x: verdict %d, want it passed: %v", frame, ret, err)
		}
	case err != nil:
		if ret != drop {
			t.Errorf("%x: verdict %d, want it dropped: %v", frame, ret, err)
		}
	default:
		want.State, want.SrcType, want.DstType = 0, 0, 0
		slices.Sort(want.TCPOptions)
		got := read(&pkt)
		if want.Fragment && ret == drop { // its first was not seen: it is dropped before the MAC is read
			got.SrcMAC, got.HasMAC = want.SrcMAC, want.HasMAC
		}
		if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Addr{})); diff != "" {
			t.Errorf("%x (-Go +C):\n%s", frame, diff)
		}
	}
}

// read is what the C parser found, as packet.Decode reports it.
func read(p *Pkt) *ruleset.Packet {
	absent := func(v, limit uint32) int {
		if v >= limit {
			return ruleset.Absent
		}
		return int(v)
	}
	out := &ruleset.Packet{Family: ruleset.Family(p.Family), Proto: p.Proto, Length: p.Length, TTL: p.Ttl, TOS: p.Tos, Fragment: p.Frag != 0,
		SrcMAC: p.Smac, HasMAC: p.Smac != 1<<48, PktType: uint64(p.PktType), Malformed: p.Malformed != 0}
	out.Src, out.Dst = addrOf(p.Saddr, p.Family), addrOf(p.Daddr, p.Family)
	out.SrcPort, out.DstPort, out.TCPMSS = absent(p.Sport, no16), absent(p.Dport, no16), absent(p.TcpMss, no16)
	out.TCPFlags, out.ICMPType, out.ICMPCode = absent(uint32(p.TcpFlags), no8), absent(uint32(p.IcmpType), no8), absent(uint32(p.IcmpCode), no8)
	for kind := range 256 {
		if p.TcpOptions[kind/64]&(1<<(kind%64)) != 0 {
			out.TCPOptions = append(out.TCPOptions, byte(kind))
		}
	}
	if p.Routing < no8 {
		out.Routing, out.HasRouting = uint8(p.Routing), true
	}
	if out.Malformed { // what else was read does not count
		out.SrcPort, out.DstPort, out.TCPMSS, out.TCPFlags, out.ICMPType, out.ICMPCode = -1, -1, -1, -1, -1, -1
		out.TCPOptions = nil
	}
	return out
}

func addrOf(words [4]uint32, family uint8) netip.Addr {
	k := AddrKey{Addr: words}
	if family == 4 {
		return netip.AddrFrom4([4]byte(addrBytes(&k)))
	}
	return netip.AddrFrom16([16]byte(addrBytes(&k)))
}
