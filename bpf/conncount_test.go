package bpf

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/ringbuf"
	"golang.org/x/sys/unix"
)

// limited is a tracker of flows of which a source may have so many.
func limited(t *testing.T, perSource uint32, ipv4, ipv6 uint8) *bench {
	t.Helper()
	spec := classifier(t, "cfg_conntrack")
	for name, v := range map[string]any{"cfg_ct_per_source": perSource, "cfg_source_ipv4": ipv4, "cfg_source_ipv6": ipv6} {
		if err := spec.Variables[name].Set(v); err != nil {
			t.Fatal(err)
		}
	}
	spec.Maps["ct"].MaxEntries, spec.Maps["ct_new"].MaxEntries = 4096, 4096
	spec.Maps["conncounts"].MaxEntries, spec.Maps["conncount_places"].MaxEntries = 4096, 8192
	return newBench(t, spec)
}

func host(text string) netip.Addr { return netip.MustParseAddr(text) }

// Sources have as many flows as they may, whatever the direction of the packets, and others are not concerned.
func TestPerSource(t *testing.T) {
	b := limited(t, 10, 24, 56)
	from := func(src, dst netip.Addr, port int) uint32 {
		ret, _ := b.run("tc_ingress", ourselves, frame(src, dst, protoUDP, udp(port, 53, 9)))
		return ret
	}
	for _, c := range []struct {
		name               string
		host, same, others netip.Addr
		dst                netip.Addr
	}{
		{"ipv4", host("198.51.100.1"), host("198.51.100.255"), host("198.51.101.1"), local4},
		{"ipv6", host("2001:db8:1:200::1"), host("2001:db8:1:2ff::2"), host("2001:db8:1:300::1"), local6},
	} {
		passed := 0
		for port := range 30 {
			if from([]netip.Addr{c.host, c.same}[port%2], c.dst, 1000+port) == pass {
				passed++
			}
		}
		if passed != 10 {
			t.Errorf("%s: %d flows, want 10", c.name, passed)
		}
		for range 3 { // of a flow that is there
			if from(c.host, c.dst, 1000) != pass {
				t.Errorf("%s: a packet of an old flow was dropped", c.name)
			}
		}
		if from(c.others, c.dst, 1000) != pass {
			t.Errorf("%s: the neighbours were dropped", c.name)
		}
		if ret, _ := b.run("tc_egress", elsewhere, frame(c.host, c.others, protoUDP, udp(7, 53, 9))); ret == pass {
			t.Errorf("%s: one more was forwarded", c.name)
		}
		for port := range 30 {
			if ret, _ := b.run("tc_egress", ourselves, frame(c.dst, c.host, protoUDP, udp(2000+port, 53, 9))); ret != pass {
				t.Errorf("%s: our own flow %d was dropped", c.name, port)
			}
		}
	}
	if n := b.stat(ClassifierFwStatFW_STAT_SOURCE_FULL); n != 2*21 {
		t.Errorf("%d counted, want 42", n)
	}
	if n := b.notices(); n != 1 {
		t.Errorf("%d events, want one a second", n)
	}
}

// notices reads the events that are there, which must not be rules'.
func (b *bench) notices() (n int) {
	b.Helper()
	rd, err := ringbuf.NewReader(b.Maps["events"])
	if err != nil {
		b.Fatal(err)
	}
	defer rd.Close()
	rd.SetDeadline(time.Now().Add(50 * time.Millisecond))
	for {
		rec, err := rd.Read()
		if err != nil {
			return n
		}
		if id := binary.NativeEndian.Uint32(rec.RawSample[8:]); id < uint32(ClassifierFwNoticeFW_NOTICE_SOURCE_FULL) {
			b.Errorf("event %d", id)
		}
		n++
	}
}

// Under churn a source never has more than so many flows, and each that ends makes room.
func TestPerSourceChurn(t *testing.T) {
	const limit = 50
	b := limited(t, limit, 32, 64)
	live := func() (n int) {
		var k CtKey
		var f CtFlow
		for it := b.Maps["ct_new"].Iterate(); it.Next(&k, &f); {
			n++
		}
		return n
	}
	began, port := 0, 0
	for round := range 40 {
		for range 2 * limit {
			port++
			if ret, _ := b.run("tc_ingress", ourselves, frame(peer4, local4, protoTCP, seg{sport: port, dport: 80, flags: syn}.bytes())); ret == pass {
				began++
			}
		}
		if n := live(); n != limit {
			t.Fatalf("round %d: %d flows, want %d", round, n, limit)
		}
		b.end(round % limit)
		time.Sleep(12 * time.Millisecond)
	}
	want := limit
	for round := range 39 {
		want += round % limit
	}
	if began != want {
		t.Errorf("%d flows began, want %d", began, want)
	}
}

// Neither do CPUs that begin flows at the same time let one more through.
func TestPerSourceRace(t *testing.T) {
	const limit, tries = 200, 3000
	b := limited(t, limit, 32, 64)
	home, err := unix.Open(fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid()), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(home)
	var passed atomic.Int32
	var wait sync.WaitGroup
	for cpu := range min(4, runtime.NumCPU()) {
		ports := 1000 + cpu*tries
		wait.Go(func() {
			runtime.LockOSThread() // for good: the thread stays on its CPU and in this network namespace
			var one unix.CPUSet
			one.Set(cpu)
			if err := errors.Join(unix.SchedSetaffinity(0, &one), unix.Setns(home, unix.CLONE_NEWNET)); err != nil {
				t.Error(err)
				return
			}
			for i := range tries {
				ctx := skBuff{Ifindex: uint32(b.ifindex), CB: [5]uint32{15}}
				data := frame(peer4, local4, protoUDP, udp(ports+i, 53, 9))
				ret, err := b.Programs["tc_ingress"].Run(&ebpf.RunOptions{Data: data, Context: &ctx})
				if err != nil {
					t.Error(err)
					return
				}
				if ret == pass {
					passed.Add(1)
				}
			}
		})
	}
	wait.Wait()
	if passed.Load() != limit {
		t.Errorf("%d flows began, want %d", passed.Load(), limit)
	}
}

// end takes flows out of the table, as if they had been pushed out.
func (b *bench) end(n int) {
	b.Helper()
	m := b.Maps["ct_new"]
	for range n {
		var k CtKey
		var f CtFlow
		if !m.Iterate().Next(&k, &f) || m.Delete(k) != nil {
			b.Fatal("no flow to end")
		}
	}
}

// A flow that starts over takes its place again, and one whose key another flow has now is not mistaken for it.
func TestPerSourceStartsOver(t *testing.T) {
	b := limited(t, 2, 32, 64)
	send := func(port int) uint32 {
		ret, _ := b.run("tc_ingress", ourselves, frame(peer4, local4, protoTCP, seg{sport: port, dport: 80, flags: syn}.bytes()))
		return ret
	}
	if send(1) != pass || send(2) != pass || send(3) == pass {
		t.Fatal("not two flows")
	}
	time.Sleep(12 * time.Millisecond)
	var k CtKey
	var f CtFlow
	for it := b.Maps["ct_new"].Iterate(); it.Next(&k, &f); {
		f.Expires = 1
		if err := b.Maps["ct_new"].Update(k, f, ebpf.UpdateExist); err != nil {
			t.Fatal(err)
		}
	}
	for range 5 {
		time.Sleep(12 * time.Millisecond)
		if send(1) != pass || send(2) != pass || send(3) == pass {
			t.Fatal("not two flows after the old ones were over")
		}
	}
}
