package conntrack

import (
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/bpfwall/bpfwall/internal/lab"
	"golang.org/x/sys/unix"
)

// kernel is a router or a host whose rules write the state of each packet into its TTL or hop limit, or its DSCP.
type kernel struct {
	place place
	world *lab.World
	far   [2]*lab.Port // the hosts' ends of the wires, by side
	inner [2]*lab.Port // the router's, for fences
	local *lab.Local   // unless it is a router
	got   []state      // of this round, by id
	marks []state      // the same as bpfwall sees it, on lo
}

func newKernel(t *testing.T, at place) *kernel {
	t.Helper()
	w, err := lab.New(lab.Options{Wires: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := w.DUT.Sysctl("net.netfilter.nf_conntrack_acct=1"); err != nil {
		t.Fatal(err)
	}
	k := &kernel{place: at, world: w}
	for i, wire := range []struct {
		far   *lab.NS
		iface string
	}{{w.Client, lab.LAN.Iface}, {w.Server, lab.WAN.Iface}} {
		k.far[i] = open(t, wire.far.OpenPort, "eth0")
		k.inner[i] = open(t, w.DUT.OpenFence, wire.iface)
	}
	k.openLocal(t)
	if _, err := w.DUT.Run(strings.NewReader(at.labels()), "nft", "-f", "-"); err != nil {
		t.Fatal(err)
	}
	return k
}

func open(t *testing.T, open func(string) (*lab.Port, error), iface string) *lab.Port {
	t.Helper()
	p, err := open(iface)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

// round sends frames, which know their place by their IP identification or flow label, counted from 1, and returns their states. What
// cannot be sent is nil afterwards.
func (k *kernel) round(frames [][]byte, sides []end) ([]state, error) {
	k.got, k.marks = make([]state, len(frames)), make([]state, len(frames))
	var wires [2][][]byte
	for i, f := range frames {
		switch {
		case f == nil:
		case !k.isLocal(sides[i]):
			wires[sides[i]] = append(wires[sides[i]], f)
		case k.local.Send(f[14:]) != nil:
			frames[i] = nil
		}
	}
	for side, list := range wires {
		if len(list) == 0 {
			continue
		}
		if sent, err := k.far[side].SendBatch(lab.NewBatch(list)); err != nil {
			return nil, fmt.Errorf("frame %d of %d: %w", sent, len(list), err)
		}
	}
	if err := k.settle(); err != nil || k.local == nil {
		return k.got, err
	}
	return k.got, k.hear()
}

// settle waits until everything sent has come out.
func (k *kernel) settle() error {
	for i, leg := range []lab.Leg{lab.LAN, lab.WAN} {
		if err := k.far[i].Send(lab.Fence(leg.DUTMAC, leg.FarMAC)); err != nil {
			return err
		}
		if err := k.await(k.inner[i]); err != nil {
			return fmt.Errorf("fence into %s: %w", leg.Iface, err)
		}
	}
	for i, leg := range []lab.Leg{lab.LAN, lab.WAN} {
		if err := k.inner[i].Send(lab.Fence(leg.FarMAC, leg.DUTMAC)); err != nil {
			return err
		}
		if err := k.await(k.far[i]); err != nil {
			return fmt.Errorf("fence out of %s: %w", leg.Iface, err)
		}
	}
	return nil
}

func (k *kernel) await(p *lab.Port) error {
	found := false
	for deadline := time.Now().Add(5 * time.Second); !found && time.Now().Before(deadline); {
		if _, err := p.Wait(100); err != nil {
			return err
		}
		err := p.Drain(func(frame []byte) {
			if lab.IsFence(frame) {
				found = true
			} else {
				k.seen(frame)
			}
		})
		if err != nil {
			return err
		}
	}
	if !found {
		return errors.New("lost")
	}
	return nil
}

// seen takes the label off a frame. The router's own packets have other TTLs.
func (k *kernel) seen(frame []byte) {
	if len(frame) < 34 {
		return
	}
	ip := frame[14:]
	id, ttl, tos := uint32(binary.BigEndian.Uint16(ip[4:])), ip[8], ip[1]
	if ip[0]>>4 == 6 {
		id, ttl, tos = binary.BigEndian.Uint32(ip)&0xfffff, ip[7], uint8(binary.BigEndian.Uint32(ip)>>20)
	}
	if k.place == forwarded {
		k.note(k.got, id, state(ttl))
	} else {
		k.note(k.got, id, state(tos>>2))
	}
}

func (k *kernel) note(list []state, id uint32, label state) {
	if _, ok := states[label]; ok && id > 0 && int(id) <= len(list) {
		list[id-1] = label
	}
}

// forget empties the router's table.
func (k *kernel) forget() error { return k.world.DUT.FlushConntrack() }

// pinned keeps the calling goroutine on one CPU, so that packets keep their order, while f runs.
func pinned(f func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var all, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		return err
	}
	for cpu := range 1024 {
		if all.IsSet(cpu) {
			one.Set(cpu)
			break
		}
	}
	if err := unix.SchedSetaffinity(0, &one); err != nil {
		return err
	}
	err := f()
	return errors.Join(err, unix.SchedSetaffinity(0, &all))
}
