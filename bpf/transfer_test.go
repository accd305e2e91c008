package bpf

import (
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/vishvananda/netns"
)

// onlyStates accepts packets of some states and drops the others.
func onlyStates(hook string, mask int32) []asm.Instruction {
	return []asm.Instruction{
		asm.Mov.Imm(asm.R0, 2),
		asm.JEq.Imm(asm.R1, 0, hook+"_done"),
		asm.LoadMem(asm.R2, asm.R1, int16(offsetOf("ct_state")), asm.Byte),
		asm.JSet.Imm(asm.R2, mask, hook+"_accept"),
		asm.Ja.Label(hook + "_done"),
		asm.Mov.Imm(asm.R0, 1).WithSymbol(hook + "_accept"),
		asm.Return().WithSymbol(hook + "_done"),
	}
}

// notrack is a prerouting rule NOTRACK for everything.
func notrack() []asm.Instruction {
	return []asm.Instruction{
		asm.Mov.Imm(asm.R0, 1),
		asm.JEq.Imm(asm.R1, 0, "done"),
		asm.StoreImm(asm.R1, int16(offsetOf("notrack")), 1, asm.Byte),
		asm.Return().WithSymbol("done"),
	}
}

const transferBytes = 8 << 20

// listen takes connections in a namespace and answers each with transferBytes.
func (w *world) listen(ns netns.NsHandle) net.Listener {
	w.Helper()
	var l net.Listener
	w.in(ns, func() (err error) {
		l, err = net.Listen("tcp", ":8080")
		return err
	})
	w.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				io.Copy(c, io.LimitReader(zeroes{}, transferBytes))
				c.Close()
			}()
		}
	}()
	return l
}

type zeroes struct{}

func (zeroes) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// fetch reads everything from host:8080.
func fetch(host string) error {
	c, err := net.DialTimeout("tcp", host+":8080", 3*time.Second)
	if err != nil {
		return err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(10 * time.Second))
	n, err := io.Copy(io.Discard, c)
	if err == nil && n != transferBytes {
		err = fmt.Errorf("%d bytes of %d", n, transferBytes)
	}
	return err
}

// Real connections have no invalid segment, with the super-packets of GSO and GRO, wherever they are judged.
func TestTransfer(t *testing.T) {
	for _, c := range []struct {
		name         string
		client, host func(*world) netns.NsHandle
		v4, v6       string
	}{
		{"forward", func(w *world) netns.NsHandle { return w.a }, func(w *world) netns.NsHandle { return w.b }, "10.9.2.2", "[fd09:2::2]"},
		{"input", func(w *world) netns.NsHandle { return w.a }, func(w *world) netns.NsHandle { return w.router }, "10.9.1.1", "[fd09:1::1]"},
		{"output", func(w *world) netns.NsHandle { return w.router }, func(w *world) netns.NsHandle { return w.b }, "10.9.2.2", "[fd09:2::2]"},
		{"lo", func(w *world) netns.NsHandle { return w.router }, func(w *world) netns.NsHandle { return w.router }, "127.0.0.1", "[::1]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			spec := classifier(t, "cfg_conntrack", "cfg_forwarding", "cfg_reads_transport", "cfg_checksums")
			for _, p := range spec.Programs {
				for _, hook := range []string{"fw_input", "fw_output", "fw_forward"} {
					p.Instructions = replace(p.Instructions, hook, onlyStates(hook, isNew|established|related|untracked)...)
				}
			}
			coll := load(t, spec)
			w.protect(coll, "lo", "r1", "r2")
			w.listen(c.host(w))
			w.in(c.client(w), func() error { return nil })
			for _, host := range []string{c.v4, c.v6} {
				if err := fetch(host); err != nil {
					t.Errorf("%s: %s", host, err)
				}
			}
			b := &bench{TB: t, Collection: coll}
			if _, assured := b.sizes(); assured != 2 {
				t.Errorf("%d assured flows", assured)
			}
		})
	}
}

// What prerouting says reaches the egress that judges a forwarded packet.
func TestNotrackIsCarried(t *testing.T) {
	for name, attach := range map[string]func(*world, *ebpf.Collection, ...string){"tcx": (*world).protect, "clsact": (*world).protectOld} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			spec := classifier(t, "cfg_conntrack", "cfg_forwarding", "cfg_prerouting")
			for _, p := range spec.Programs {
				p.Instructions = replace(p.Instructions, "fw_prerouting", notrack()...)
				p.Instructions = replace(p.Instructions, "fw_forward", onlyStates("fw_forward", untracked)...)
			}
			coll := load(t, spec)
			attach(w, coll, "lo", "r1", "r2")
			w.listen(w.b)
			w.in(w.a, func() error { return nil })
			if err := fetch("10.9.2.2"); err != nil {
				t.Error(err)
			}
			b := &bench{TB: t, Collection: coll}
			b.expectSizes("all of it untracked", 0, 0)
		})
	}
}
