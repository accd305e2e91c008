// Package classbench reads filter sets in the format of ClassBench, makes headers that meet them, and measures compiled rulesets over
// these headers.
package classbench

import (
	"bufio"
	"compress/gzip"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"

	"github.com/bpfwall/bpfwall/ruleset"
)

// Filter is a line of a filter set.
type Filter struct {
	Src, Dst            netip.Prefix
	SrcPort, DstPort    ruleset.Range
	Proto, ProtoMask    uint8
	TCPFlags, FlagsMask uint8
}

// ReadFile reads a filter set; a name that ends in .gz is unpacked.
func ReadFile(path string) ([]Filter, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if !strings.HasSuffix(path, ".gz") {
		return Read(f)
	}
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %s", path, err)
	}
	return Read(z)
}

// Read reads a filter set: @src dst sport : sport dport : dport proto/mask flags/mask.
func Read(r io.Reader) ([]Filter, error) {
	var out []Filter
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		if strings.TrimSpace(lines.Text()) == "" {
			continue
		}
		f, err := parse(lines.Text())
		if err != nil {
			return nil, fmt.Errorf("line %d: %s", n, err)
		}
		out = append(out, f)
	}
	return out, lines.Err()
}

func parse(line string) (f Filter, err error) {
	var src, dst string
	var flags, flagsMask uint16
	_, err = fmt.Sscanf(line, "@%s %s %d : %d %d : %d 0x%x/0x%x 0x%x/0x%x", &src, &dst, &f.SrcPort.From, &f.SrcPort.To,
		&f.DstPort.From, &f.DstPort.To, &f.Proto, &f.ProtoMask, &flags, &flagsMask)
	if err != nil {
		return f, err
	}
	if f.Src, err = netip.ParsePrefix(src); err != nil {
		return f, err
	}
	f.Dst, err = netip.ParsePrefix(dst)
	f.TCPFlags, f.FlagsMask = uint8(flags>>8), uint8(flagsMask>>8) // the sets have them in the upper byte
	return f, err
}

var anyPort = ruleset.Range{To: 65535}

// hasPorts is the protocols whose packets have ports.
var hasPorts = map[uint8]bool{6: true, 17: true, 33: true, 132: true, 136: true}

// Ruleset is the filters as the rules of INPUT, every second one accepting.
func Ruleset(name string, filters []Filter) *ruleset.Ruleset {
	c := &ruleset.Chain{Name: "INPUT", Family: ruleset.FamilyIPv4, Hook: ruleset.HookInput, Policy: ruleset.Drop}
	for i, f := range filters {
		r := f.rule()
		r.Pos = ruleset.Pos{File: name, Line: i + 1}
		r.Verdict.Kind = ruleset.Accept
		if i%2 == 1 {
			r.Verdict.Kind = ruleset.Drop
		}
		c.Rules = append(c.Rules, r)
	}
	return &ruleset.Ruleset{Chains: []*ruleset.Chain{c}}
}

// rule is a filter's matches, without those that say nothing.
func (f Filter) rule() *ruleset.Rule {
	r := &ruleset.Rule{}
	add := func(m ruleset.Match, when bool) {
		if when {
			r.Matches = append(r.Matches, m)
		}
	}
	addr := func(id ruleset.FieldID, p netip.Prefix) {
		add(ruleset.Match{Field: id, Addrs: []ruleset.AddrRange{ruleset.Prefix(p)}}, p.Bits() > 0)
	}
	port := func(id ruleset.FieldID, p ruleset.Range) {
		add(ruleset.Match{Field: id, Ranges: []ruleset.Range{p}}, p != anyPort)
	}
	addr(ruleset.FieldSrcAddr, f.Src)
	addr(ruleset.FieldDstAddr, f.Dst)
	add(ruleset.Match{Field: ruleset.FieldProto, Ranges: []ruleset.Range{{From: uint64(f.Proto), To: uint64(f.Proto)}}}, f.ProtoMask != 0)
	port(ruleset.FieldSrcPort, f.SrcPort)
	port(ruleset.FieldDstPort, f.DstPort)
	flags := ruleset.Masked{Value: uint64(f.TCPFlags), Mask: uint64(f.FlagsMask)}
	add(ruleset.Match{Field: ruleset.FieldTCPFlags, Masked: []ruleset.Masked{flags}}, f.FlagsMask != 0 && f.Proto == 6)
	return r
}
