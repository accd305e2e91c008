package main

import (
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// testRun is the part of union bpf_attr (linux/bpf.h) for BPF_PROG_TEST_RUN. The duration is what the library does not tell: the mean of a
// run, ns, without making ready and clearing up, which for live frames take many ms, and without the time that others had the CPU.
type testRun struct {
	program, result         uint32
	lengthIn, lengthOut     uint32
	in, out                 unsafe.Pointer
	repeat, duration        uint32
	lengthOfIn, lengthOfOut uint32 // of the contexts
	contextIn, contextOut   unsafe.Pointer
	flags, cpu, batch, _    uint32
}

const progTestRun = 10 // BPF_PROG_TEST_RUN

// timed runs a program n times over a frame and returns the mean time of a run.
func timed[C any](p *ebpf.Program, data []byte, context *C, n, flags uint32) (time.Duration, error) {
	t := testRun{program: uint32(p.FD()), lengthIn: uint32(len(data)), in: unsafe.Pointer(&data[0]), repeat: n, flags: flags}
	if context != nil {
		t.lengthOfIn, t.contextIn = uint32(unsafe.Sizeof(*context)), unsafe.Pointer(context)
	}
	for {
		_, _, errno := unix.Syscall(unix.SYS_BPF, progTestRun, uintptr(unsafe.Pointer(&t)), unsafe.Sizeof(t))
		switch errno {
		case 0:
			return time.Duration(t.duration), nil
		case unix.EINTR: // Go's scheduler sends signals
		default:
			return 0, errno
		}
	}
}
