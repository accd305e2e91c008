package dataplane

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"

	"github.com/bpfwall/bpfwall/bpf"
	"github.com/bpfwall/bpfwall/ruleset"
)

// hasNo has the kernel lack some of what it is asked for, by name.
func hasNo(names ...string) func(*kernel) {
	return func(k *kernel) {
		has := k.has
		k.has = func(n need) error {
			if slices.Contains(names, n.feature) {
				return ebpf.ErrNotSupported
			}
			return has(n)
		}
	}
}

func needTimers(t *testing.T) {
	t.Helper()
	needRoot(t)
	if lacks(timers) {
		t.Skip("this kernel has no timers")
	}
}

// fewFlows lets a source have three flows.
func fewFlows() ruleset.Match {
	return ruleset.Match{Field: ruleset.FieldFlows, Flows: &ruleset.Flows{Max: 3, Bits: ruleset.KeyBits{IPv4: 32, IPv6: 64}}}
}

// rememberingRules are a guard, connection tracking, a list of addresses and a limit by source.
func rememberingRules() *ruleset.Ruleset {
	rs, each := guarded(9), ruleset.KeyBits{IPv4: 32, IPv6: 128}
	rs.Chains[1].Rules[0].Matches = append(rs.Chains[1].Rules[0].Matches,
		ruleset.Match{Field: ruleset.FieldRecent, Recent: &ruleset.Recent{List: "seen", Op: ruleset.RecentSet, Bits: each}},
		ruleset.Match{Field: ruleset.FieldLimit, Limit: &ruleset.Limit{Rate: 10, Per: 1e9, Burst: 2, Each: &ruleset.Key{Source: &each}}})
	return rs
}

// TestOlderKernels: what programs are made without where a kernel lacks it. They judge, and remember, all the same.
func TestOlderKernels(t *testing.T) {
	all := []string{apart.feature, exchanges.feature, longFrames.feature, timers.feature, precise.feature}
	for _, c := range []struct {
		lacks []string
		says  string // a warning
	}{
		{[]string{apart.feature}, ""},
		{[]string{exchanges.feature}, "may count one"},
		{[]string{longFrames.feature}, ""},
		{[]string{timers.feature}, "flows that are over are removed at the next apply or refresh only"},
		{all, "may count one"},
	} {
		t.Run(strings.Join(c.lacks, ", "), func(t *testing.T) {
			w := newWorld(t)
			lacking(t, hasNo(c.lacks...))
			res := w.apply(rememberingRules(), Options{XDP: XDPNative})
			if all := strings.Join(res.Warnings, "\n"); !strings.Contains(all, c.says) {
				t.Errorf("no %q in %q", c.says, all)
			}
			if g := w.guard("veth0"); g.Mode != Mode(xdpNative) {
				t.Errorf("the guard is not in XDP: %+v", g)
			}
			w.say(2, 9, 10)
			w.say(3, 11)
			if n := w.counter("guard/dropped"); n != 2 {
				t.Errorf("the guard has dropped %d of 2", n)
			}
			if n := w.counter("input/tracked"); n != 2 {
				t.Errorf("the limit lets %d of 2 pass", n)
			}
		})
	}
}

// TestReapedByRefresh: without timers, a refresh removes flows that are over.
func TestReapedByRefresh(t *testing.T) {
	w := newWorld(t)
	lacking(t, hasNo(timers.feature))
	w.apply(statefulRules(), Options{})
	d := w.open()
	m, err := ebpf.LoadPinnedMap(d.at.mapPin("ct"), nil)
	must(t, err)
	defer m.Close()
	over := bpf.CtKey{Family: 4, Proto: 6, LoPort: 1}
	must(t, m.Put(over, bpf.CtAssured{}))
	_, err = d.Refresh(context.Background())
	must(t, err)
	var v bpf.CtAssured
	if err := m.Lookup(over, &v); !errors.Is(err, ebpf.ErrKeyNotExist) {
		t.Errorf("still there: %v", err)
	}
}

// TestFollowedInPlace: what an older verifier refuses apart is loaded if it passes where it is called.
func TestFollowedInPlace(t *testing.T) {
	needRoot(t)
	if lacks(apart) {
		t.Skip("this kernel follows every function where it is called")
	}
	number := &btf.Int{Name: "int", Size: 4, Encoding: btf.Signed}
	fn := func(name string, args ...btf.FuncParam) *btf.Func {
		return &btf.Func{Name: name, Linkage: btf.GlobalFunc, Type: &btf.FuncProto{Return: number, Params: args}}
	}
	spec := &ebpf.CollectionSpec{Programs: map[string]*ebpf.ProgramSpec{"main": {
		Name: "main", Type: ebpf.SchedCLS, License: "GPL",
		Instructions: asm.Instructions{
			btf.WithFuncMetadata(asm.Mov.Imm(asm.R1, 1).WithSymbol("main"), fn("main")),
			asm.Call.Label("half"),
			asm.Return(),
			// Where n is not known, the register that is read may have nothing in it.
			btf.WithFuncMetadata(asm.JNE.Imm(asm.R1, 1, "end").WithSymbol("half"), fn("half", btf.FuncParam{Name: "n", Type: number})),
			asm.Mov.Imm(asm.R0, 0),
			asm.Return().WithSymbol("end"),
		},
	}}}
	var refused *ebpf.VerifierError
	if _, err := load(spec, nil); !errors.As(err, &refused) {
		t.Fatalf("%T %v", err, err)
	}
	lacking(t, hasNo(precise.feature))
	coll, err := load(spec, nil)
	must(t, err)
	coll.Close()
}
