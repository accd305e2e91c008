package conntrack

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/bpfwall/bpfwall/bpf"
	"github.com/bpfwall/bpfwall/internal/lab"
	"github.com/bpfwall/bpfwall/ruleset"
	"github.com/bpfwall/bpfwall/translator"
	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/rlimit"
)

// firewall is bpfwall's programs with rules that write the state of each packet into its mark.
type firewall struct {
	coll  *ebpf.Collection
	place place
}

// tableSize is the room for flows of a batch.
const tableSize = 1 << 16

func newFirewall(t *testing.T, at place, set setting) *firewall {
	t.Helper()
	if err := rlimit.RemoveMemlock(); err != nil {
		t.Fatal(err)
	}
	out, err := translator.Translate(marks(), translator.Slots{})
	if err != nil {
		t.Fatal(err)
	}
	if err := out.Spec.Variables["cfg_checksums"].Set(true); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"ct", "ct_new"} {
		out.Spec.Maps[name].MaxEntries = tableSize
	}
	set.bpfwall(t, out.Spec)
	maps.DeleteFunc(out.Spec.Programs, func(name string, _ *ebpf.ProgramSpec) bool { return !slices.Contains(at.programs(), name) })
	coll, err := ebpf.NewCollection(out.Spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(coll.Close)
	return &firewall{coll, at}
}

// marks are the rules: the mark becomes the state, its second byte in output.
func marks() *ruleset.Ruleset {
	rs := &ruleset.Ruleset{}
	for _, h := range []ruleset.Hook{ruleset.HookInput, ruleset.HookForward, ruleset.HookOutput} {
		shift := 0
		if h == ruleset.HookOutput {
			shift = 8
		}
		c := &ruleset.Chain{Name: h.String(), Hook: h, Policy: ruleset.Accept}
		for s := range states {
			if s == lost {
				continue
			}
			c.Rules = append(c.Rules, &ruleset.Rule{
				Matches:    []ruleset.Match{{Field: ruleset.FieldState, Masked: []ruleset.Masked{{Value: uint64(s), Mask: uint64(s)}}}},
				Statements: []ruleset.Statement{{SetMark: &ruleset.SetMark{Value: uint32(s) << shift, Mask: 0xff << shift}}},
			})
		}
		rs.Chains = append(rs.Chains, c)
	}
	return rs
}

// marked are the states that a packet was found to have in output, and in input or forward.
func marked(mark uint32) (sent, got state) { return state(mark >> 8), state(mark) }

// skBuff is the beginning of struct __sk_buff (linux/bpf.h).
type skBuff struct {
	Len, PktType, Mark, QueueMapping, Protocol, VlanPresent, VlanTCI, VlanProto, Priority, IngressIfindex, Ifindex, TCIndex uint32
	CB                                                                                                                      [5]uint32
	Rest                                                                                                                    [31]uint32
}

// tcxNext is what the program returns for a packet that it lets pass (TCX_NEXT).
const tcxNext = 0xffffffff

// programs are those that see packets in a place.
func (at place) programs() []string {
	if at == forwarded {
		return []string{"tc_egress"}
	}
	return []string{"tc_egress", "tc_ingress"}
}

// judge gives a packet of a side to the programs that see it.
func (f *firewall) judge(side end, frame []byte) (state, error) {
	switch {
	case f.place == forwarded:
		return f.run("tc_egress", skBuff{IngressIfindex: 1}, frame)
	case f.place == hosted && side == hostA:
		return f.run("tc_ingress", skBuff{}, frame)
	case f.place == hosted:
		return f.run("tc_egress", skBuff{}, frame)
	}
	return lost, errors.New("on lo the programs see the packets that the kernel sees")
}

// run puts a frame through a program: what state it has.
func (f *firewall) run(prog string, in skBuff, frame []byte) (state, error) {
	if prog == "tc_ingress" { // test runs are on lo, and whatever is not for its address is not for us
		frame = slices.Concat(make([]byte, 6), frame[6:])
	}
	out := skBuff{}
	ret, err := f.coll.Programs[prog].Run(&ebpf.RunOptions{Data: frame, Context: &in, ContextOut: &out})
	if err != nil {
		return lost, fmt.Errorf("%s: %w", prog, err)
	}
	if ret != tcxNext {
		return lost, nil
	}
	sent, got := marked(out.Mark)
	return max(sent, got), nil
}

// attach puts the programs on lo of a host.
func (f *firewall) attach(t *testing.T, host *lab.NS) {
	t.Helper()
	for name, hook := range map[string]ebpf.AttachType{"tc_egress": ebpf.AttachTCXEgress, "tc_ingress": ebpf.AttachTCXIngress} {
		err := host.Do(func() error {
			l, err := link.AttachTCX(link.TCXOptions{Interface: 1, Program: f.coll.Programs[name], Attach: hook})
			if err == nil {
				t.Cleanup(func() { l.Close() })
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// forget empties the tables.
func (f *firewall) forget() error {
	if err := empty[bpf.CtAssured](f.coll.Maps["ct"]); err != nil {
		return err
	}
	return empty[bpf.CtFlow](f.coll.Maps["ct_new"])
}

func empty[V any](m *ebpf.Map) error {
	var keys []bpf.CtKey
	if err := each(m, func(k bpf.CtKey, _ *V) { keys = append(keys, k) }); err != nil {
		return err
	}
	for _, k := range keys {
		if err := m.Delete(k); err != nil {
			return fmt.Errorf("map %s: %w", m, err)
		}
	}
	return nil
}
