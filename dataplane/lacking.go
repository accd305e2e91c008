package dataplane

import (
	"errors"
	"slices"
	"sync"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/features"
	"golang.org/x/sys/unix"

	"github.com/bpfwall/bpfwall/ruleset"
)

// What programs of a kernel can be made without: docs/kernels.md.
var (
	apart      = need{"functions that are verified apart", "5.12", sync.OnceValue(probeApart)}
	exchanges  = need{"numbers that CPUs exchange in memory", "5.12", sync.OnceValue(probeExchanges)}
	longFrames = need{"XDP of frames in several buffers", "5.18", func() error { return features.HaveProgramHelper(ebpf.XDP, asm.FnXdpLoadBytes) }}
	timers     = need{"timers", "5.15", func() error { return features.HaveProgramHelper(ebpf.SchedCLS, asm.FnTimerInit) }}
	precise    = need{"a verifier that forgets what does not matter", "6.1", func() error { return features.HaveProgramHelper(ebpf.SchedCLS, asm.FnUserRingbufDrain) }}
)

// wants are what only some rulesets need of a kernel, with the place of what asks for it.
var wants = []struct {
	need
	of func(*ruleset.Ruleset, ruleset.Used) (asks bool, at ruleset.Pos)
}{
	{need{"limits of flows", "5.17", func() error { return features.HaveProgramHelper(ebpf.SchedCLS, asm.FnLoop) }}, limitsFlows},
	{need{"rules for users, groups and receivers", "6.2", probeCasts}, asksOwners},
	{need{"rules for who may listen", "6.2", probeCasts}, judgesListen},
}

func limitsFlows(rs *ruleset.Ruleset, used ruleset.Used) (asks bool, at ruleset.Pos) {
	if ct := rs.Conntrack; ct != nil && ct.PerSource > 0 {
		return true, ct.Pos
	}
	if !used.Has(ruleset.FieldFlows) {
		return false, at
	}
	return true, rs.PosOf(ruleset.FieldFlows)
}

func asksOwners(rs *ruleset.Ruleset, used ruleset.Used) (asks bool, at ruleset.Pos) {
	for _, f := range ruleset.ReceiverFields {
		if used.Has(f) {
			asks, at = true, rs.PosOf(f)
		}
	}
	return asks && (rs.AsksSender() || rs.AsksReceiver()), at
}

func judgesListen(rs *ruleset.Ruleset, _ ruleset.Used) (asks bool, at ruleset.Pos) {
	chains := rs.ReachedFrom(ruleset.HookListen)
	if len(chains) == 0 {
		return false, at
	}
	return true, chains[0].Pos
}

// checkWants returns ErrUnsupported if a rule asks for what the kernel lacks.
func (t *transaction) checkWants() error {
	for _, w := range wants {
		asks, at := w.of(t.rs, t.uses())
		if !asks {
			continue
		}
		if err := w.missing(at); err != nil {
			return err
		}
	}
	if lacks(exchanges) && countsByCPU(t.rs, t.uses()) {
		t.warn("limits by key, samples and recent lists: of two packets that CPUs count at the same moment, this kernel may count one; Linux %s counts both", exchanges.kernel)
	}
	return nil
}

// countsByCPU reports whether a rule remembers numbers that no lock is there for.
func countsByCPU(rs *ruleset.Ruleset, used ruleset.Used) bool {
	byKey := func(m ruleset.Match) bool { return m.Limit != nil && m.Limit.Each != nil }
	for _, c := range rs.Chains {
		for _, r := range c.Rules {
			if slices.ContainsFunc(r.Matches, byKey) {
				return true
			}
		}
	}
	return used.Has(ruleset.FieldSample, ruleset.FieldRecent)
}

// lacks reports whether the kernel is known not to have it.
func lacks(n need) bool { return errors.Is(running.has(n), ebpf.ErrNotSupported) }

// inPlace is a spec whose functions the verifier follows where they are called, with what their callers know. Before Linux 5.12 it takes
// none that is handed a pointer for a function of its own.
func inPlace(spec *ebpf.CollectionSpec) *ebpf.CollectionSpec {
	return otherwise(spec, func(p *ebpf.ProgramSpec) {
		for i := range p.Instructions {
			fn := btf.FuncMetadata(&p.Instructions[i])
			if fn == nil || i == 0 || fn.Linkage != btf.GlobalFunc {
				continue
			}
			static := *fn
			static.Linkage = btf.StaticFunc
			p.Instructions[i] = btf.WithFuncMetadata(p.Instructions[i], &static)
		}
	})
}

// inOneBuffer is a spec whose XDP programs do not say that they can do with frames in several buffers.
func inOneBuffer(spec *ebpf.CollectionSpec) *ebpf.CollectionSpec {
	return otherwise(spec, func(p *ebpf.ProgramSpec) { p.Flags &^= unix.BPF_F_XDP_HAS_FRAGS })
}

// otherwise is a spec with other programs; the one that it is made of stays as it was.
func otherwise(spec *ebpf.CollectionSpec, change func(*ebpf.ProgramSpec)) *ebpf.CollectionSpec {
	other := *spec
	other.Programs = map[string]*ebpf.ProgramSpec{}
	for name, p := range spec.Programs {
		p = p.Copy()
		change(p)
		other.Programs[name] = p
	}
	return &other
}

func probeCasts() error {
	if canCast() {
		return nil
	}
	return ebpf.ErrNotSupported
}

// probeApart loads a function that is handed a pointer.
func probeApart() error {
	number := &btf.Int{Name: "int", Size: 4, Encoding: btf.Signed}
	main := &btf.Func{Name: "main", Linkage: btf.GlobalFunc, Type: &btf.FuncProto{Return: number}}
	sub := &btf.Func{Name: "sub", Linkage: btf.GlobalFunc, Type: &btf.FuncProto{
		Return: number, Params: []btf.FuncParam{{Name: "p", Type: &btf.Pointer{Target: number}}},
	}}
	return probeProgram(asm.Instructions{
		btf.WithFuncMetadata(asm.Mov.Imm(asm.R0, 0).WithSymbol("main"), main),
		asm.StoreMem(asm.R10, -8, asm.R0, asm.DWord),
		asm.Mov.Reg(asm.R1, asm.R10),
		asm.Add.Imm(asm.R1, -8),
		asm.Call.Label("sub"),
		asm.Return(),
		btf.WithFuncMetadata(asm.Mov.Imm(asm.R0, 0).WithSymbol("sub"), sub),
		asm.Return(),
	})
}

// probeExchanges loads what a number is exchanged with.
func probeExchanges() error {
	exchange := asm.CmpXchg.Mem(asm.R10, asm.R1, asm.DWord, -8)
	exchange.Constant = int64(asm.CmpXchg >> 8) // the assembler leaves it out
	return probeProgram(asm.Instructions{
		asm.Mov.Imm(asm.R0, 0),
		asm.StoreMem(asm.R10, -8, asm.R0, asm.DWord),
		asm.Mov.Imm(asm.R1, 1),
		exchange,
		asm.Mov.Imm(asm.R0, 0),
		asm.Return(),
	})
}

// probeProgram is ebpf.ErrNotSupported if the verifier refuses a program.
func probeProgram(insns asm.Instructions) error {
	p, err := ebpf.NewProgramWithOptions(&ebpf.ProgramSpec{Type: ebpf.SchedCLS, License: "GPL", Instructions: insns}, ebpf.ProgramOptions{LogDisabled: true})
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EACCES) {
		return ebpf.ErrNotSupported
	}
	if err != nil {
		return err
	}
	return p.Close()
}
