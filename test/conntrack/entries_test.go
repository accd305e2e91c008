package conntrack

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"unsafe"

	"github.com/bpfwall/bpfwall/bpf"
	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// tuple is a flow with ports, from its originator.
type tuple struct {
	proto    uint8
	src, dst netip.AddrPort
}

// entry is what a table says of a flow.
type entry struct {
	tcp  uint8 // enum tcp_conntrack of the kernel, whose numbers are bpfwall's
	left int   // seconds that it lives on
}

var tcpStates = [...]string{"NONE", "SYN_SENT", "SYN_RECV", "ESTABLISHED", "FIN_WAIT", "CLOSE_WAIT", "LAST_ACK", "TIME_WAIT", "CLOSE", "SYN_SENT2"}

// text says what an entry is, with a time that does not depend on when the table was read.
func (e entry) text(ok bool) string {
	if !ok {
		return "nothing"
	}
	left := e.left
	if left > 10 {
		left = (left + 9) / 10 * 10
	}
	if int(e.tcp) < len(tcpStates) && e.tcp > 0 {
		return fmt.Sprintf("%s %d s", tcpStates[e.tcp], left)
	}
	return fmt.Sprintf("%d s", left)
}

// same allows for the time between looking at the one and at the other.
func (e entry) same(other entry) bool {
	return e.tcp == other.tcp && e.left-other.left <= 1 && other.left-e.left <= 1
}

// table is the flows with ports that are tracked.
type table map[tuple]entry

// compared are the protocols whose entries are compared.
func compared(proto uint8) bool { return proto == unix.IPPROTO_TCP || proto == unix.IPPROTO_UDP }

func (k *kernel) table() (table, error) {
	flows, err := k.world.DUT.Conntrack()
	if err != nil {
		return nil, err
	}
	out := table{}
	for _, f := range flows {
		if !compared(f.Forward.Protocol) {
			continue
		}
		src, _ := netip.AddrFromSlice(f.Forward.SrcIP)
		dst, _ := netip.AddrFromSlice(f.Forward.DstIP)
		e := entry{left: int(f.TimeOut)}
		if p, ok := f.ProtoInfo.(*netlink.ProtoInfoTCP); ok {
			e.tcp = p.State
		}
		out[tuple{f.Forward.Protocol, netip.AddrPortFrom(src.Unmap(), f.Forward.SrcPort), netip.AddrPortFrom(dst.Unmap(), f.Forward.DstPort)}] = e
	}
	return out, nil
}

func (f *firewall) table() (table, error) {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &now); err != nil {
		return nil, err
	}
	out := table{}
	note := func(k bpf.CtKey, flow *bpf.CtFlow) {
		left := int64(flow.Expires) - now.Nano()
		if !compared(k.Proto) || left <= 0 {
			return
		}
		lo, hi := keyEnd(k.Family, k.LoAddr, k.LoPort), keyEnd(k.Family, k.HiAddr, k.HiPort)
		if flow.LowIsOrig == 0 {
			lo, hi = hi, lo
		}
		out[tuple{k.Proto, lo, hi}] = entry{flow.TcpState, int(left / 1e9)}
	}
	if err := each(f.coll.Maps["ct_new"], note); err != nil {
		return nil, err
	}
	err := each(f.coll.Maps["ct"], func(k bpf.CtKey, a *bpf.CtAssured) { note(k, &a.Flow) })
	return out, err
}

func each[V any](m *ebpf.Map, f func(bpf.CtKey, *V)) error {
	var k bpf.CtKey
	var v V
	it := m.Iterate()
	for it.Next(&k, &v) {
		f(k, &v)
	}
	return it.Err()
}

func keyEnd(family uint8, addr [4]uint32, port uint16) netip.AddrPort {
	b := unsafe.Slice((*byte)(unsafe.Pointer(&addr)), 16)
	if family == 4 {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(b)), port)
	}
	return netip.AddrPortFrom(netip.AddrFrom16([16]byte(b)), port)
}

// compareTables puts into answers what entries the flows of each script have, and how they differ.
func compareTables(scripts []*script, kernel, bpfwall table, out []answers) {
	number := map[netip.Addr]int{}
	for i, s := range scripts {
		at := addresses(s.six, uint32(i+1))
		number[at[hostA]], number[at[hostB]] = i, i
		out[i].entries = table{}
	}
	of := func(f tuple) int { // by the host, as the other end may be a router
		if i, ok := number[f.src.Addr()]; ok {
			return i
		}
		return number[f.dst.Addr()]
	}
	differences := map[int][]string{}
	note := func(f tuple) {
		k, inKernel := kernel[f]
		b, inBpfwall := bpfwall[f]
		if inKernel == inBpfwall && k.same(b) {
			return
		}
		name := map[uint8]string{unix.IPPROTO_TCP: "tcp", unix.IPPROTO_UDP: "udp"}[f.proto]
		differences[of(f)] = append(differences[of(f)], fmt.Sprintf("%s entry: kernel %s, bpfwall %s", name, k.text(inKernel), b.text(inBpfwall)))
	}
	for f, e := range kernel {
		out[of(f)].entries[f] = e
		note(f)
	}
	for f := range bpfwall {
		if _, both := kernel[f]; !both {
			note(f)
		}
	}
	for i, texts := range differences {
		slices.Sort(texts)
		out[i].tables = strings.Join(slices.Compact(texts), "; ")
	}
}
