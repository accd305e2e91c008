package dataplane

import (
	"context"
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
	Orig    netip.AddrPort // who sent the first packet; port 0 for protocols without ports
	Reply   netip.AddrPort // whom it was sent to
	Assured bool           // traffic in both directions was seen, and newcomers cannot push it out
	Replied bool
	State   string        // of TCP and SCTP, as conntrack calls it; "" otherwise
	Timeout time.Duration // left
	Age     time.Duration
	Packets [2]uint64 // original direction, reply
	Bytes   [2]uint64
	ICMP    ICMPQuery // of ICMP and ICMPv6
}

// ICMPQuery is what tells the queries of one host to another apart.
type ICMPQuery struct {
	Type, Code uint8
	ID         uint16
}

// flowMaps are the conntrack maps, with how to get at the flow in their values.
var flowMaps = []struct {
	name string
	each func(*ebpf.Map, func(*bpf.CtKey, *bpf.CtFlow) bool) error
}{
	{"ct", eachOf(func(v *bpf.CtAssured) *bpf.CtFlow { return &v.Flow })},
	{"ct_new", eachOf(func(v *bpf.CtFlow) *bpf.CtFlow { return v })},
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

// Forget removes the flows that drop reports true for, so that their next packet is judged anew, and counts them. Returns ErrNotLoaded.
func (d *Dataplane) Forget(ctx context.Context, drop func(Flow) bool) (n int, err error) {
	err = d.change(ctx, func() error {
		if _, err := d.liveNumber(); err != nil {
			return err
		}
		now := bootTime()
		n, err = d.deleteFlows(func(k *bpf.CtKey, e *bpf.CtFlow) bool { return e.Expires > now && drop(decodeFlow(k, e, now)) })
		return err
	})
	return n, err
}

// dropExpired makes room in the map of assured flows, whose entries nothing pushes out, and counts them.
func (d *Dataplane) dropExpired() (int, error) {
	now := bootTime()
	return d.deleteFlows(func(_ *bpf.CtKey, e *bpf.CtFlow) bool { return e.Expires <= now })
}

func (d *Dataplane) deleteFlows(drop func(*bpf.CtKey, *bpf.CtFlow) bool) (n int, err error) {
	for _, fm := range flowMaps {
		m, err := ebpf.LoadPinnedMap(d.at.mapPin(fm.name), nil)
		if err != nil {
			return n, fmt.Errorf("map %s: %w", fm.name, errKernel(err))
		}
		var keys []bpf.CtKey
		err = fm.each(m, func(k *bpf.CtKey, e *bpf.CtFlow) bool {
			if drop(k, e) {
				keys = append(keys, *k)
			}
			return true
		})
		for _, k := range keys {
			if m.Delete(k) == nil {
				n++
			}
		}
		if err = errors.Join(err, m.Close()); err != nil {
			return n, fmt.Errorf("map %s: %w", fm.name, errKernel(err))
		}
	}
	return n, nil
}

// eachFlow calls fn for each flow until it returns false. Flows that come and go meanwhile may be missed; expired ones, which nothing
// has cleared away yet, are left out.
func (d *Dataplane) eachFlow(fn func(Flow) bool) error {
	now := bootTime()
	for _, fm := range flowMaps {
		m, err := d.openPinned(fm.name)
		if err != nil {
			return err
		}
		err = fm.each(m, func(k *bpf.CtKey, e *bpf.CtFlow) bool { return e.Expires <= now || fn(decodeFlow(k, e, now)) })
		if err = errors.Join(err, m.Close()); err != nil {
			return fmt.Errorf("map %s: %w", fm.name, errKernel(err))
		}
	}
	return nil
}

const flowBatch = 4096 // entries read by one system call

// eachOf makes a function that goes through a map with values of type V.
func eachOf[V any](flow func(*V) *bpf.CtFlow) func(*ebpf.Map, func(*bpf.CtKey, *bpf.CtFlow) bool) error {
	return func(m *ebpf.Map, fn func(*bpf.CtKey, *bpf.CtFlow) bool) error {
		return eachBatch(m, func(k *bpf.CtKey, v *V) bool { return fn(k, flow(v)) })
	}
}

// eachBatch goes through the entries of a map, many by each system call, until fn returns false.
func eachBatch[K, V any](m *ebpf.Map, fn func(*K, *V) bool) error {
	keys, values := make([]K, flowBatch), make([]V, flowBatch)
	for at := new(ebpf.MapBatchCursor); ; {
		n, err := m.BatchLookup(at, keys, values, nil)
		for i := range n {
			if !fn(&keys[i], &values[i]) {
				return nil
			}
		}
		if errors.Is(err, ebpf.ErrKeyNotExist) {
			return nil // that was the last batch
		}
		if err != nil {
			return err
		}
	}
}

// The flags of struct ct_flow: enum ct_flow_flag (fw.h).
const (
	flowSeenReply = 1
	flowAssured   = 2
)

// stateNames are enum ct_tcp_state (ct_tcp.h) and enum ct_sctp_state (ct_sctp.h), as conntrack calls them.
var stateNames = map[uint8][]string{
	unix.IPPROTO_TCP: {"", "syn-sent", "syn-recv", "established", "fin-wait", "close-wait", "last-ack", "time-wait", "close", "syn-sent2"},
	unix.IPPROTO_SCTP: {"", "closed", "cookie-wait", "cookie-echoed", "established", "shutdown-sent", "shutdown-recd",
		"shutdown-ack-sent", "heartbeat-sent"},
}

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
	if k.Proto == unix.IPPROTO_ICMP || k.Proto == unix.IPPROTO_ICMPV6 {
		f.ICMP = ICMPQuery{Type: uint8(k.HiPort >> 8), Code: uint8(k.HiPort), ID: k.LoPort}
		f.Orig, f.Reply = netip.AddrPortFrom(f.Orig.Addr(), 0), netip.AddrPortFrom(f.Reply.Addr(), 0)
	}
	if names := stateNames[k.Proto]; int(e.TcpState) < len(names) {
		f.State = names[e.TcpState]
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
