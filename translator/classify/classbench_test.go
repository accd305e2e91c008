package classify

import (
	"encoding/binary"
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/bpfwall/bpfwall/internal/classbench"
	"github.com/bpfwall/bpfwall/ruleset"
)

var (
	classbenchDir = flag.String("classbench", "", "folder of filter sets in the format of ClassBench")
	classbenchPat = flag.String("sets", "*_10*", "which sets of -classbench: a pattern of file names")
)

// TestClassBench builds tables of filter sets, reports what they take, and compares lookups with the first filter that matches.
func TestClassBench(t *testing.T) {
	if *classbenchDir == "" {
		t.Skip("no folder of filter sets: -classbench")
	}
	files, err := filepath.Glob(filepath.Join(*classbenchDir, *classbenchPat))
	if err != nil || len(files) == 0 {
		t.Fatalf("no filter sets (%v)", err)
	}
	slices.SortFunc(files, func(a, b string) int { return len(a) - len(b) })
	for _, path := range files {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".gz"), func(t *testing.T) { compareSet(t, path) })
	}
}

func compareSet(t *testing.T, path string) {
	filters, err := classbench.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	rules, kinds := fromFilters(filters)
	opt := Options{Order: order, MaxSubsets: 64, MaxBytes: 256 << 20}
	for i, p := range kinds {
		for j, q := range kinds {
			if p == (classbench.Filter{SrcPort: anyRange, DstPort: anyRange}) || p.SrcPort == q.SrcPort && p.DstPort == q.DstPort && p.Proto == q.Proto && p.ProtoMask == q.ProtoMask && q.FlagsMask&p.FlagsMask == p.FlagsMask && q.TCPFlags&p.FlagsMask == p.TCPFlags {
				opt.Covers[i] |= 1 << j
			}
		}
	}
	if n, _ := strconv.Atoi(os.Getenv("CELLS")); n > 0 {
		opt.cells = n * len(rules)
	}
	start := time.Now()
	table, err := Build(rules, opt)
	if err != nil {
		t.Fatal(err)
	}
	var cells []uint64
	for _, s := range table.Subsets {
		cells = append(cells, s.Size)
	}
	t.Logf("%d rules: %v, %.2f MB, %d subsets, cells %v, lists up to %d, ports %+v", len(rules), time.Since(start).Round(time.Millisecond),
		float64(len(table.Data))/1e6, len(table.Subsets), cells, table.MaxList, table.Ports)
	vectors, err := BuildVectors(rules, kindGroups(kinds), opt)
	if err != nil {
		t.Log(err)
	}
	n := 2_000_000 / len(filters)
	for _, kind := range []classbench.Traffic{classbench.Uniform, classbench.Mixed} {
		for _, h := range classbench.Headers(filters, kind, n, 5) {
			k := Key{Src: Addr{Hi: uint64(h.Src)}, Dst: Addr{Hi: uint64(h.Dst)}, SrcPort: uint16(max(h.SrcPort, 0)), DstPort: uint16(max(h.DstPort, 0))}
			k.Patterns = metKinds(kinds, h)
			want := classbench.Match(filters, h)
			if _, got, ok := table.Lookup(k, order); ok != (want >= 0) || ok && int(got) != want {
				t.Fatalf("%+v: rule %d, want %d", h, got, want)
			}
			if vectors == nil {
				continue
			}
			if got, ok := vectors.Lookup(k, 0, order); ok != (want >= 0) || ok && int(got) != want {
				t.Fatalf("%+v: bit vectors say %d, want %d", h, got, want)
			}
		}
	}
}

// fromFilters is filters as rules, and what their patterns ask for.
func fromFilters(filters []classbench.Filter) (rules []Rule, kinds []classbench.Filter) {
	for _, f := range filters {
		kind := classbench.Filter{Proto: f.Proto, ProtoMask: f.ProtoMask, TCPFlags: f.TCPFlags & f.FlagsMask, FlagsMask: f.FlagsMask}
		if f.ProtoMask == 0 {
			kind = classbench.Filter{}
		}
		kind.SrcPort = f.SrcPort // whether ports have to be there
		kind.DstPort = f.DstPort
		for _, p := range []*ruleset.Range{&kind.SrcPort, &kind.DstPort} {
			if *p != anyRange {
				*p = ruleset.Range{From: 1}
			}
		}
		i := slices.Index(kinds, kind)
		if i < 0 {
			i, kinds = len(kinds), append(kinds, kind)
		}
		rules = append(rules, Rule{Src: span(f.Src), Dst: span(f.Dst), SrcPorts: ports(f.SrcPort), DstPorts: ports(f.DstPort), Pattern: uint8(i)})
	}
	return rules, kinds
}

var anyRange = ruleset.Range{To: 65535}

func ports(r ruleset.Range) []Ports {
	if r.From == 0 && r.To == 65535 {
		return nil
	}
	return []Ports{{uint16(r.From), uint16(r.To)}}
}

func span(p netip.Prefix) []Span {
	if p.Bits() == 0 {
		return nil
	}
	a := p.Masked().Addr().As4()
	from := uint64(binary.BigEndian.Uint32(a[:]))
	return []Span{{Addr{Hi: from}, Addr{Hi: from | (1<<(32-p.Bits()) - 1)}}}
}

// kindGroups is what headers may meet of kinds.
func kindGroups(kinds []classbench.Filter) []PatternGroup {
	g := PatternGroup{Mask: ^uint64(0)}
	for proto := range 256 {
		for flags := range 257 {
			h := classbench.Header{Proto: uint8(proto), TCPFlags: flags, SrcPort: ruleset.Absent, DstPort: ruleset.Absent}
			if flags == 256 || proto != 6 {
				h.TCPFlags = ruleset.Absent
			}
			for _, port := range []int{ruleset.Absent, 1} {
				h.SrcPort, h.DstPort = port, port
				g.Values = append(g.Values, metKinds(kinds, h))
			}
		}
	}
	slices.Sort(g.Values)
	g.Values = slices.Compact(g.Values)
	return []PatternGroup{g}
}

func metKinds(kinds []classbench.Filter, h classbench.Header) (out uint64) {
	for i, p := range kinds {
		if p.MeetsKind(h) {
			out |= 1 << i
		}
	}
	return out
}
