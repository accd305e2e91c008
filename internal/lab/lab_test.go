package lab

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root to make network namespaces")
	}
}

func TestWorldForwards(t *testing.T) {
	needRoot(t)
	w, err := New(Options{Wires: true, Third: true})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
		if left := Stale(os.Getpid()); left != nil {
			t.Errorf("left behind: %v", left)
		}
	}()
	in, err := w.Client.OpenPort("eth0")
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := w.Server.OpenPort("eth0")
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	for _, p := range []Packet{
		{Src: addr("192.0.2.10"), Dst: addr("198.51.100.10")},
		{Src: addr("10.1.2.3"), Dst: addr("9.9.9.9")},
		{Src: addr("2001:db8:1::10"), Dst: addr("2001:db8:2::10")},
		{Src: addr("2001:db8:10::1"), Dst: addr("2001:db8:9999::10"), Extensions: []Header{{60, make([]byte, 6)}, {43, make([]byte, 22)}}},
	} {
		p.SrcMAC, p.DstMAC, p.ID, p.TTL, p.Proto, p.DstPort = LAN.FarMAC, LAN.DUTMAC, 77, 77, unix.IPPROTO_UDP, 53
		p.Payload = []byte("hello")
		if err := in.Send(p.Frame()); err != nil {
			t.Fatal(err)
		}
		if ok, err := out.Wait(1000); !ok {
			t.Errorf("%s -> %s: not forwarded (%v)", p.Src, p.Dst, err)
		}
		if err := out.Drain(func(f []byte) {}); err != nil {
			t.Error(err)
		}
	}
}

func TestLocal(t *testing.T) {
	needRoot(t)
	w, err := New(Options{Wires: true})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	l, err := w.DUT.OpenLocal()
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	in, err := w.Client.OpenPort("eth0")
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	for _, proto := range []uint8{unix.IPPROTO_UDP, unix.IPPROTO_TCP, 253} {
		for _, p := range []Packet{
			{Src: addr("192.0.2.10"), Dst: addr("192.0.2.1")},
			{Src: addr("2001:db8:1::10"), Dst: addr("2001:db8:2::1")},
		} {
			p.SrcMAC, p.DstMAC, p.ID, p.TTL, p.Proto, p.DstPort = LAN.FarMAC, LAN.DUTMAC, 77, 77, proto, 53
			if err := in.Send(p.Frame()); err != nil {
				t.Fatal(err)
			}
			got := 0
			err := l.Drain(func(d Delivered) {
				if d.ID == 77 && d.Source == p.Src && d.Proto == int(proto) {
					got++
				}
			})
			if err != nil || got != 1 {
				t.Errorf("protocol %d %s: delivered %d times (%v)", proto, p.Dst, got, err)
			}
		}
	}
	// Output: from the namespace to the wire.
	for _, p := range []Packet{{Src: addr("192.0.2.1"), Dst: addr("192.0.2.10")}, {Src: addr("2001:db8:1::1"), Dst: addr("2001:db8:1::10")}} {
		p.ID, p.TTL, p.Proto, p.DstPort = 77, 77, unix.IPPROTO_UDP, 53
		in.Drain(func([]byte) {})
		if err := l.Send(p.IP()); err != nil {
			t.Fatal(err)
		}
		seen := 0
		in.Drain(func([]byte) { seen++ })
		if seen != 1 {
			t.Errorf("to %s: %d frames seen", p.Dst, seen)
		}
	}
}
