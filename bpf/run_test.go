package bpf

import (
	"runtime"
	"testing"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// skBuff is struct __sk_buff of linux/bpf.h, as far as a test run may set it.
type skBuff struct {
	_              [2]uint32
	Mark           uint32
	_              [5]uint32
	Priority       uint32
	IngressIfindex uint32
	Ifindex        uint32
	_              uint32
	CB             [5]uint32
	_              [24]uint32
	GSOSegs        uint32
	_              [2]uint32
	GSOSize        uint32
	_              [3]uint32
}

// The answers of a tc program.
const (
	pass     = 0xffffffff
	drop     = 2
	redirect = 7
)

// bench runs programs on frames in a network namespace of its own.
type bench struct {
	testing.TB
	*ebpf.Collection
	ifindex int // device with the MAC ourMAC
	mark    uint32
	gso     uint32 // segments of a super-packet
	cb      uint32 // as the dispatcher sets it
	out     []byte // the frame after the last run
	after   skBuff
}

// newBench must be called from the test's goroutine, which stays on one CPU of one thread.
func newBench(tb testing.TB, spec *ebpf.CollectionSpec) *bench {
	tb.Helper()
	needRoot(tb)
	runtime.LockOSThread() // never unlocked: the thread, and its namespace, end with the test
	cpu := unix.CPUSet{}
	cpu.Set(0)
	if err := unix.SchedSetaffinity(0, &cpu); err != nil {
		tb.Fatal(err)
	}
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		tb.Skipf("a network namespace: %s", err)
	}
	dev := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "fw0", HardwareAddr: ourMAC}, PeerName: "fw1"}
	for _, err := range []error{netlink.LinkAdd(dev), netlink.LinkSetUp(dev)} {
		if err != nil {
			tb.Fatal(err)
		}
	}
	return &bench{TB: tb, Collection: load(tb, spec), ifindex: dev.Index, cb: 15}
}

// from is where an egress packet came from.
type from int

const (
	ourselves from = 0
	elsewhere from = 1
)

// run puts a frame through a program and gives its answer and the packet as it was judged.
func (b *bench) run(prog string, in from, frame []byte) (uint32, Pkt) {
	b.Helper()
	ctx := skBuff{Ifindex: uint32(b.ifindex), IngressIfindex: uint32(in), Mark: b.mark, CB: [5]uint32{b.cb}, GSOSegs: b.gso}
	opts := ebpf.RunOptions{Data: frame, DataOut: make([]byte, len(frame)+256), Context: &ctx, ContextOut: &b.after}
	ret, err := b.Programs[prog].Run(&opts)
	if err != nil {
		b.Fatalf("%s: %s", prog, err)
	}
	b.out = opts.DataOut
	var pkts []Pkt
	if err := b.Maps["scratch"].Lookup(uint32(0), &pkts); err != nil {
		b.Fatal(err)
	}
	return ret, pkts[0]
}

// stat reads one of the counters beside the rules.
func (b *bench) stat(s Stat) (n uint64) {
	b.Helper()
	var cpus []uint64
	if err := b.Maps["stats"].Lookup(s, &cpus); err != nil {
		b.Fatal(err)
	}
	for _, v := range cpus {
		n += v
	}
	return n
}

// addrBytes is the address of a key of addr_types as it lies in memory.
func addrBytes(k *AddrKey) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(&k.Addr)), 16)
}
