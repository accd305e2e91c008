package conntrack

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"unsafe"

	"github.com/bpfwall/bpfwall/bpf"
	"github.com/bpfwall/bpfwall/internal/lab"
	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// tuple is a flow, from its originator. ICMP: the ports are the id, and type << 8 | code of the request.
type tuple struct {
	proto    uint8
	src, dst netip.AddrPort
}

// entry is what a table says of a flow.
type entry struct {
	state            uint8 // of TCP and SCTP, as the kernel numbers them; bpfwall's numbers are the same
	left             int   // seconds that it lives on
	assured, replied bool
	packets          [2]uint64 // that moved it: originator's, reply's
	tags             [2]uint32 // SCTP
}

var stateNames = map[uint8][]string{
	unix.IPPROTO_TCP: {"NONE", "SYN_SENT", "SYN_RECV", "ESTABLISHED", "FIN_WAIT", "CLOSE_WAIT", "LAST_ACK", "TIME_WAIT", "CLOSE", "SYN_SENT2"},
	unix.IPPROTO_SCTP: {"NONE", "CLOSED", "COOKIE_WAIT", "COOKIE_ECHOED", "ESTABLISHED", "SHUTDOWN_SENT", "SHUTDOWN_RECD", "SHUTDOWN_ACK_SENT",
		"HEARTBEAT_SENT"},
}

// text says what an entry of a protocol is, with a time that does not depend on when the table was read.
func (e entry) text(proto uint8) string {
	var w []string
	if names := stateNames[proto]; int(e.state) < len(names) {
		w = append(w, names[e.state])
	}
	left := e.left
	if left > 10 {
		left = (left + 9) / 10 * 10
	}
	w = append(w, fmt.Sprintf("%d s", left))
	if e.replied {
		w = append(w, "replied")
	}
	if e.assured {
		w = append(w, "assured")
	}
	if e.tags != [2]uint32{} {
		w = append(w, "tags", describeTags(e.tags))
	}
	return strings.Join(append(w, fmt.Sprintf("%d+%d packets", e.packets[0], e.packets[1])), " ")
}

// describeTags says which are there; their values are random.
func describeTags(tags [2]uint32) string {
	return map[bool]string{true: "-", false: "o"}[tags[0] == 0] + map[bool]string{true: "-", false: "r"}[tags[1] == 0]
}

// same allows for the time between looking at the one and at the other.
func (e entry) same(other entry) bool {
	if e.left-other.left > 1 || other.left-e.left > 1 {
		return false
	}
	e.left = other.left
	return e == other
}

// table is the flows that are tracked.
type table map[tuple]entry

func (k *kernel) table() (table, error) {
	conns, err := k.world.DUT.Conntrack()
	if err != nil {
		return nil, err
	}
	out := table{}
	for _, c := range conns {
		if c.Left == 0 {
			continue // over, or as good as over
		}
		e := entry{state: c.State, left: int(c.Left), packets: c.Packets, tags: c.Tags}
		e.assured, e.replied = c.Status&lab.StatusAssured != 0, c.Status&lab.StatusSeenReply != 0
		out[tuple{c.Proto, c.Src, c.Dst}] = e
	}
	return out, nil
}

// As enum ct_flow_flag in bpf/fw.h.
const (
	flowSeenReply = 1
	flowAssured   = 2
)

func (f *firewall) table() (table, error) {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &now); err != nil {
		return nil, err
	}
	out := table{}
	note := func(k bpf.CtKey, flow *bpf.CtFlow) {
		left := int64(flow.Expires) - now.Nano()
		if left < 1e9 {
			return
		}
		e := entry{state: flow.TcpState, left: int(left / 1e9), packets: flow.Packets}
		e.assured, e.replied = flow.Flags&flowAssured != 0, flow.Flags&flowSeenReply != 0
		if k.Proto == unix.IPPROTO_SCTP {
			e.tags = [2]uint32{flow.Side[0].End, flow.Side[1].End}
		}
		out[tupleOf(k, flow)] = e
	}
	if err := each(f.coll.Maps["ct_new"], note); err != nil {
		return nil, err
	}
	err := each(f.coll.Maps["ct"], func(k bpf.CtKey, a *bpf.CtAssured) { note(k, &a.Flow) })
	return out, err
}

func tupleOf(k bpf.CtKey, flow *bpf.CtFlow) tuple {
	lo, hi := keyEnd(k.Family, k.LoAddr, k.LoPort), keyEnd(k.Family, k.HiAddr, k.HiPort)
	if flow.LowIsOrig != 0 {
		return tuple{k.Proto, lo, hi}
	}
	if k.Kind != 0 { // an ICMP query: these are no ends' ports
		return tuple{k.Proto, netip.AddrPortFrom(hi.Addr(), k.LoPort), netip.AddrPortFrom(lo.Addr(), k.HiPort)}
	}
	return tuple{k.Proto, hi, lo}
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
		at := s.ends(uint32(i + 1))
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
	say := func(e entry, ok bool, proto uint8) string {
		if !ok {
			return "nothing"
		}
		return e.text(proto)
	}
	note := func(f tuple) {
		k, inKernel := kernel[f]
		b, inBpfwall := bpfwall[f]
		if inKernel == inBpfwall && k.same(b) || max(k.left, b.left) <= 1 {
			return
		}
		differences[of(f)] = append(differences[of(f)], fmt.Sprintf("%s entry: kernel %s, bpfwall %s", (&packet{proto: f.proto}).protoName(),
			say(k, inKernel, f.proto), say(b, inBpfwall, f.proto)))
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
