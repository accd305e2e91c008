package conntrack

import (
	"fmt"
	"testing"

	"github.com/bpfwall/bpfwall/bpf"
	"github.com/bpfwall/bpfwall/ruleset"
	"github.com/bpfwall/bpfwall/translator"
	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/rlimit"
)

// firewall is bpfwall's egress program with rules that write the state of each packet into its mark.
type firewall struct {
	coll *ebpf.Collection
}

// tableSize is the room for flows of a batch.
const tableSize = 1 << 16

func newFirewall(t *testing.T, set setting) *firewall {
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
	coll, err := ebpf.NewCollection(out.Spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(coll.Close)
	return &firewall{coll}
}

// marks are the rules: the mark becomes the state.
func marks() *ruleset.Ruleset {
	c := &ruleset.Chain{Name: "FORWARD", Hook: ruleset.HookForward, Policy: ruleset.Accept}
	for s := range states {
		if s == lost {
			continue
		}
		c.Rules = append(c.Rules, &ruleset.Rule{
			Matches:    []ruleset.Match{{Field: ruleset.FieldState, Masked: []ruleset.Masked{{Value: uint64(s), Mask: uint64(s)}}}},
			Statements: []ruleset.Statement{{SetMark: &ruleset.SetMark{Value: uint32(s), Mask: 0xffffffff}}},
		})
	}
	return &ruleset.Ruleset{Chains: []*ruleset.Chain{c}}
}

// skBuff is the beginning of struct __sk_buff (linux/bpf.h).
type skBuff struct {
	Len, PktType, Mark, QueueMapping, Protocol, VlanPresent, VlanTCI, VlanProto, Priority, IngressIfindex, Ifindex, TCIndex uint32
	CB                                                                                                                      [5]uint32
	Rest                                                                                                                    [31]uint32
}

// tcxNext is what the program returns for a packet that it lets pass (TCX_NEXT).
const tcxNext = 0xffffffff

// judge gives a forwarded packet to the program.
func (f *firewall) judge(frame []byte) (state, error) {
	in, out := skBuff{IngressIfindex: 1}, skBuff{}
	ret, err := f.coll.Programs["tc_egress"].Run(&ebpf.RunOptions{Data: frame, Context: &in, ContextOut: &out})
	if err != nil {
		return lost, fmt.Errorf("tc_egress: %w", err)
	}
	if ret != tcxNext {
		return lost, nil
	}
	return state(out.Mark), nil
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
