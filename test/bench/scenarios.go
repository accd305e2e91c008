package main

import (
	"math/rand/v2"
	"net/netip"

	"github.com/bpfwall/bpfwall/internal/classbench"
	"github.com/bpfwall/bpfwall/ruleset"
)

// The scenarios ruleset-size, rule-complexity, enterprise-public-servers and ddos-mitigator are those of Miano et al., "Securing Linux
// with a faster and scalable iptables" (ACM SIGCOMM CCR 49(3), 2019), with sizes of our own beside theirs; misses is ours.

// host is the address n after the given one.
func host(a, b, c, d byte, n int) netip.Prefix {
	v := uint32(a)<<24 | uint32(b)<<16 | uint32(c)<<8 | uint32(d) + uint32(n)
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{byte(v >> 24), byte(v >> 16), byte(v >> 8), byte(v)}), 32)
}

func port(n int) ruleset.Range { return ruleset.Range{From: uint64(n), To: uint64(n)} }

// traffic is how many different frames are sent in turn, a power of two.
const traffic = 1 << 12

// draw makes the frames of a scenario, each by a call of f.
func (s *scenario) draw(f func(r *rand.Rand) classbench.Header) *scenario {
	r := rand.New(rand.NewPCG(1, 1))
	for range traffic {
		s.headers = append(s.headers, f(r))
	}
	return s
}

func udp(src, dst netip.Prefix, sport, dport int) classbench.Header {
	return classbench.Header{Src: number(src), Dst: number(dst), SrcPort: sport, DstPort: dport, Proto: 17, TCPFlags: ruleset.Absent}
}

func number(p netip.Prefix) uint32 {
	a := p.Addr().As4()
	return uint32(a[0])<<24 | uint32(a[1])<<16 | uint32(a[2])<<8 | uint32(a[3])
}

// sizes are the numbers of sources, destinations, source ports and destination ports of ruleset-size; 10 and from 10,000 on are ours.
var sizes = map[int][4]int{
	10: {5, 2, 1, 1}, 50: {3, 3, 3, 2}, 100: {5, 5, 2, 2}, 500: {5, 5, 10, 2}, 1000: {10, 5, 4, 5}, 5000: {10, 5, 10, 10},
	10_000: {10, 10, 10, 10}, 100_000: {50, 20, 10, 10},
}

// rulesetSize accepts exactly the frames that are sent, by five fields each.
func rulesetSize(n int) *scenario {
	c := sizes[n]
	s := &scenario{name: "ruleset-size", size: n, hook: "FORWARD"}
	grid(c, func(x, y, p, q int) {
		f := classbench.Filter{Src: host(192, 168, 0, 2, x), Dst: host(192, 168, 1, 2, y), SrcPort: port(10100 + p), DstPort: port(8080 + q), Proto: 17, ProtoMask: 255}
		s.rules = append(s.rules, rule{Filter: f, accept: true})
	})
	return s.draw(func(r *rand.Rand) classbench.Header {
		return udp(host(192, 168, 0, 2, r.IntN(c[0])), host(192, 168, 1, 2, r.IntN(c[1])), 10100+r.IntN(c[2]), 8080+r.IntN(c[3]))
	})
}

func grid(c [4]int, f func(x, y, p, q int)) {
	for x := range c[0] {
		for y := range c[1] {
			for p := range c[2] {
				for q := range c[3] {
					f(x, y, p, q)
				}
			}
		}
	}
}

// complexities are the counts of the 1,000 rules with one to five fields.
var complexities = [][4]int{{1000, 1, 1, 1}, {40, 25, 1, 1}, {40, 25, 1, 1}, {10, 10, 10, 1}, {10, 5, 4, 5}}

// ruleComplexity is 1,000 rules that ask for so many fields: source, destination, protocol, source port, destination port.
func ruleComplexity(fields int) *scenario {
	c := complexities[fields-1]
	s := &scenario{name: []string{"", "one field", "two fields", "three fields", "four fields", "five fields"}[fields], size: 1000, hook: "FORWARD"}
	s.name = "rule-complexity, " + s.name
	grid(c, func(x, y, p, q int) {
		f := every()
		f.Src = host(192, 168, 0, 2, x)
		if fields > 1 {
			f.Dst = host(192, 168, 10, 2, y)
		}
		if fields > 2 {
			f.Proto, f.ProtoMask = 17, 255
		}
		if fields > 3 {
			f.SrcPort = port(10100 + p)
		}
		if fields > 4 {
			f.DstPort = port(8090 + q)
		}
		s.rules = append(s.rules, rule{Filter: f, accept: true})
	})
	return s.draw(func(r *rand.Rand) classbench.Header {
		return udp(host(192, 168, 0, 2, r.IntN(c[0])), host(192, 168, 10, 2, r.IntN(c[1])), 10100+r.IntN(c[2]), 8090+r.IntN(c[3]))
	})
}

// enterprises are hosts, services of each, last host and last port that are asked for.
var enterprises = map[int][4]int{50: {5, 9, 7, 8088}, 100: {10, 9, 12, 8088}, 500: {50, 9, 51, 8089}, 1000: {25, 39, 27, 8120}, 5000: {50, 99, 53, 8184}}

// enterprise is public servers behind a stateful firewall; a tenth of the flows is for ports that are closed.
func enterprise(n int) *scenario {
	c := enterprises[n]
	s := &scenario{name: "enterprise-public-servers", size: n, hook: "FORWARD", replied: true}
	s.rules = append(s.rules, rule{Filter: every(), state: "ESTABLISHED", accept: true})
	for i := range c[0] {
		f := every()
		f.Src = host(192, 168, 10, 2, i)
		s.rules = append(s.rules, rule{Filter: f, state: "NEW", accept: true})
	}
	grid([4]int{c[0], c[1], 1, 1}, func(i, j, _, _ int) {
		f := every()
		f.Dst, f.Proto, f.ProtoMask, f.DstPort = host(192, 168, 10, 2, i), 17, 255, port(8080+j)
		s.rules = append(s.rules, rule{Filter: f, accept: true})
	})
	return s.draw(func(r *rand.Rand) classbench.Header {
		return udp(host(192, 168, 0, 2, r.IntN(10)), host(192, 168, 10, 2, r.IntN(c[2]-1)), 10100+r.IntN(11), 8080+r.IntN(c[3]-8079))
	})
}

// attackers are sources, and source ports of each.
var attackers = map[int][2]int{50: {5, 10}, 100: {10, 10}, 500: {10, 50}, 1000: {20, 50}, 5000: {100, 50}}

// ddos drops what listed sources send from listed ports; only they send.
func ddos(n int) *scenario {
	c := attackers[n]
	s := &scenario{name: "ddos-mitigator", size: n, hook: "INPUT", accept: true, floor: true}
	grid([4]int{c[0], c[1], 1, 1}, func(i, j, _, _ int) {
		f := every()
		f.Src, f.Proto, f.ProtoMask, f.SrcPort = host(192, 168, 0, 2, i), 17, 255, port(10240+j)
		s.rules = append(s.rules, rule{Filter: f})
	})
	web := every()
	web.Proto, web.ProtoMask, web.DstPort = 6, 255, port(80)
	s.rules = append(s.rules, rule{Filter: every(), state: "ESTABLISHED", accept: true}, rule{Filter: web, state: "NEW", accept: true})
	return s.draw(func(r *rand.Rand) classbench.Header {
		return udp(host(192, 168, 0, 2, r.IntN(c[0])), host(192, 168, 0, 1, 0), 10240+r.IntN(c[1]), 9090+r.IntN(911))
	})
}

// misses is rules of three kinds, none of which the frames meet.
func misses(n int) *scenario {
	s := &scenario{name: "misses", size: n, hook: "FORWARD", accept: true}
	r := rand.New(rand.NewPCG(7, 7))
	for i := range n {
		f := every()
		f.Proto, f.ProtoMask = 17, 255
		at := netip.AddrFrom4([4]byte{10, byte(r.IntN(256)), byte(r.IntN(256)), byte(r.IntN(256))})
		p := 1 + r.IntN(60_000)
		switch i % 3 {
		case 0:
			f.Src, f.DstPort = netip.PrefixFrom(at, 32), port(p)
		case 1:
			f.Dst, f.DstPort, f.Proto = netip.PrefixFrom(at, 24).Masked(), ruleset.Range{From: uint64(p), To: uint64(p + 9)}, 6
		case 2:
			f.Src, f.SrcPort = netip.PrefixFrom(at, 20).Masked(), port(p)
		}
		s.rules = append(s.rules, rule{Filter: f})
	}
	return s.draw(func(r *rand.Rand) classbench.Header {
		return udp(host(192, 168, 0, 2, r.IntN(200)), host(172, 16, 0, 2, r.IntN(200)), 10_100+r.IntN(100), 8080)
	})
}
