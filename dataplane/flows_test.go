package dataplane

import (
	"bytes"
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/cilium/ebpf"

	"github.com/bpfwall/bpfwall/bpf"
	"github.com/bpfwall/bpfwall/ruleset"
)

// stateful is rules that let established flows pass, and new ones to these ports.
func stateful(ports ...uint64) *ruleset.Ruleset {
	rs := inputRules(ports...)
	c := rs.Chains[0]
	c.Rules = append([]*ruleset.Rule{{
		Name:    "established",
		Matches: []ruleset.Match{{Field: ruleset.FieldState, Masked: []ruleset.Masked{{Value: ruleset.StateEstablished, Mask: ruleset.StateEstablished}}}},
		Verdict: ruleset.Verdict{Kind: ruleset.Accept},
	}}, c.Rules...)
	return rs
}

// dial opens a connection from the peer that stays open.
func (w *world) dial(port string) net.Conn {
	w.tb.Helper()
	var c net.Conn
	w.in(w.peer, func() (err error) {
		c, err = net.DialTimeout("tcp4", hostAddr+":"+port, time.Second)
		return err
	})
	w.tb.Cleanup(func() { _ = c.Close() })
	return c
}

// echo serves a port of the host with what it gets.
func (w *world) echo(port int) {
	w.tb.Helper()
	w.in(w.host, func() error {
		l, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.ParseIP(hostAddr), Port: port})
		if err != nil {
			return err
		}
		w.tb.Cleanup(func() { _ = l.Close() })
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				go func() {
					b := make([]byte, 16)
					for {
						n, err := c.Read(b)
						if err != nil {
							return
						}
						_, _ = c.Write(b[:n])
					}
				}()
			}
		}()
		return nil
	})
}

func talks(c net.Conn) bool { return talksWithin(c, 300*time.Millisecond) }

func talksWithin(c net.Conn, limit time.Duration) bool {
	_ = c.SetDeadline(time.Now().Add(limit))
	b := make([]byte, 4)
	if _, err := c.Write([]byte("ping")); err != nil {
		return false
	}
	n, err := c.Read(b)
	return err == nil && bytes.Equal(b[:n], []byte("ping"))
}

// TestConnectionsSurvive swaps, rolls back and refreshes under an open connection, and then makes the firewall forget it.
func TestConnectionsSurvive(t *testing.T) {
	w := newWorld(t)
	w.echo(80)
	d, ctx := w.open(), context.Background()
	w.apply(stateful(80), Options{})
	c := w.dial("80")
	if !talks(c) {
		t.Fatal("no echo")
	}
	w.apply(stateful(), Options{})
	if !talks(c) {
		t.Error("the swap cut the connection")
	}
	_, err := d.Rollback(ctx, Meta{})
	must(t, err)
	_, err = d.Rollback(ctx, Meta{})
	must(t, err)
	if !talks(c) {
		t.Error("rolling back twice cut the connection")
	}
	flows, err := d.Flows()
	must(t, err)
	if len(flows) != 1 || flows[0].Reply.Port() != 80 || !flows[0].Assured || !flows[0].Replied || flows[0].State != "established" {
		t.Errorf("flows %+v, want one established", flows)
	}
	n, err := d.Forget(ctx, func(f Flow) bool { return f.Reply.Port() == 80 })
	if n != 1 || err != nil {
		t.Errorf("forgot %d flows, %v; want 1", n, err)
	}
}

func TestExpiredFlowsGo(t *testing.T) {
	w := newWorld(t)
	w.apply(stateful(80), Options{})
	d := w.open()
	m, err := ebpf.LoadPinnedMap(d.at.mapPin("ct"), nil)
	must(t, err)
	defer m.Close()
	now := bootTime()
	for port, expires := range map[uint16]uint64{1: now - 1, 2: now - uint64(time.Hour), 3: now + uint64(time.Hour)} {
		must(t, m.Put(bpf.CtKey{Family: 4, Proto: 17, LoPort: port}, bpf.CtAssured{Flow: bpf.CtFlow{Expires: expires, Created: now}}))
	}
	flows, err := d.Flows()
	must(t, err)
	if len(flows) != 1 {
		t.Errorf("%d flows, want 1 that has not expired", len(flows))
	}
	n, err := d.dropExpired()
	if left := ports(m); n != 2 || err != nil || len(left) != 1 || left[0] != 3 {
		t.Errorf("%d dropped, %v, entries of ports %d are left, want 3", n, err, left)
	}
}

func TestForgetNotLoaded(t *testing.T) {
	w := newWorld(t)
	if _, err := w.open().Forget(context.Background(), nil); !errors.Is(err, ErrNotLoaded) {
		t.Errorf("%v, want ErrNotLoaded", err)
	}
}
