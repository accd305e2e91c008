package classbench

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"

	"github.com/bpfwall/bpfwall/ruleset"
)

// Header is what the filters look at of a packet.
type Header struct {
	Src, Dst         uint32
	SrcPort, DstPort int // ruleset.Absent without ports
	Proto            uint8
	TCPFlags         int
	In               uint8 // the number of the interface that it comes in by, "eth0" and on
}

// Interfaces is how many there are.
const Interfaces = 8

// Traffic is a kind of traffic: the name says how the headers are chosen.
type Traffic string

// The kinds.
const (
	Hot     Traffic = "hot"     // one header, which meets a rule in the middle of the set
	Zipf    Traffic = "zipf"    // 20,000 headers that meet rules, few of them often
	Uniform Traffic = "uniform" // every header meets a rule, each chosen at random
	Mixed   Traffic = "mixed"   // source, destination and ports from different rules: most meet parts of rules, or none
)

// Kinds are all kinds of traffic.
var Kinds = []Traffic{Hot, Zipf, Uniform, Mixed}

// Headers makes n headers; a seed makes the same ones always.
func Headers(filters []Filter, kind Traffic, n int, seed uint64) []Header {
	r := rand.New(rand.NewPCG(seed, 3))
	pick := func() Filter { return filters[r.IntN(len(filters))] }
	out := make([]Header, n)
	var flows []Header
	for i := range out {
		switch {
		case len(filters) == 0:
			out[i] = Filter{}.header(r)
		case kind == Hot && i > 0:
			out[i] = out[0]
		case kind == Hot:
			out[i] = filters[len(filters)/2].header(r)
		case kind == Uniform:
			out[i] = pick().header(r)
		case kind == Mixed:
			f := pick()
			f.Dst = pick().Dst
			p := pick()
			f.SrcPort, f.DstPort, f.Proto, f.ProtoMask = p.SrcPort, p.DstPort, p.Proto, p.ProtoMask
			out[i] = f.header(r)
		default:
			if flows == nil {
				flows = Headers(filters, Uniform, 20_000, seed)
			}
			out[i] = flows[int(math.Pow(float64(len(flows)), r.Float64()))-1]
		}
	}
	return out
}

// header is one that meets the filter.
func (f Filter) header(r *rand.Rand) Header {
	h := Header{Src: inPrefix(f.Src, r), Dst: inPrefix(f.Dst, r), Proto: f.Proto}
	if f.ProtoMask == 0 {
		h.Proto = []uint8{6, 6, 17, 17, 1, 47}[r.IntN(6)]
	}
	h.SrcPort, h.DstPort, h.TCPFlags = ruleset.Absent, ruleset.Absent, ruleset.Absent
	if hasPorts[h.Proto] {
		h.SrcPort, h.DstPort = inRange(f.SrcPort, r), inRange(f.DstPort, r)
	}
	h.In = uint8(h.Src>>16^h.Src) % Interfaces
	if h.Proto == 6 {
		h.TCPFlags = int(uint8(r.UintN(64))&^f.FlagsMask | f.TCPFlags&f.FlagsMask)
	}
	return h
}

func inPrefix(p netip.Prefix, r *rand.Rand) uint32 {
	if !p.IsValid() {
		return r.Uint32()
	}
	a := p.Masked().Addr().As4()
	return binary.BigEndian.Uint32(a[:]) | uint32(r.Uint64()&(1<<(32-p.Bits())-1))
}

func inRange(p ruleset.Range, r *rand.Rand) int { return int(p.From + r.Uint64N(p.To-p.From+1)) }

// Packet is a header as the evaluator sees it.
func (h Header) Packet() ruleset.Packet {
	return ruleset.Packet{
		In: fmt.Sprintf("eth%d", h.In), Family: ruleset.FamilyIPv4, Src: addr(h.Src), Dst: addr(h.Dst), Proto: h.Proto, SrcPort: h.SrcPort, DstPort: h.DstPort,
		TCPFlags: h.TCPFlags, TCPMSS: ruleset.Absent, ICMPType: ruleset.Absent, ICMPCode: ruleset.Absent, State: ruleset.StateNew,
		Length: 60, TTL: 64, PktType: ruleset.PktUnicast, SrcType: ruleset.AddrUnicast, DstType: ruleset.AddrLocal,
	}
}

func addr(v uint32) netip.Addr {
	return netip.AddrFrom4([4]byte{byte(v >> 24), byte(v >> 16), byte(v >> 8), byte(v)})
}

// Match is the first filter that a header meets; -1 if none does.
func Match(filters []Filter, h Header) int {
	src, dst := addr(h.Src), addr(h.Dst)
	for i, f := range filters {
		if f.Src.Contains(src) && f.Dst.Contains(dst) && (h.Proto^f.Proto)&f.ProtoMask == 0 && portMeets(f.SrcPort, h.SrcPort) &&
			portMeets(f.DstPort, h.DstPort) && f.flagsMeet(h) {
			return i
		}
	}
	return -1
}

func portMeets(p ruleset.Range, v int) bool {
	return p == anyPort || v != ruleset.Absent && int(p.From) <= v && v <= int(p.To)
}

func (f Filter) flagsMeet(h Header) bool {
	return f.FlagsMask == 0 || f.Proto != 6 || h.TCPFlags != ruleset.Absent && uint8(h.TCPFlags)&f.FlagsMask == f.TCPFlags&f.FlagsMask
}

// MeetsKind reports whether a header has what a filter asks for beside addresses and ports; of ports only whether they are there.
func (f Filter) MeetsKind(h Header) bool {
	return (h.Proto^f.Proto)&f.ProtoMask == 0 && f.flagsMeet(h) &&
		(f.SrcPort == anyPort || h.SrcPort != ruleset.Absent) && (f.DstPort == anyPort || h.DstPort != ruleset.Absent)
}
