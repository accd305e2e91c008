package classify

import (
	"encoding/binary"
	"flag"
	"math/rand/v2"
	"slices"
	"testing"
)

var long = flag.Bool("long", false, "look many more packets up")

var order = binary.LittleEndian

// patterns are what the tests' patterns ask for: pattern i is met by the values of which it has all bits. Pattern 0 asks for nothing.
var patterns = []uint8{0, 1, 2, 3, 7, 8, 9}

// coversOf is Options.Covers of patterns.
func coversOf() (out [64]uint64) {
	for i, p := range patterns {
		for j, q := range patterns {
			if p&q == p {
				out[i] |= 1 << j
			}
		}
	}
	out[0] = ^uint64(0)
	return out
}

// met is the patterns that a value meets.
func met(value uint8) (out uint64) {
	for i, p := range patterns {
		if value&p == p {
			out |= 1 << i
		}
	}
	return out
}

// generator makes rules and keys of a small world, so that they meet.
type generator struct {
	*rand.Rand
	family Family
}

func (g generator) addr() Addr {
	if g.family == IPv4 {
		return Addr{Hi: uint64(10<<24 + g.IntN(4)<<16 + g.IntN(3)<<8 + g.IntN(64))}
	}
	a := Addr{Hi: 0xfd<<56 + uint64(g.IntN(4)), Lo: uint64(g.IntN(64))}
	if g.IntN(8) == 0 {
		a.Lo = ^uint64(0) - a.Lo
	}
	return a
}

func (g generator) top() Addr {
	if g.family == IPv4 {
		return Addr{Hi: 1<<32 - 1}
	}
	return Addr{^uint64(0), ^uint64(0)}
}

// spans are prefixes mostly, ranges, and everything but these.
func (g generator) spans() []Span {
	a := g.addr()
	switch g.IntN(8) {
	case 0:
		return nil
	case 1, 2:
		return []Span{{a, a}}
	case 3:
		b := g.addr()
		if b.Less(a) {
			a, b = b, a
		}
		return []Span{{a, b}}
	case 4:
		if a == (Addr{}) || a == g.top() {
			return nil
		}
		next, _ := g.family.next(a)
		return []Span{{Addr{}, before(g.family, a)}, {next, g.top()}}
	}
	return []Span{g.prefix(a)}
}

// before is the address in front of a.
func before(f Family, a Addr) Addr {
	switch {
	case f == IPv4:
		return Addr{Hi: a.Hi - 1}
	case a.Lo == 0:
		return Addr{a.Hi - 1, ^uint64(0)}
	}
	return Addr{a.Hi, a.Lo - 1}
}

func (g generator) prefix(a Addr) Span {
	n := g.IntN(33)
	if g.family == IPv4 {
		mask := uint64(1)<<n - 1
		return Span{Addr{Hi: a.Hi &^ mask}, Addr{Hi: (a.Hi | mask) & (1<<32 - 1)}}
	}
	if n *= 4; n > 64 {
		mask := uint64(1)<<(n-64) - 1
		return Span{Addr{a.Hi &^ mask, 0}, Addr{a.Hi | mask, ^uint64(0)}}
	}
	mask := uint64(1)<<n - 1
	return Span{Addr{a.Hi, a.Lo &^ mask}, Addr{a.Hi, a.Lo | mask}}
}

func (g generator) ports() []Ports {
	a, b := uint16(g.IntN(12)), uint16(g.IntN(12))
	switch g.IntN(6) {
	case 0:
		return []Ports{{a, a}}
	case 1:
		return []Ports{{min(a, b), max(a, b)}}
	case 2:
		return []Ports{{a, a}, {a + 2, a + 3}, {65000, 65535}}
	}
	return nil
}

func (g generator) rule() Rule {
	return Rule{Src: g.spans(), Dst: g.spans(), SrcPorts: g.ports(), DstPorts: g.ports(), Pattern: uint8(g.IntN(len(patterns))),
		Pass: [20]Pass{Stops, Stops, Counts, Counts, Counts}[g.IntN(20)]}
}

// rules are random ones, some of them copies with a change.
func (g generator) rules(n int) (out []Rule) {
	for range n {
		r := g.rule()
		if len(out) > 0 && g.IntN(4) == 0 {
			r = out[g.IntN(len(out))]
			r.Dst = g.spans()
		}
		out = append(out, r)
	}
	return out
}

func (g generator) key() (k Key, value uint8) {
	value = uint8(g.IntN(16))
	k = Key{Src: g.addr(), Dst: g.addr(), SrcPort: uint16(g.IntN(14)), DstPort: uint16(g.IntN(14)), Patterns: met(value)}
	if g.IntN(10) == 0 {
		k.Src = Addr{}
	}
	if g.IntN(10) == 0 {
		k.Dst = g.top()
	}
	if g.IntN(10) == 0 {
		k.DstPort = 65535
	}
	return k, value
}

// way is the rules that a key meets: those that it goes on behind, and the first that ends. That is what a table has to say.
func way(rules []Rule, k Key) (out []uint32) {
	for i, r := range rules {
		if inSpans(r.Src, k.Src) && inSpans(r.Dst, k.Dst) && inPorts(r.SrcPorts, k.SrcPort) && inPorts(r.DstPorts, k.DstPort) && k.Patterns>>r.Pattern&1 != 0 {
			if out = append(out, uint32(i)); r.Pass == Ends {
				break
			}
		}
	}
	return out
}

// way is what a table says of it.
func (t *Table) way(k Key, _ []Rule) []uint32 {
	open, rule, ok := t.Lookup(k, order)
	slices.Sort(open)
	if ok {
		return append(open, rule)
	}
	return open
}

// way is what vectors say of it, asked for one rule after the other.
func (v *Vectors) way(k Key, rules []Rule) (out []uint32) {
	for from := uint32(0); ; {
		r, ok := v.Lookup(k, from, order)
		if !ok {
			return out
		}
		if out = append(out, r); rules[r].Pass == Ends || r < from { // a broken table may answer what is past
			return out
		}
		from = r + 1
	}
}

func inSpans(list []Span, a Addr) bool {
	return list == nil || slices.ContainsFunc(list, func(s Span) bool { return !a.Less(s.From) && !s.To.Less(a) })
}

func inPorts(list []Ports, v uint16) bool {
	return list == nil || slices.ContainsFunc(list, func(p Ports) bool { return p.has(v) })
}

func testOptions(f Family) Options {
	return Options{Family: f, Order: order, Covers: coversOf(), MaxSubsets: 128, MaxBytes: 64 << 20}
}

// TestRandom compares tables of random rules with these rules.
func TestRandom(t *testing.T) {
	sets, keys := 18, 1000
	if *long {
		sets, keys = 400, 1_000_000
	}
	for i := range sets {
		for f := IPv4; f <= IPv6; f++ {
			g := generator{rand.New(rand.NewPCG(uint64(i), uint64(f))), f}
			rules := g.rules([]int{1, 2, 10, 50, 200, 1000}[i%6])
			opt := testOptions(f)
			if i%2 == 1 {
				opt.cells = 200 // many subsets
			}
			table, err := Build(rules, opt)
			if err != nil {
				t.Fatal(err)
			}
			if n := differences(g, rules, table, keys); n > 0 {
				t.Fatalf("set %d, family %d: %d of %d lookups are wrong", i, f, n, keys)
			}
		}
	}
}
