package classbench

import (
	"fmt"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"

	"github.com/bpfwall/bpfwall/bpf"
)

// Replay is a program that judges one packet of many after the other.
type Replay struct {
	coll *ebpf.Collection
	n    int
}

// Prepare puts a program in place of fw_judge's own code that gives the next of n packets to a hook's function, and notes what this returns.
func Prepare(spec *ebpf.CollectionSpec, function string, n int) {
	size := uint32(unsafe.Sizeof(bpf.Pkt{}))
	spec.Maps["bench_packets"] = &ebpf.MapSpec{Name: "bench_packets", Type: ebpf.Array, KeySize: 4, ValueSize: uint32(n) * size, MaxEntries: 1}
	spec.Maps["bench_codes"] = &ebpf.MapSpec{Name: "bench_codes", Type: ebpf.Array, KeySize: 4, ValueSize: uint32(8 + 4*n), MaxEntries: 1}
	prog := spec.Programs["fw_judge"]
	prog.Instructions = replaceFirst(prog.Instructions, replayer(function, n, size))
}

// replayer is that program. The first word of the codes is the number of packets so far.
func replayer(function string, n int, size uint32) asm.Instructions {
	return asm.Instructions{
		asm.LoadMapValue(asm.R7, 0, 0).WithReference("bench_codes"),
		asm.LoadMem(asm.R8, asm.R7, 0, asm.DWord),
		asm.Mov.Reg(asm.R1, asm.R8),
		asm.Add.Imm(asm.R1, 1),
		asm.StoreMem(asm.R7, 0, asm.R1, asm.DWord),
		asm.JGT.Imm(asm.R8, int32(n-1), "over"),
		asm.Mov.Reg(asm.R1, asm.R8),
		asm.Mul.Imm(asm.R1, int32(size)),
		asm.LoadMapValue(asm.R2, 0, 0).WithReference("bench_packets"),
		asm.Add.Reg(asm.R1, asm.R2),
		asm.Call.Label(function),
		asm.LSh.Imm(asm.R8, 2),
		asm.Add.Reg(asm.R7, asm.R8),
		asm.StoreMem(asm.R7, 8, asm.R0, asm.Word),
		asm.Mov.Imm(asm.R0, 0).WithSymbol("over"),
		asm.Return(),
	}
}

// NewReplay takes a loaded program that Prepare has changed.
func NewReplay(coll *ebpf.Collection) *Replay {
	return &Replay{coll, int(coll.Maps["bench_packets"].ValueSize() / uint32(unsafe.Sizeof(bpf.Pkt{})))}
}

// Run judges packets, which it changes as the rules do, and is what the function returns for each of them.
func (r *Replay) Run(packets []bpf.Pkt) (codes []uint32, err error) {
	if _, err := r.Time(packets); err != nil {
		return nil, err
	}
	out := make([]byte, 8+4*r.n)
	if err := r.coll.Maps["bench_packets"].Lookup(uint32(0), bytesOf(packets)); err != nil {
		return nil, err
	}
	if err := r.coll.Maps["bench_codes"].Lookup(uint32(0), out); err != nil {
		return nil, err
	}
	return unsafe.Slice((*uint32)(unsafe.Pointer(&out[8])), r.n), nil
}

// Time judges packets, and is how long all of them take.
func (r *Replay) Time(packets []bpf.Pkt) (time.Duration, error) {
	if len(packets) != r.n {
		return 0, fmt.Errorf("%d packets, not %d", len(packets), r.n)
	}
	if err := r.coll.Maps["bench_packets"].Put(uint32(0), bytesOf(packets)); err != nil {
		return 0, err
	}
	if err := r.coll.Maps["bench_codes"].Put(uint32(0), make([]byte, 8+4*r.n)); err != nil {
		return 0, err
	}
	start := time.Now()
	_, err := r.coll.Programs["fw_judge"].Run(&ebpf.RunOptions{Data: make([]byte, 64), Repeat: uint32(r.n)})
	return time.Since(start), err
}

func bytesOf(packets []bpf.Pkt) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(&packets[0])), uintptr(len(packets))*unsafe.Sizeof(packets[0]))
}
