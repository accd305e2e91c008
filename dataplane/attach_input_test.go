package dataplane

import (
	"context"
	"net"
	"os"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"

	"github.com/bpfwall/bpfwall/ruleset"
)

// The kernel puts fragments together only while a ruleset is in force that tracks connections, as with netfilter.
func TestDefragmentsForConntrackOnly(t *testing.T) {
	w := newWorld(t)
	stateful := inputRules(80)
	stateful.Chains[0].Rules[0].Matches = append(stateful.Chains[0].Rules[0].Matches, ruleset.Match{
		Field: ruleset.FieldState, Masked: []ruleset.Masked{{Value: ruleset.StateNew, Mask: ruleset.StateNew}},
	})
	d := w.open()
	attached := func(what string, want bool) {
		t.Helper()
		for _, h := range netfilterHooks {
			if _, err := os.Stat(d.at.netfilterPin(h)); (err == nil) != want {
				t.Errorf("%s, %s: attached %t", what, h.name, !want)
			}
		}
		s, err := d.Status()
		must(t, err)
		if len(s.Warnings) != 0 || s.Generation.Defrag != want {
			t.Errorf("%s: warnings %q, defrag %t", what, s.Warnings, s.Generation.Defrag)
		}
	}
	w.apply(inputRules(80), Options{})
	attached("stateless", false)
	w.apply(stateful, Options{})
	attached("stateful", true)
	w.apply(inputRules(81), Options{})
	attached("stateless again", false)
	_, err := d.Rollback(context.Background(), Meta{})
	must(t, err)
	attached("rolled back", true)
	w.disable()
	for _, h := range netfilterHooks {
		if _, err := os.Stat(d.at.netfilterPin(h)); err == nil {
			t.Errorf("%s: attached after disable", h.name)
		}
	}
}

// TestHooksBesideNAT: what passes through does not pay for a hook that has nothing to judge there.
func TestHooksBesideNAT(t *testing.T) {
	w := newWorld(t)
	d := w.open()
	for _, nat := range []bool{false, true, false} {
		w.apply(statefulRules(), Options{BesideNAT: nat})
		for _, h := range netfilterHooks {
			_, err := os.Stat(d.at.netfilterPin(h))
			if attached, want := err == nil, !nat || h.hook == link.NetfilterInetLocalIn; attached != want {
				t.Errorf("beside NAT %t, %s: attached %t", nat, h.name, attached)
			}
		}
		s, err := d.Status()
		must(t, err)
		if len(s.Warnings) != 0 {
			t.Errorf("beside NAT %t: warnings %q", nat, s.Warnings)
		}
	}
}

// Where the kernel cannot put fragments together for programs, the apply does without, and says so. Before Linux 6.6 it cannot at all;
// here it finds no room at the hook.
func TestFragmentsWithoutDefragmentation(t *testing.T) {
	w := newWorld(t)
	d := w.open()
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: "accept", Type: ebpf.Netfilter, AttachType: ebpf.AttachNetfilter, License: "GPL",
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 1), asm.Return()},
	})
	must(t, err)
	defer p.Close()
	var crowd []link.Link
	w.in(w.host, func() error {
		for {
			l, err := attachFree(link.NetfilterOptions{Program: p, ProtocolFamily: link.NetfilterProtoIPv4, Hook: link.NetfilterInetForward})
			if err != nil {
				return nil
			}
			crowd = append(crowd, l)
		}
	})
	rs := inputRules(80)
	rs.Chains[0].Rules[0].Matches = append(rs.Chains[0].Rules[0].Matches, ruleset.Match{
		Field: ruleset.FieldState, Masked: []ruleset.Masked{{Value: ruleset.StateNew, Mask: ruleset.StateNew}},
	})
	check := func(what string, res *Result, want bool) {
		t.Helper()
		s, err := d.Status()
		must(t, err)
		if s.Generation.Defrag != want || (len(s.Warnings) == 0) != want || (len(res.Warnings) == 0) != want {
			t.Errorf("%s: defrag %t, warnings %q, %q", what, s.Generation.Defrag, res.Warnings, s.Warnings)
		}
		for _, h := range netfilterHooks {
			if _, err := os.Stat(d.at.netfilterPin(h)); (err == nil) != want {
				t.Errorf("%s: %s: attached %t", what, h.name, !want)
			}
		}
	}
	check("no room", w.apply(rs, Options{}), false)
	for _, l := range crowd {
		must(t, l.Close())
	}
	check("room", w.apply(rs, Options{}), true)
}

// TestFragmentsToOneself: what this host sends to itself in fragments comes in as one state, whoever puts it together.
func TestFragmentsToOneself(t *testing.T) {
	for name, lack := range map[string]func(*kernel){"at netfilter's hooks": func(*kernel) {}, "by the first": withoutNetfilter} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			lacking(t, lack)
			w.in(w.host, func() error {
				lo, err := netlink.LinkByName("lo")
				if err == nil {
					err = netlink.LinkSetMTU(lo, 1500)
				}
				return err
			})
			rs := statefulRules()
			rs.Chains[0].Policy = ruleset.Accept
			w.apply(rs, Options{})
			w.in(w.host, func() error {
				for _, at := range []string{"127.0.0.1:0", "[::1]:0"} {
					c, err := net.ListenPacket("udp", at)
					if err != nil {
						return err
					}
					defer c.Close()
					must(t, c.SetDeadline(time.Now().Add(5*time.Second)))
					if _, err := c.WriteTo(make([]byte, 8000), c.LocalAddr()); err != nil {
						t.Error(err)
					}
					if n, _, err := c.ReadFrom(make([]byte, 9000)); n != 8000 {
						t.Errorf("%s: %d of 8000 bytes, %v", at, n, err)
					}
				}
				return nil
			})
		})
	}
}
