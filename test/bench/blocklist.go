package main

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"

	"github.com/bpfwall/bpfwall/internal/lab"
)

// blocklist is prefixes of which none is inside another, as published lists have them, sorted.
type blocklist struct {
	v4, v6 []netip.Prefix
}

// newBlocklist makes a list of n prefixes, a sixth of them IPv6.
func newBlocklist(n int) *blocklist {
	r := rand.New(rand.NewPCG(5, uint64(n)))
	return &blocklist{v4: disjoint(n-n/6, func() netip.Prefix { return prefix4(r) }), v6: disjoint(n/6, func() netip.Prefix { return prefix6(r) })}
}

func (l *blocklist) size() int { return len(l.v4) + len(l.v6) }

// disjoint draws prefixes until there are n that do not overlap.
func disjoint(n int, draw func() netip.Prefix) (out []netip.Prefix) {
	for len(out) < n {
		for range n - len(out) {
			out = append(out, draw())
		}
		slices.SortFunc(out, netip.Prefix.Compare)
		kept := out[:0]
		for _, p := range out {
			if k := len(kept); k == 0 || !kept[k-1].Overlaps(p) {
				kept = append(kept, p)
			}
		}
		out = kept
	}
	return out
}

// prefix4 is a single address, or one time in four a network of /20 to /24. What single elements are added from is left out.
func prefix4(r *rand.Rand) netip.Prefix {
	for {
		a := address4(unicast(r.Uint32()))
		bits := 32
		if r.IntN(4) == 0 {
			bits = 20 + r.IntN(5)
		}
		if p := netip.PrefixFrom(a, bits).Masked(); !p.Overlaps(lab.LAN.DUT4) && !p.Overlaps(lab.WAN.DUT4) && !p.Overlaps(additions) {
			return p
		}
	}
}

// additions are where the elements are from that are added one by one.
var additions = netip.MustParsePrefix("203.0.112.0/23")

// networks6 is about how many networks registries gave away, as the routes of the Internet have them.
const networks6 = 40_000

// prefix6 is a network of /29 to /64, or one time in twelve a single address, of one of networks6.
func prefix6(r *rand.Rand) netip.Prefix {
	given := rand.New(rand.NewPCG(11, uint64(r.IntN(networks6))))
	blocks := []struct{ first, count int }{{0x2003, 1}, {0x2400, 14}, {0x2600, 33}, {0x2800, 7}, {0x2a00, 21}, {0x2c0e, 2}}
	block := blocks[given.IntN(len(blocks))]
	var b [16]byte
	binary.BigEndian.PutUint16(b[:], uint16(block.first+given.IntN(block.count)))
	binary.BigEndian.PutUint16(b[2:], uint16(given.Uint32()))
	binary.BigEndian.PutUint32(b[4:], r.Uint32())
	binary.BigEndian.PutUint64(b[8:], r.Uint64())
	bits := []int{29, 32, 36, 40, 44, 48, 48, 48, 56, 64, 64, 128}[r.IntN(12)]
	if bits < 44 && r.IntN(50) > 0 {
		bits = 48 // or else a few of them would cover most of the others
	}
	return netip.PrefixFrom(netip.AddrFrom16(b), bits).Masked()
}

// has reports whether an address is listed.
func has(list []netip.Prefix, a netip.Addr) bool {
	i, found := slices.BinarySearchFunc(list, a, func(p netip.Prefix, a netip.Addr) int { return p.Addr().Compare(a) })
	return found || i > 0 && list[i-1].Contains(a)
}

// kindOfFrame is whose frames are sent.
type kindOfFrame struct {
	name   string
	v6     bool
	listed bool
	hot    bool // one frame again and again, not many of different senders
}

var kindsOfFrames = func() (all []kindOfFrame) {
	for _, k := range []kindOfFrame{{"IPv4, listed", false, true, false}, {"IPv4, not listed", false, false, false}, {"IPv6, listed", true, true, false}, {"IPv6, not listed", true, false, false}} {
		hot := k
		hot.name, hot.hot = k.name+", hot", true
		all = append(all, k, hot)
	}
	return all
}()

// kinds are those that are measured: with less of everything, not the hot ones.
func (s sizesOf) kinds() (out []kindOfFrame) {
	for _, k := range kindsOfFrames {
		if !k.hot || !*quick {
			out = append(out, k)
		}
	}
	return out
}

// frames are those of a kind: 65,536 different ones.
func (l *blocklist) frames(k kindOfFrame) [][]byte {
	r := rand.New(rand.NewPCG(9, 9))
	out := make([][]byte, 1<<16)
	for i := range out {
		if i > 0 && k.hot {
			out[i] = out[0]
			continue
		}
		out[i] = frameFrom(l.sender(r, k))
	}
	return out
}

func (l *blocklist) sender(r *rand.Rand, k kindOfFrame) netip.Addr {
	list, draw := l.v4, prefix4
	if k.v6 {
		list, draw = l.v6, prefix6
	}
	if k.listed {
		return within(r, list[r.IntN(len(list))])
	}
	for {
		if a := within(r, draw(r)); !has(list, a) {
			return a
		}
	}
}

// within is a random address of a prefix.
func within(r *rand.Rand, p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := p.Bits(); i < 8*len(b); i++ {
		b[i/8] |= byte(r.IntN(2)) << (7 - i%8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

// frameFrom is a frame that the router would forward.
func frameFrom(src netip.Addr) []byte {
	p := lab.Packet{SrcMAC: lab.LAN.FarMAC, DstMAC: lab.LAN.DUTMAC, Src: src, Dst: netip.MustParseAddr("172.16.0.2"), TTL: 64, Proto: 17, SrcPort: 4000, DstPort: 8080}
	if src.Is6() {
		p.Dst = netip.MustParseAddr("2001:db8:20::2")
	}
	p.Payload = make([]byte, frameLength-len(p.Frame()))
	return p.Frame()
}

// list is the prefixes, a line each.
func (l *blocklist) list() string {
	var b strings.Builder
	for _, p := range slices.Concat(l.v4, l.v6) {
		b.WriteString(p.String() + "\n")
	}
	return b.String()
}

// guard is a policy that drops what the set's elements send.
func (l *blocklist) guard(set string) string {
	return fmt.Sprintf(`version = 1
[defaults]
state = "explicit"
essentials = "none"
inbound = "allow"
outbound = "allow"
forward = "allow"
[sets]
block = { %s }
[[guard]]
drop = "any"
from = "@block"
`, set)
}

// ipset is what `ipset restore` reads.
func (l *blocklist) ipset() string {
	var b strings.Builder
	for family, list := range map[string][]netip.Prefix{"inet": l.v4, "inet6": l.v6} {
		fmt.Fprintf(&b, "create block-%s hash:net family %s hashsize %d maxelem %d\n", family, family, max(64, len(list)/2), len(list)+1000)
		for _, p := range list {
			fmt.Fprintf(&b, "add block-%s %s\n", family, p)
		}
	}
	return b.String()
}

// nft is a table that drops at the earliest hook that nft has.
func (l *blocklist) nft() string {
	var b strings.Builder
	b.WriteString("table netdev bench {\n")
	for _, s := range []struct {
		name, kind string
		list       []netip.Prefix
	}{{"block4", "ipv4_addr", l.v4}, {"block6", "ipv6_addr", l.v6}} {
		fmt.Fprintf(&b, "set %s {\n type %s\n flags interval\n elements = { ", s.name, s.kind)
		for _, p := range s.list {
			b.WriteString(p.String() + ", ")
		}
		b.WriteString("}\n}\n")
	}
	b.WriteString("chain early {\n type filter hook ingress device \"lan0\" priority 0; policy accept;\n ip saddr @block4 counter drop\n ip6 saddr @block6 counter drop\n}\n}\n")
	return b.String()
}

// iptables is a rule for each prefix in raw's PREROUTING, for one family.
func iptablesDrops(list []netip.Prefix) string {
	var b strings.Builder
	b.WriteString("*raw\n:PREROUTING ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n")
	for _, p := range list {
		fmt.Fprintf(&b, "-A PREROUTING -s %s -j DROP\n", p)
	}
	b.WriteString("COMMIT\n")
	return b.String()
}
