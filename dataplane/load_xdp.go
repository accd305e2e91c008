package dataplane

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
)

// chooseXDP finds out whether the next generation is to judge its prerouting rules in XDP, as far as that is not for each interface to say.
func (t *transaction) chooseXDP() {
	g := t.next
	g.Guard, g.NoXDP = t.out.XDP != nil || t.out.NoXDP != "", t.out.NoXDP
	if g.Guard && t.opts.XDP == XDPOff {
		g.NoXDP = "turned off (--xdp off)"
	}
	if g.Guard && g.NoXDP == "" && t.rs.UsesSynProxy() && lacks(longFrames) {
		g.NoXDP = "answers to SYNs need Linux " + longFrames.kernel + " there"
	}
	if g.judgesInXDP() {
		var b [8]byte
		_, _ = rand.Read(b[:]) // does not fail, crypto/rand
		t.seal = binary.NativeEndian.Uint64(b[:]) | 1
	}
}

// judgesInXDP reports whether a generation has a program for XDP.
func (g *Generation) judgesInXDP() bool { return g.Guard && g.NoXDP == "" }

// InXDP are the interfaces whose prerouting rules XDP judges, as it was at the last apply, rollback or refresh.
func (g *Generation) InXDP() (names []string) {
	for name, why := range g.XDP {
		if why == "" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// loadXDP verifies the XDP program, with the maps of the tc programs. A kernel that refuses it judges at tc.
func (t *transaction) loadXDP(maps map[string]*ebpf.Map) error {
	if !t.next.judgesInXDP() {
		return nil
	}
	spec, shared := t.out.XDP, map[string]*ebpf.Map{}
	for name := range spec.Maps {
		if !strings.HasPrefix(name, ".rodata") {
			shared[name] = maps[name]
		}
	}
	if err := setSwitches(spec, t.next, t.seal); err != nil {
		return err
	}
	if err := t.loadExtra("xdp", spec, shared); err != nil {
		t.next.NoXDP = fmt.Sprintf("the kernel refused the program: %s", err)
		t.warn("XDP: %s; tc judges prerouting rules", t.next.NoXDP)
		return nil
	}
	return nil
}
