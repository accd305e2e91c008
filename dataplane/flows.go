package dataplane

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/bpfwall/bpfwall/bpf"
)

// Flow is one entry of the conntrack maps.
type Flow struct {
	Family  uint8 // 4 or 6
	Proto   uint8
	Orig    netip.AddrPort // who sent the first packet; port 0 for protocols without ports, for ICMP the query's id
	Reply   netip.AddrPort // whom it was sent to
	Assured bool           // traffic in both directions was seen, and newcomers cannot push it out
	Replied bool
	State   string        // of TCP, as conntrack calls it; "" otherwise
	Timeout time.Duration // left
	Age     time.Duration
	Packets [2]uint64 // original direction, reply
	Bytes   [2]uint64
}

// Flows lists the flows that are tracked. Returns ErrNotLoaded. Looking at them does not keep them alive.
func (d *Dataplane) Flows() ([]Flow, error) {
	var all []Flow
	err := d.look(func() error {
		if _, err := d.liveNumber(); err != nil {
			return err
		}
		return d.eachFlow(func(f Flow) bool { all = append(all, f); return true })
	})
	return all, err
}

// eachFlow calls fn for each flow until it returns false. Flows that come and go meanwhile may be missed.
func (d *Dataplane) eachFlow(fn func(Flow) bool) error {
	now := bootTime()
	assured := func(v *bpf.CtAssured) *bpf.CtFlow { return &v.Flow }
	half := func(v *bpf.CtFlow) *bpf.CtFlow { return v }
	if err := eachEntry(d, "ct", now, assured, fn); err != nil {
		return err
	}
	return eachEntry(d, "ct_new", now, half, fn)
}

// eachEntry goes through one of the maps. Expired entries, which nothing has cleared away yet, are left out.
func eachEntry[V any](d *Dataplane, name string, now uint64, flow func(*V) *bpf.CtFlow, fn func(Flow) bool) error {
	m, err := d.openPinned(name)
	if errors.Is(err, ErrNotLoaded) {
		return nil
	}
	if err != nil {
		return err
	}
	defer m.Close()
	var key bpf.CtKey
	var v V
	all := m.Iterate()
	for all.Next(&key, &v) {
		if e := flow(&v); e.Expires > now && !fn(decodeFlow(&key, e, now)) {
			return nil
		}
	}
	if err := all.Err(); err != nil && !errors.Is(err, ebpf.ErrIterationAborted) {
		return fmt.Errorf("map %s: %w", name, errKernel(err))
	}
	return nil
}

// The flags of struct ct_flow: enum ct_flow_flag (fw.h).
const (
	flowSeenReply = 1
	flowAssured   = 2
)

// tcpStates are enum ct_tcp_state (ct_tcp.h), which is enum tcp_conntrack of the kernel.
var tcpStates = [...]string{"", "syn-sent", "syn-recv", "established", "fin-wait", "close-wait", "last-ack", "time-wait", "close", "syn-sent2"}

func decodeFlow(k *bpf.CtKey, e *bpf.CtFlow, now uint64) Flow {
	lo := netip.AddrPortFrom(getAddr(k.LoAddr, k.Family), k.LoPort)
	hi := netip.AddrPortFrom(getAddr(k.HiAddr, k.Family), k.HiPort)
	f := Flow{
		Family: k.Family, Proto: k.Proto, Orig: hi, Reply: lo,
		Assured: e.Flags&flowAssured != 0, Replied: e.Flags&flowSeenReply != 0,
		Timeout: time.Duration(e.Expires - now), Age: time.Duration(now - e.Created),
		Packets: e.Packets, Bytes: e.Bytes,
	}
	if e.LowIsOrig == 1 {
		f.Orig, f.Reply = lo, hi
	}
	if k.Proto == unix.IPPROTO_TCP && int(e.TcpState) < len(tcpStates) {
		f.State = tcpStates[e.TcpState]
	}
	return f
}

// bootTime is bpf_ktime_get_boot_ns.
func bootTime() uint64 {
	var ts unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts) != nil {
		return 0
	}
	return uint64(ts.Nano())
}
