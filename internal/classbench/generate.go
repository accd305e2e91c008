package classbench

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"

	"github.com/bpfwall/bpfwall/ruleset"
)

// Profile is the character of a generated filter set.
type Profile string

// The profiles, after the three families that filter sets in the wild fall into (Taylor and Turner, "ClassBench", INFOCOM 2005).
const (
	ACL Profile = "acl" // from networks to services of single hosts
	FW  Profile = "fw"  // many wildcards, ranges of ports at both ends
	IPC Profile = "ipc" // between pairs of hosts and networks, and some of both others
)

// Profiles are all of them.
var Profiles = []Profile{ACL, FW, IPC}

// lot is something and how many of a hundred filters have it.
type lot[T any] struct {
	share int
	what  T
}

func pick[T any](r *rand.Rand, lots []lot[T]) T {
	n := r.IntN(100)
	for _, l := range lots {
		if n -= l.share; n < 0 {
			return l.what
		}
	}
	return lots[len(lots)-1].what
}

// ports is a kind of port match.
type ports uint8

const (
	wild ports = iota
	exact
	high // 1024 and up
	span
)

// character is how the filters of a profile are spread.
type character struct {
	src, dst     []lot[int] // bits of prefixes
	sport, dport []lot[ports]
	proto        []lot[uint8] // 0: any
}

var characters = map[Profile]character{
	ACL: {
		src:   []lot[int]{{50, 32}, {15, 24}, {10, 28}, {10, 16}, {5, 21}, {10, 0}},
		dst:   []lot[int]{{75, 32}, {10, 28}, {10, 24}, {5, 20}},
		sport: []lot[ports]{{100, wild}},
		dport: []lot[ports]{{75, exact}, {10, span}, {5, high}, {10, wild}},
		proto: []lot[uint8]{{75, 6}, {17, 17}, {3, 1}, {5, 0}},
	},
	FW: {
		src:   []lot[int]{{35, 0}, {20, 32}, {20, 24}, {15, 16}, {10, 28}},
		dst:   []lot[int]{{25, 0}, {40, 32}, {15, 24}, {10, 28}, {10, 16}},
		sport: []lot[ports]{{65, wild}, {15, exact}, {15, high}, {5, span}},
		dport: []lot[ports]{{45, exact}, {20, high}, {10, span}, {25, wild}},
		proto: []lot[uint8]{{55, 6}, {30, 17}, {5, 1}, {3, 47}, {7, 0}},
	},
	IPC: {
		src:   []lot[int]{{60, 32}, {15, 24}, {10, 28}, {5, 16}, {10, 0}},
		dst:   []lot[int]{{65, 32}, {15, 24}, {10, 28}, {5, 16}, {5, 0}},
		sport: []lot[ports]{{75, wild}, {15, exact}, {10, high}},
		dport: []lot[ports]{{60, exact}, {10, span}, {10, high}, {20, wild}},
		proto: []lot[uint8]{{55, 6}, {30, 17}, {5, 1}, {10, 0}},
	},
}

// services are well-known ports that filters name more often than others.
var services = []uint64{80, 443, 22, 25, 53, 123, 110, 143, 161, 389, 445, 993, 1433, 1521, 3306, 3389, 5060, 5432, 8080, 8443}

// Generate makes n different filters, narrow ones first as they have to be to count. The same arguments make the same filters.
func Generate(p Profile, n int, seed uint64) []Filter {
	r := rand.New(rand.NewPCG(seed, uint64(n)))
	c := characters[p]
	sites := 4 + n/200 // networks that addresses come from
	seen := map[Filter]bool{}
	var narrow, wide []Filter
	for tries := 0; len(narrow)+len(wide) < n && tries < 100*n; tries++ {
		f := c.filter(r, sites)
		if seen[f] || f.Src.Bits()+f.Dst.Bits() < 16 && f.DstPort == anyPort && f.SrcPort == anyPort {
			continue // one that shadows most others
		}
		seen[f] = true
		if f.Src.Bits()+f.Dst.Bits() >= 32 {
			narrow = append(narrow, f)
		} else {
			wide = append(wide, f)
		}
	}
	return append(narrow, wide...)
}

func (c character) filter(r *rand.Rand, sites int) Filter {
	f := Filter{Src: prefix(r, 0x20, sites, pick(r, c.src)), Dst: prefix(r, 0x60, sites, pick(r, c.dst)), SrcPort: anyPort, DstPort: anyPort}
	if f.Proto = pick(r, c.proto); f.Proto != 0 {
		f.ProtoMask = 255
	}
	if hasPorts[f.Proto] {
		f.SrcPort, f.DstPort = portsOf(r, pick(r, c.sport)), portsOf(r, pick(r, c.dport))
	}
	return f
}

// prefix is one in a site, one of the /16s of the /4 that side begins. Within, low networks and hosts come up more often, as they do in use.
func prefix(r *rand.Rand, side byte, sites, bits int) netip.Prefix {
	site := uint32(r.IntN(sites)) * 2654435761 >> 20
	low := uint32(r.IntN(1+r.IntN(256)))<<8 | uint32(1+r.IntN(254))
	var a [4]byte
	binary.BigEndian.PutUint32(a[:], uint32(side)<<24|site<<16|low)
	return netip.PrefixFrom(netip.AddrFrom4(a), bits).Masked()
}

func portsOf(r *rand.Rand, k ports) ruleset.Range {
	switch k {
	case exact:
		p := services[r.IntN(len(services))]
		if r.IntN(3) == 0 {
			p = 1024 + r.Uint64N(9000)
		}
		return ruleset.Range{From: p, To: p}
	case high:
		return ruleset.Range{From: 1024, To: 65535}
	case span:
		from := 1000 * (1 + r.Uint64N(60))
		return ruleset.Range{From: from, To: from + 9 + r.Uint64N(90)}
	default:
		return anyPort
	}
}
