package classbench

import (
	"encoding/binary"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"

	"github.com/bpfwall/bpfwall/bpf"
	"github.com/bpfwall/bpfwall/ruleset"
)

// record is a header as the measuring program reads it.
const record = 28

// runs is a measurement's share: few enough that a disturbance spoils one of many. share is how many make a round.
const (
	runs  = 1 << 13
	share = 8
)

// Instrument puts a program in place of fw_judge's own code that takes one of the headers after the other, runs fw_input on it and
// adds up the slots of the rules that decide. The number of headers is a power of two.
func Instrument(spec *ebpf.CollectionSpec, headers []Header) {
	one := func(name string, data []byte) *ebpf.MapSpec {
		return &ebpf.MapSpec{Name: name, Type: ebpf.Array, KeySize: 4, ValueSize: uint32(len(data)), MaxEntries: 1,
			Contents: []ebpf.MapKV{{Key: uint32(0), Value: data}}}
	}
	spec.Maps["bench_headers"] = one("bench_headers", records(spec.ByteOrder, headers))
	pkt := bpf.Pkt{Family: 4, Rule: ^uint32(0), Hook: uint8(ruleset.HookInput), Length: 60, Ttl: 64, CtState: ruleset.StateNew, PktType: 1,
		TcpMss: 1 << 16, IcmpType: 1 << 8, IcmpCode: 1 << 8, Smac: 1 << 48}
	copy((*[16]byte)(unsafe.Pointer(&pkt.InName))[:], "eth0")
	size := int(unsafe.Sizeof(pkt))
	state := make([]byte, 16+size) // header's index, sum of slots, packet
	copy(state[16:], unsafe.Slice((*byte)(unsafe.Pointer(&pkt)), size))
	spec.Maps["bench_state"] = one("bench_state", state)
	prog := spec.Programs["fw_judge"]
	prog.Instructions = replaceFirst(prog.Instructions, driver(len(headers), size))
}

func records(order binary.ByteOrder, headers []Header) []byte {
	out := make([]byte, record*len(headers))
	port := func(v int) uint32 {
		if v == ruleset.Absent {
			return 1 << 16
		}
		return uint32(v)
	}
	for i, h := range headers {
		r := out[i*record:]
		binary.BigEndian.PutUint32(r, h.Src)
		binary.BigEndian.PutUint32(r[4:], h.Dst)
		order.PutUint32(r[8:], port(h.SrcPort))
		order.PutUint32(r[12:], port(h.DstPort))
		flags := uint32(1 << 8)
		if h.TCPFlags != ruleset.Absent {
			flags = uint32(h.TCPFlags)
		}
		order.PutUint32(r[16:], flags)
		order.PutUint32(r[20:], uint32(h.Proto))
		order.PutUint32(r[24:], uint32('0'+h.In))
	}
	return out
}

// replaceFirst puts instructions in place of a program's first function. Functions that nothing calls any more go: the verifier refuses them.
func replaceFirst(insns, with asm.Instructions) asm.Instructions {
	functions := map[string]asm.Instructions{}
	name := ""
	for _, ins := range insns {
		if btf.FuncMetadata(&ins) != nil {
			name = ins.Symbol()
		}
		functions[name] = append(functions[name], ins)
	}
	with[0] = btf.WithFuncMetadata(with[0].WithSymbol(insns[0].Symbol()).WithSource(insns[0].Source()), btf.FuncMetadata(&insns[0]))
	out := with
	for i := 0; i < len(out); i++ {
		if to := out[i].Reference(); out[i].IsFunctionCall() && functions[to] != nil {
			out = append(out, functions[to]...)
			delete(functions, to)
		}
	}
	return out
}

// driver is the measuring program. R7 is the state, R8 the packet in it.
func driver(n, size int) asm.Instructions {
	var p bpf.Pkt
	at := func(off uintptr) int16 { return int16(16 + off) }
	copyField := func(from int16, size asm.Size, to uintptr) asm.Instructions {
		return asm.Instructions{asm.LoadMem(asm.R1, asm.R2, from, asm.Word), asm.StoreMem(asm.R7, at(to), asm.R1, size)}
	}
	insns := asm.Instructions{
		asm.LoadMapValue(asm.R7, 0, 0).WithReference("bench_state"),
		asm.LoadMem(asm.R1, asm.R7, 0, asm.DWord),
		asm.Mov.Reg(asm.R2, asm.R1),
		asm.Add.Imm(asm.R2, 1),
		asm.StoreMem(asm.R7, 0, asm.R2, asm.DWord),
		asm.And.Imm(asm.R1, int32(n-1)),
		asm.Mul.Imm(asm.R1, record),
		asm.LoadMapValue(asm.R2, 0, 0).WithReference("bench_headers"),
		asm.Add.Reg(asm.R2, asm.R1),
	}
	insns = append(insns, copyField(0, asm.Word, unsafe.Offsetof(p.Saddr))...)
	insns = append(insns, copyField(4, asm.Word, unsafe.Offsetof(p.Daddr))...)
	insns = append(insns, copyField(8, asm.Word, unsafe.Offsetof(p.Sport))...)
	insns = append(insns, copyField(12, asm.Word, unsafe.Offsetof(p.Dport))...)
	insns = append(insns, copyField(16, asm.Half, unsafe.Offsetof(p.TcpFlags))...)
	insns = append(insns, copyField(20, asm.Byte, unsafe.Offsetof(p.Proto))...)
	insns = append(insns, copyField(24, asm.Byte, unsafe.Offsetof(p.InName)+uintptr(len("eth")))...)
	return append(insns,
		asm.StoreImm(asm.R7, at(unsafe.Offsetof(p.Mark)), 0, asm.Word),
		asm.Mov.Reg(asm.R1, asm.R7),
		asm.Add.Imm(asm.R1, 16),
		asm.Call.Label("fw_input"),
		asm.LoadMem(asm.R1, asm.R7, at(unsafe.Offsetof(p.Rule)), asm.Word),
		asm.LoadMem(asm.R2, asm.R7, 8, asm.DWord),
		asm.Add.Reg(asm.R2, asm.R1),
		asm.StoreMem(asm.R7, 8, asm.R2, asm.DWord),
		asm.Mov.Imm(asm.R0, 0),
		asm.Return())
}

// Measure is the ns that a run of an instrumented program takes: the least of several measurements, since whatever else the machine
// does only adds to them.
func Measure(p *ebpf.Program, rounds int) (float64, error) {
	best := 0.0
	for i := range share * rounds {
		start := time.Now()
		if _, err := p.Run(&ebpf.RunOptions{Data: make([]byte, 64), Repeat: runs}); err != nil {
			return 0, err
		}
		ns := float64(time.Since(start).Nanoseconds()) / runs
		if i == 0 || ns < best {
			best = ns
		}
	}
	return best, nil
}
