package translator

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"

	"github.com/bpfwall/bpfwall/ruleset"
	"github.com/bpfwall/bpfwall/settable"
)

// benchKeys is how many addresses a benchmark asks for in turn: a power of two.
const benchKeys = 1 << 20

// feed is n prefixes as address lists have them, and addresses to ask for, half of which are in it.
func feed(f ruleset.Family, n int) (members []netip.Prefix, keys []byte) {
	r := rand.New(rand.NewPCG(7, uint64(n)))
	for range n {
		members = append(members, feedPrefix(r, f))
	}
	keys = make([]byte, 16*benchKeys)
	for i := range benchKeys {
		a := feedPrefix(r, f).Addr()
		if i%2 == 0 {
			a = members[r.IntN(n)].Addr()
		}
		copy(keys[16*i:], a.AsSlice())
	}
	return members, keys
}

// feedPrefix is a random prefix: of IPv4, most are single addresses and the rest /16 to /24; of IPv6, /32 to /64 and some single ones.
func feedPrefix(r *rand.Rand, f ruleset.Family) netip.Prefix {
	if f == ruleset.FamilyIPv4 {
		a := netip.AddrFrom4([4]byte{byte(1 + r.IntN(222)), byte(r.Uint32()), byte(r.Uint32()), byte(r.Uint32())})
		n := 32
		if r.IntN(4) == 0 {
			n = 20 + r.IntN(5)
		}
		return netip.PrefixFrom(a, n).Masked()
	}
	// Some 40,000 networks that registries gave away, as the routes of the Internet have them.
	given := rand.New(rand.NewPCG(11, uint64(r.IntN(40_000))))
	first := []uint16{0x2001, 0x2001, 0x2400, 0x2600, 0x2800, 0x2a00, 0x2a00, 0x2c0e}[given.IntN(8)]
	switch spread := map[uint16]int{0x2400: 14, 0x2600: 33, 0x2800: 7, 0x2a00: 21, 0x2c0e: 2}[first]; spread {
	case 0:
	default:
		first += uint16(given.IntN(spread))
	}
	var b [16]byte
	binary.BigEndian.PutUint16(b[:], first)
	binary.BigEndian.PutUint16(b[2:], uint16(given.Uint32()))
	binary.BigEndian.PutUint32(b[4:], r.Uint32())
	binary.BigEndian.PutUint64(b[8:], r.Uint64())
	n := []int{29, 32, 36, 40, 44, 48, 48, 48, 56, 64, 64, 128}[r.IntN(12)]
	return netip.PrefixFrom(netip.AddrFrom16(b), n).Masked()
}

// lookupProgram asks for the next of many keys at each run: in a table, in a trie, or (neither) not at all.
func lookupProgram(tb testing.TB, keys *ebpf.Map, set *SetMap, trie *ebpf.Map, table *ebpf.Map) *ebpf.Program {
	e := newEmitter(nil, "bench")
	e.put(
		asm.LoadMapValue(regPkt, keys.FD(), 0),
		asm.LoadMem(asm.R1, regPkt, 0, asm.DWord),
		asm.Add.Imm(asm.R1, 1),
		asm.StoreMem(regPkt, 0, asm.R1, asm.DWord),
		asm.And.Imm(asm.R1, benchKeys-1),
		asm.LSh.Imm(asm.R1, 4),
		asm.Add.Reg(regPkt, asm.R1),
		asm.Add.Imm(regPkt, 16))
	switch {
	case table != nil:
		set.lookup(0).cond.(tableLookup).find(e)
		for i := range e.insns {
			if e.insns[i].Reference() == set.Name {
				e.insns[i] = asm.LoadMapValue(regTable, table.FD(), 0).WithSymbol(e.insns[i].Symbol())
			}
		}
		e.put(asm.Mov.Reg(asm.R0, regCell))
	case trie != nil:
		e.put(asm.StoreImm(asm.R10, -20, int64(set.bits()), asm.Word))
		for i := range 4 {
			e.put(asm.LoadMem(asm.R1, regPkt, int16(4*i), asm.Word), asm.StoreMem(asm.R10, int16(4*i-16), asm.R1, asm.Word))
		}
		e.put(asm.Mov.Reg(asm.R2, asm.R10), asm.Add.Imm(asm.R2, -20), asm.LoadMapPtr(asm.R1, trie.FD()), asm.FnMapLookupElem.Call())
	}
	e.put(asm.Mov.Imm(asm.R0, 0), asm.Return())
	insns, err := e.done()
	if err != nil {
		tb.Fatal(err)
	}
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.SchedCLS, Instructions: insns, License: "GPL"})
	if err != nil {
		tb.Fatalf("%+v", err)
	}
	tb.Cleanup(func() { _ = p.Close() })
	return p
}

// nsPerRun is the time of one run of a program.
func nsPerRun(tb testing.TB, p *ebpf.Program) float64 {
	best := 1e9
	for range 5 {
		_, d, err := p.Benchmark(make([]byte, 64), 2_000_000, nil)
		if err != nil {
			tb.Fatal(err)
		}
		best = min(best, float64(d.Nanoseconds()))
	}
	return best
}

// BenchmarkSets measures a table beside the kernel's LPM_TRIE: time to fill, memory, time to add one prefix, and time of a lookup, for one address
// again and again (hot) and for a million addresses in turn.
func BenchmarkSets(b *testing.B) {
	for _, f := range []ruleset.Family{ruleset.FamilyIPv4, ruleset.FamilyIPv6} {
		for _, n := range []int{10, 1000, 100_000, 200_000, 1_000_000} {
			if f == ruleset.FamilyIPv6 && n > 200_000 {
				continue
			}
			b.Run(fmt.Sprintf("%s/%d", f, n), func(b *testing.B) { benchSet(b, f, n) })
		}
	}
}

func benchSet(b *testing.B, f ruleset.Family, n int) {
	pin(b)
	members, keyBytes := feed(f, n)
	hot := make([]byte, len(keyBytes))
	for i := range benchKeys {
		copy(hot[16*i:], keyBytes[:16])
	}
	start := time.Now()
	set := &SetMap{Name: "set", Family: f, Entries: members}
	set.fill()
	spec := set.spec()
	spec.Flags = bpfMmapable
	table, err := ebpf.NewMap(spec)
	if err != nil {
		b.Fatal(err)
	}
	defer table.Close()
	filled := time.Since(start)
	start = time.Now()
	trie := fillTrie(b, f, members)
	defer trie.Close()
	trieFilled := time.Since(start)
	for range b.N {
		runs := map[string]float64{}
		for name, keys := range map[string][]byte{"hot": hot, "random": keyBytes} {
			m := keyMap(b, keys)
			floor := nsPerRun(b, lookupProgram(b, m, set, nil, nil))
			runs[name] = nsPerRun(b, lookupProgram(b, m, set, nil, table)) - floor
			runs["trie-"+name] = nsPerRun(b, lookupProgram(b, m, set, trie, nil)) - floor
		}
		for name, ns := range runs {
			b.ReportMetric(ns, name+"-ns")
		}
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(filled.Milliseconds()), "fill-ms")
	b.ReportMetric(float64(trieFilled.Milliseconds()), "trie-fill-ms")
	b.ReportMetric(float64(memlock(b, table))/1e6, "MB")
	b.ReportMetric(float64(memlock(b, trie))/1e6, "trie-MB")
	b.ReportMetric(float64(addTime(b, set).Nanoseconds())/1e3, "add-us")
	b.ReportMetric(float64(trieAddTime(b, trie, f).Nanoseconds())/1e3, "trie-add-us")
}

const bpfMmapable = 1 << 10 // BPF_F_MMAPABLE

func keyMap(b *testing.B, keys []byte) *ebpf.Map {
	m, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: uint32(16 + len(keys)), MaxEntries: 1,
		Contents: []ebpf.MapKV{{Key: uint32(0), Value: append(make([]byte, 16), keys...)}}})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = m.Close() })
	return m
}

func fillTrie(b *testing.B, f ruleset.Family, members []netip.Prefix) *ebpf.Map {
	s := &SetMap{Family: f}
	m, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.LPMTrie, KeySize: uint32(4 + s.bits()/8), ValueSize: 1, Flags: 1, MaxEntries: uint32(len(members) + 10_000)})
	if err != nil {
		b.Fatal(err)
	}
	for _, p := range members {
		if err := m.Put(trieKey(p), uint8(1)); err != nil {
			b.Fatal(err)
		}
	}
	return m
}

func trieKey(p netip.Prefix) []byte {
	return append(binary.NativeEndian.AppendUint32(nil, uint32(p.Bits())), p.Addr().AsSlice()...)
}

// memlock is what the kernel says of a map's memory.
func memlock(b *testing.B, m *ebpf.Map) uint64 {
	info, err := m.Info()
	if err != nil {
		b.Fatal(err)
	}
	n, _ := info.Memlock()
	return n
}

// addTime is the time to add one prefix to a full table.
func addTime(b *testing.B, s *SetMap) time.Duration {
	t, err := settable.Open(append(s.table, make([]byte, len(s.table)+1<<21)...), func() {})
	if err != nil {
		b.Fatal(err)
	}
	r := rand.New(rand.NewPCG(3, 3))
	start := time.Now()
	for range 1000 {
		if err := t.Insert(0, settable.PrefixEntry(feedPrefix(r, s.Family), settable.Forever)); err != nil {
			b.Fatal(err)
		}
	}
	return time.Since(start) / 1000
}

func trieAddTime(b *testing.B, m *ebpf.Map, f ruleset.Family) time.Duration {
	r := rand.New(rand.NewPCG(3, 3))
	start := time.Now()
	for range 1000 {
		if err := m.Put(trieKey(feedPrefix(r, f)), uint8(1)); err != nil {
			b.Fatal(err)
		}
	}
	return time.Since(start) / 1000
}
