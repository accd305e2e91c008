package volume

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/bpfwall/bpfwall/bpf"
	"github.com/bpfwall/bpfwall/internal/random"
	"github.com/bpfwall/bpfwall/packet"
	"github.com/bpfwall/bpfwall/ruleset"
	"github.com/bpfwall/bpfwall/translator"
)

// xdpMD is struct xdp_md of linux/bpf.h; the data is at offsets in what a test run is given.
type xdpMD struct{ Data, DataEnd, DataMeta, IngressIfindex, RxQueue, EgressIfindex uint32 }

// What XDP programs answer.
const (
	xdpDrop = 1
	xdpPass = 2
)

const (
	ourSeal     = 0x5ea1_0000_0000_0001
	sealNoTrack = 0x10000
)

// TestXDP puts random frames through the XDP program of random rulesets: what it judges, it judges as packet.Decode and ruleset.Eval do,
// seal and counters included; what it leaves to tc is what it is meant to leave.
func TestXDP(t *testing.T) {
	m := newMachine(t)
	m.registerQueues(t)
	s := *seed
	if s == 0 {
		s = rand.Uint64N(1 << 32)
	}
	t.Logf("seed %d", s)
	fates := map[string]int{}
	for done := 0; done < *frames/20 && !t.Failed(); s++ {
		done += compareXDP(t, m, s, fates)
	}
	t.Logf("%v", fates)
}

// registerQueues attaches a program to every device, without which none may be named in a test run.
func (m *machine) registerQueues(t *testing.T) {
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.XDP, License: "GPL", Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, xdpPass), asm.Return()}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	for _, dev := range m.devices {
		l, err := link.AttachXDP(link.XDPOptions{Program: p, Interface: int(dev), Flags: link.XDPDriverMode})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Close() })
	}
}

// compareXDP puts frames through the XDP program of one ruleset, and reports how many.
func compareXDP(t *testing.T, m *machine, seed uint64, fates map[string]int) int {
	g := random.New(seed)
	rs := g.Ruleset()
	withoutMarks(rs)
	prog, err := m.loadXDP(rs)
	if err != nil {
		t.Fatalf("seed %d: %s", seed, err)
	}
	if prog == nil {
		return 0
	}
	defer prog.Close()
	defer m.close()
	valid := validFrames(g, 200)
	n := *each / 8
	var f frame
	for i := range n {
		f.random(g, valid, []way{{}})
		if i%64 == 0 {
			f.data = append(f.data, make([]byte, 6000)...) // in several buffers
		}
		want := m.expectedXDP(rs, &f)
		got, err := m.runXDP(prog, &f)
		if errors.Is(err, unix.EINVAL) {
			fates["not taken"]++
			continue
		}
		if err != nil || got != want {
			t.Errorf("seed %d, frame %x on %s: %v\nprogram: %s\nGo:      %s\n%s", seed, f.data[:min(len(f.data), 200)], names[f.dev], err, got, want, rs)
			break
		}
		fates[strings.Fields(want)[0]]++
	}
	return n
}

// withoutMarks takes out the rules that XDP cannot judge.
func withoutMarks(rs *ruleset.Ruleset) {
	for _, c := range rs.Chains {
		c.Rules = slices.DeleteFunc(c.Rules, func(r *ruleset.Rule) bool {
			return slices.ContainsFunc(r.Matches, func(m ruleset.Match) bool { return m.Field == ruleset.FieldMark }) ||
				slices.ContainsFunc(r.Statements, func(s ruleset.Statement) bool { return s.SetMark != nil })
		})
	}
	random.Checked(rs)
}

// loadXDP loads the XDP program of a ruleset, with the maps of its tc programs; nil if it has no prerouting rules.
func (m *machine) loadXDP(rs *ruleset.Ruleset) (*ebpf.Program, error) {
	out, err := translator.Translate(rs, translator.Slots{})
	if err != nil || out.XDP == nil {
		return nil, err
	}
	if err := m.load(rs); err != nil {
		return nil, err
	}
	shared := map[string]*ebpf.Map{}
	for name := range out.XDP.Maps {
		if has := m.coll.Maps[name]; has != nil && !strings.HasPrefix(name, ".") {
			shared[name] = has
			out.XDP.Maps[name].MaxEntries = has.MaxEntries()
		}
	}
	if err := out.XDP.Variables["own_seal"].Set(uint64(ourSeal)); err != nil {
		return nil, err
	}
	coll, err := ebpf.NewCollectionWithOptions(out.XDP, ebpf.CollectionOptions{MapReplacements: shared})
	if err != nil {
		return nil, err
	}
	defer coll.Close()
	return coll.DetachProgram("xdp_ingress"), nil
}

// runXDP tells what became of a frame.
func (m *machine) runXDP(p *ebpf.Program, f *frame) (string, error) {
	ctx, after := xdpMD{DataEnd: uint32(len(f.data)), IngressIfindex: m.devices[f.dev]}, xdpMD{}
	opts := ebpf.RunOptions{Data: f.data, DataOut: make([]byte, len(f.data)+64), Context: &ctx, ContextOut: &after}
	ret, err := p.Run(&opts)
	if err != nil {
		return "", err
	}
	var pkts []bpf.Pkt
	if err := m.coll.Maps["scratch"].Lookup(uint32(0), &pkts); err != nil {
		return "", err
	}
	rule := m.ids[pkts[m.cpu].Rule]
	if ret == xdpDrop {
		return xdpText(ruleset.Drop, rule, false), nil
	}
	seal := opts.DataOut[:after.Data]
	if ret != xdpPass || len(seal) == 0 {
		return fmt.Sprintf("untouched %d", ret), nil
	}
	key, ifindex, said := binary.NativeEndian.Uint64(seal), binary.NativeEndian.Uint32(seal[8:]), binary.NativeEndian.Uint32(seal[12:])
	switch {
	case key == 0:
		return "left", nil
	case key != ourSeal || ifindex != m.devices[f.dev]:
		return fmt.Sprintf("seal %x", seal), nil
	}
	return xdpText(ruleset.VerdictKind(said&0xff), rule, said&sealNoTrack != 0), nil
}

func xdpText(v ruleset.VerdictKind, rule string, notrack bool) string {
	return fmt.Sprintf("%s by %q, notrack %t", v, rule, notrack)
}

// expectedXDP is what should become of a frame.
func (m *machine) expectedXDP(rs *ruleset.Ruleset, f *frame) string {
	p, err := packet.Decode(f.data)
	switch {
	case errors.Is(err, packet.ErrNotIP):
		return "left"
	case err != nil || p.Malformed || p.Fragment || firstFragment(f.data, p):
		return "left"
	case string(f.data[:6]) != string(ourMAC) && f.data[0]&1 == 0:
		return "left"
	}
	p.In = names[f.dev]
	p.SrcType, p.DstType = routed(p.Src, p.SrcType), routed(p.Dst, p.DstType)
	v, trace := rs.Eval(ruleset.HookPrerouting, p, nil)
	return xdpText(v.Kind, trace.DecidedBy(), trace.NoTrack && v.Kind != ruleset.Drop)
}

// firstFragment reports whether there are more fragments to come.
func firstFragment(b []byte, p *ruleset.Packet) bool {
	at := ip(b)
	if p.Family == ruleset.FamilyIPv4 {
		return b[at+6]&0x20 != 0
	}
	next, more := b[at+6], false
	for at += 40; next == 0 || next == 43 || next == 44 || next == 60; {
		size := 8 * (int(b[at+1]) + 1)
		if next == 44 {
			size, more = 8, b[at+3]&1 != 0 // the last one counts
		}
		next = b[at]
		at += size
	}
	return more
}
