package volume

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"testing"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/rlimit"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/bpfwall/bpfwall/bpf"
	"github.com/bpfwall/bpfwall/ruleset"
	"github.com/bpfwall/bpfwall/translator"
)

// names are the interfaces, by ifindex - 1 of devices: all have ourMAC.
var names = []string{"eth0", "eth1", "wg-longname-123", "wg-longname-124"}

var ourMAC = []byte{2, 0, 0, 0, 0, 2} // the one that packet.Frame sends to

// What tc programs answer.
const (
	tcPass     = 0xffffffff
	tcDrop     = 2
	tcRedirect = 7
)

// skBuff is struct __sk_buff (linux/bpf.h), as far as a test run may set it.
type skBuff struct {
	_              [2]uint32
	Mark           uint32
	_              [5]uint32
	Priority       uint32
	IngressIfindex uint32
	Ifindex        uint32
	_              uint32
	CB             [5]uint32
	_              [31]uint32
}

// runAttr is union bpf_attr of BPF_PROG_TEST_RUN, lookupAttr that of BPF_MAP_LOOKUP_ELEM.
type runAttr struct {
	fd, ret, sizeIn, sizeOut uint32
	in, out                  uint64
	repeat, duration         uint32
	ctxSizeIn, ctxSizeOut    uint32
	ctxIn, ctxOut            uint64
	flags, cpu, batch, _     uint32
}

type lookupAttr struct {
	fd, _             uint32
	key, value, flags uint64
}

// machine runs the programs of one ruleset after the other. All that a run needs stays where it is, so that runs allocate nothing.
type machine struct {
	devices   []uint32 // ifindexes of names
	cpu       int
	ctx, back skBuff
	run       runAttr
	lookup    lookupAttr
	key       uint32
	values    []bpf.Pkt // of scratch, by CPU

	coll   *ebpf.Collection
	ids    map[uint32]string
	firsts map[datagram]ruleset.VerdictKind // what became of the first fragments that were judged at egress
	router bool                             // the programs that load loads are those of a router
}

// newMachine moves the test's thread to a network namespace and a CPU of its own. Neither is given back: the thread ends with the test.
func newMachine(t *testing.T) *machine {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("loading BPF programs needs root")
	}
	if err := rlimit.RemoveMemlock(); err != nil {
		t.Fatal(err)
	}
	m := &machine{values: make([]bpf.Pkt, ebpf.MustPossibleCPU())}
	runtime.LockOSThread()
	m.pin(t)
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Skipf("a network namespace: %s", err)
	}
	for i, name := range names {
		d := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name, HardwareAddr: ourMAC}, PeerName: fmt.Sprintf("peer%d", i)}
		for _, err := range []error{netlink.LinkAdd(d), netlink.LinkSetUp(d)} {
			if err != nil {
				t.Fatal(err)
			}
		}
		m.devices = append(m.devices, uint32(d.Index))
	}
	if err := route(m.devices[0]); err != nil {
		t.Fatal(err)
	}
	m.run = runAttr{ctxSizeIn: uint32(unsafe.Sizeof(m.ctx)), ctxSizeOut: uint32(unsafe.Sizeof(m.back)),
		ctxIn: addr(unsafe.Pointer(&m.ctx)), ctxOut: addr(unsafe.Pointer(&m.back))}
	m.lookup = lookupAttr{key: addr(unsafe.Pointer(&m.key)), value: addr(unsafe.Pointer(&m.values[0]))}
	return m
}

// route makes a router of the namespace: what addrTypes calls local is its own, all else goes out of one device.
func route(dev uint32) error {
	var errs []error
	for _, path := range []string{"/proc/sys/net/ipv4/conf/all/forwarding", "/proc/sys/net/ipv6/conf/all/forwarding"} {
		errs = append(errs, os.WriteFile(path, []byte("1"), 0))
	}
	add := func(prefix netip.Prefix, kind int, scope netlink.Scope) {
		to := &net.IPNet{IP: prefix.Addr().AsSlice(), Mask: net.CIDRMask(prefix.Bits(), prefix.Addr().BitLen())}
		errs = append(errs, netlink.RouteAdd(&netlink.Route{LinkIndex: int(dev), Dst: to, Type: kind, Scope: scope}))
	}
	add(netip.MustParsePrefix("0.0.0.0/0"), unix.RTN_UNICAST, netlink.SCOPE_LINK)
	add(netip.MustParsePrefix("::/0"), unix.RTN_UNICAST, netlink.SCOPE_LINK)
	for _, a := range addrTypes {
		if a.is == ruleset.AddrLocal {
			add(a.prefix, unix.RTN_LOCAL, netlink.SCOPE_HOST)
		}
	}
	return errors.Join(errs...)
}

// pin keeps the thread on the first CPU that it may use.
func (m *machine) pin(t *testing.T) {
	var set, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		t.Fatal(err)
	}
	for !set.IsSet(m.cpu) {
		m.cpu++
	}
	one.Set(m.cpu)
	if err := unix.SchedSetaffinity(0, &one); err != nil {
		t.Fatal(err)
	}
}

func addr(p unsafe.Pointer) uint64 { return uint64(uintptr(p)) }

// load replaces the programs by those of a ruleset.
func (m *machine) load(rs *ruleset.Ruleset) error {
	m.close()
	out, err := translator.Translate(rs, translator.Slots{})
	if err != nil {
		return err
	}
	for _, name := range []string{"ct", "ct_new", "frags", "macs"} {
		out.Spec.Maps[name].MaxEntries = 1024
	}
	delete(out.Spec.Programs, "fw_judge")
	if err := out.Spec.Variables["cfg_forwarding"].Set(m.router); err != nil {
		return err
	}
	if m.coll, err = ebpf.NewCollection(out.Spec); err != nil {
		return err
	}
	m.firsts = map[datagram]ruleset.VerdictKind{}
	m.ids = map[uint32]string{translator.NoRule: ""}
	for id, slot := range out.Slots.Counters {
		m.ids[slot] = id
	}
	for i, dev := range m.devices {
		v := bpf.Iface{Ifindex: dev, Mac: [6]byte(ourMAC)}
		for j := range len(names[i]) {
			v.Name[j] = int8(names[i][j])
		}
		if err := m.coll.Maps["ifaces"].Put(dev&0xffff, v); err != nil {
			return err
		}
	}
	m.lookup.fd = uint32(m.coll.Maps["scratch"].FD())
	return errors.Join(m.putAddrTypes(), m.putRootGroup(rs))
}

// putRootGroup tells the programs of the control group that every socket is in; no other is known to them.
func (m *machine) putRootGroup(rs *ruleset.Ruleset) error {
	var bits uint64
	for i, name := range rs.Cgroups() {
		if ruleset.CgroupMatches(name, "/") {
			bits |= 1 << i
		}
	}
	return m.coll.Maps["cgroups"].Put(uint64(1), bpf.CgroupBits{Bits: [2]uint64{bits, bits}}) // 1: the root of the hierarchy
}

// putAddrTypes tells the programs what addrTypes says.
func (m *machine) putAddrTypes() error {
	for _, a := range addrTypes {
		k := bpf.AddrKey{Family: 4, Prefixlen: 32 + uint32(a.prefix.Bits())}
		if a.prefix.Addr().Is6() {
			k.Family = 6
		}
		copy(unsafe.Slice((*byte)(unsafe.Pointer(&k.Addr)), 16), a.prefix.Addr().AsSlice())
		if err := m.coll.Maps["addr_types"].Put(k, uint16(a.is)); err != nil {
			return err
		}
	}
	return nil
}

func (m *machine) close() {
	if m.coll != nil {
		m.coll.Close()
		m.coll = nil
	}
}

// errNotTaken is a frame that the kernel does not run programs on: its IP header is not all there.
var errNotTaken = errors.New("the kernel takes no such frame for a test run")

// verdict puts a frame through a program. The packet as the program saw it is in m.pkt, the buffer's state in m.back.
func (m *machine) verdict(f *frame) (uint32, error) {
	prog := "tc_ingress"
	if f.egress {
		prog = "tc_egress"
	}
	m.ctx = skBuff{Ifindex: m.devices[f.dev], Mark: f.mark, CB: [5]uint32{15}}
	if f.forwarded {
		m.ctx.IngressIfindex = m.devices[f.from]
	}
	m.run.fd = uint32(m.coll.Programs[prog].FD())
	m.run.in, m.run.sizeIn = addr(unsafe.Pointer(&f.data[0])), uint32(len(f.data))
	m.run.ctxSizeOut, m.run.sizeOut = uint32(unsafe.Sizeof(m.back)), 0 // the kernel changed them
	_, _, errno := unix.Syscall(unix.SYS_BPF, unix.BPF_PROG_TEST_RUN, uintptr(unsafe.Pointer(&m.run)), unsafe.Sizeof(m.run))
	if errno == unix.EINVAL {
		return 0, errNotTaken
	}
	if errno != 0 {
		return 0, errno
	}
	ret := m.run.ret
	_, _, errno = unix.Syscall(unix.SYS_BPF, unix.BPF_MAP_LOOKUP_ELEM, uintptr(unsafe.Pointer(&m.lookup)), unsafe.Sizeof(m.lookup))
	if errno != 0 {
		return 0, errno
	}
	return ret, nil
}

// pkt is the packet as the last run left it.
func (m *machine) pkt() *bpf.Pkt { return &m.values[m.cpu] }
