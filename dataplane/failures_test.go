package dataplane

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/bpfwall/bpfwall/ruleset"
)

// lacking has the running kernel lack something until the test ends.
func lacking(t *testing.T, change func(*kernel)) {
	t.Helper()
	was := running
	t.Cleanup(func() { running = was })
	change(&running)
}

func withoutKfuncs(k *kernel) { k.hasKfunc = func(string) bool { return false } }

func refuses(object string) func(*kernel) {
	return func(k *kernel) {
		k.load = func(name string) error {
			if name == object {
				return unix.EINVAL
			}
			return nil
		}
	}
}

// refusesAt has attaching to a hook fail.
func refusesAt(dir direction, err error) func(*kernel) {
	return func(k *kernel) {
		k.attach = func(_ attacher, h hook) error {
			if h.dir == dir {
				return err
			}
			return nil
		}
	}
}

func withoutTCX(k *kernel) {
	k.attach = func(a attacher, h hook) error {
		if _, links := a.(linked); links && (h.dir == ingress || h.dir == egress) {
			return ebpf.ErrNotSupported
		}
		return nil
	}
}

const cgroup1 = "30 24 0:27 / /sys/fs/cgroup/memory rw shared:9 - cgroup cgroup rw,memory\n"

func withoutCgroup2(k *kernel) { k.mountinfo = func() (string, error) { return cgroup1, nil } }

func withoutNetfilter(k *kernel) { k.netfilter = func() error { return ebpf.ErrNotSupported } }

// ownedRules drops what a user sends, or for a chain of input what comes for the user.
func ownedRules(h ruleset.Hook, m ruleset.Match) *ruleset.Ruleset {
	m.Pos = ruleset.Pos{File: "p.toml", Line: 5}
	r := &ruleset.Rule{Name: "owned", Matches: []ruleset.Match{m}, Verdict: ruleset.Verdict{Kind: ruleset.Drop}, Pos: m.Pos}
	return &ruleset.Ruleset{Chains: []*ruleset.Chain{{Name: "owned", Hook: h, Policy: ruleset.Accept, Rules: []*ruleset.Rule{r}}}}
}

func ofUser() ruleset.Match {
	return ruleset.Match{Field: ruleset.FieldUID, Ranges: []ruleset.Range{{From: 4001, To: 4001}}}
}

func ofUnit() ruleset.Match {
	return ruleset.Match{Field: ruleset.FieldCgroup, Names: []string{"no-such.service"}}
}

func logging() *ruleset.Ruleset {
	rs := inputRules(80)
	rs.Chains[0].Rules[0].Statements = []ruleset.Statement{{Log: &ruleset.Log{Level: 4}}}
	return rs
}

func statefulRules() *ruleset.Ruleset {
	rs := inputRules(80)
	rs.Chains[0].Rules[0].Matches = append(rs.Chains[0].Rules[0].Matches, ruleset.Match{
		Field: ruleset.FieldState, Masked: []ruleset.Masked{{Value: ruleset.StateNew, Mask: ruleset.StateNew}},
	})
	return rs
}

// TestRefusals: what an apply refuses, with a typed error that says what is missing. Nothing is put in force.
func TestRefusals(t *testing.T) {
	w := newWorld(t)
	var unsupported *UnsupportedError
	var unpermitted *NotPermittedError
	var misplaced *ruleset.Error
	type row struct {
		name string
		lack func(*kernel)
		rs   *ruleset.Ruleset
		opts Options
		as   any    // the type of the error
		says string // part of it
	}
	rows := []row{
		{"flow limits without bpf_loop", hasNo("limits of flows"), ownedRules(ruleset.HookInput, fewFlows()), Options{}, &unsupported, "p.toml:5: limits of flows: not supported by this kernel"},
		{"users without BTF", withoutKfuncs, ownedRules(ruleset.HookOutput, ofUser()), Options{}, &unsupported, "needs Linux 6.2"},
		{"receivers without BTF", withoutKfuncs, ownedRules(ruleset.HookInput, ofUnit()), Options{}, &unsupported, "needs Linux 6.2"},
		{"units without cgroup2", withoutCgroup2, ownedRules(ruleset.HookOutput, ofUnit()), Options{}, &misplaced, "p.toml:5: control groups of version 2 are not mounted"},
		{"listen without BTF", withoutKfuncs, ownedRules(ruleset.HookListen, ofUser()), Options{}, &unsupported, "who may listen"},
		{"listen without cgroup2", withoutCgroup2, ownedRules(ruleset.HookListen, ofUser()), Options{}, &misplaced, "control groups of version 2 are not mounted"},
		{"NAT without netfilter programs", withoutNetfilter, inputRules(80), Options{BesideNAT: true}, &unsupported, "beside the kernel's NAT"},
		{"tcx on request", withoutTCX, inputRules(80), Options{Mode: ModeTCX}, &unsupported, "tcx"},
		{"no bpf file system", func(k *kernel) { k.mount = func(string) error { return unix.ENODEV } }, inputRules(80), Options{}, &unsupported, "bpf file system"},
		{"mounting not permitted", func(k *kernel) { k.mount = func(string) error { return unix.EPERM } }, inputRules(80), Options{}, &unpermitted, "CAP_SYS_ADMIN"},
	}
	for _, n := range needs {
		rows = append(rows, row{"needs " + n.feature, hasNo(n.feature), inputRules(80), Options{}, &unsupported, n.feature + ": not supported by this kernel"})
	}
	for bit, name := range map[uint]string{capBPF: "CAP_BPF", capPerfmon: "CAP_PERFMON", capNetAdmin: "CAP_NET_ADMIN"} {
		rows = append(rows, row{"without " + name, func(k *kernel) {
			k.capabilities = func() (func(uint) bool, error) { return func(c uint) bool { return c != bit && c != capSysAdmin }, nil }
		}, inputRules(80), Options{}, &unpermitted, "this needs " + name + " "})
	}
	mounted := w.cfg.BPFFS
	for _, c := range rows {
		t.Run(c.name, func(t *testing.T) {
			if !canCast() && strings.HasSuffix(c.name, "without cgroup2") {
				t.Skip("this kernel is refused before control groups are asked for")
			}
			w.cfg.BPFFS = mounted
			if strings.Contains(c.name, "mount") || strings.Contains(c.name, "file system") {
				w.cfg.BPFFS = t.TempDir()
			}
			d := w.open()
			lacking(t, c.lack)
			_, err := d.Apply(context.Background(), c.rs, Meta{}, c.opts)
			if err == nil || !errors.As(err, c.as) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%T %v, want %q", err, err, c.says)
			}
			if n, err := d.liveNumber(); !errors.Is(err, ErrNotLoaded) {
				t.Errorf("generation %d is in force, %v", n, err)
			}
		})
	}
}

// TestFallbacks: what an apply does in another way, and says so: in a warning, or in the status of the hook.
func TestFallbacks(t *testing.T) {
	w, tc := newWorld(t), string(usual())
	elsewhere := filepath.Join(t.TempDir(), "groups with blanks")
	root, err := cgroupRoot()
	if err != nil {
		t.Skip(err)
	}
	must(t, os.Symlink(root, elsewhere)) // a mount of our own would be seen by the whole machine
	mountedThere := func(k *kernel) {
		k.mountinfo = func() (string, error) {
			return cgroup1 + "32 24 0:28 / " + strings.ReplaceAll(elsewhere, " ", `\040`) + " rw - cgroup2 none rw\n", nil
		}
	}
	user := func() *ruleset.Ruleset { return ownedRules(ruleset.HookOutput, ofUser()) }
	for _, c := range []struct {
		name string
		lack func(*kernel)
		rs   *ruleset.Ruleset
		opts Options
		says string // what a warning, the guard of veth0, its ingress or connect() have to say
	}{
		{"no tcx", withoutTCX, inputRules(80), Options{}, "veth0 ingress clsact"},
		{"no native XDP", refusesAt(xdpNative, unix.EOPNOTSUPP), guarded(9), Options{XDP: XDPNative}, "veth0 guard " + tc + " no native XDP"},
		{"MTU too large for XDP", refusesAt(xdpNative, unix.ERANGE), guarded(9), Options{XDP: XDPNative}, "veth0 guard " + tc + " the driver has no XDP at an MTU of 1500"},
		{"driver refuses XDP", refusesAt(xdpNative, unix.EINVAL), guarded(9), Options{XDP: XDPNative}, "veth0 guard " + tc + " the driver refuses XDP"},
		{"kernel refuses the XDP program", refuses("xdp"), guarded(9), Options{XDP: XDPNative}, "veth0 guard " + tc + " the kernel refused the program"},
		{"no netfilter programs", withoutNetfilter, statefulRules(), Options{}, "fragments are not put together"},
		{"no BTF", withoutKfuncs, statefulRules(), Options{}, "veth0 ingress " + tc},
		{"users, no cgroup2", withoutCgroup2, user(), Options{}, "connect: control groups of version 2 are not mounted"},
		{"users, cgroup2 elsewhere", mountedThere, user(), Options{}, "connect: attached"},
		{"units, cgroup2 elsewhere", mountedThere, ownedRules(ruleset.HookOutput, ofUnit()), Options{}, `control group "no-such.service": not there`},
		{"kernel refuses the connect() program", refuses("connect"), user(), Options{}, "connect: the kernel refused the program"},
		{"units cannot be followed", refuses("watch"), ownedRules(ruleset.HookOutput, ofUnit()), Options{}, "known after bpfwall refresh only"},
		{"sockets cannot be noted", refuses("notes"), logging(), Options{}, "logs do not tell which program sends"},
		{"logs, no cgroup2", withoutCgroup2, logging(), Options{}, "veth0 ingress " + tc},
	} {
		t.Run(c.name, func(t *testing.T) {
			if asks, _ := asksOwners(c.rs, c.rs.Used()); asks && !canCast() {
				t.Skip("this kernel has no rules for users")
			}
			lacking(t, c.lack)
			res := w.apply(c.rs, c.opts)
			s, err := w.open().Status()
			must(t, err)
			said := append(res.Warnings, s.Warnings...)
			said = append(said, "connect: "+s.Connect)
			for _, h := range s.Hooks {
				said = append(said, fmt.Sprintf("%s %s %s %s", h.Interface, h.Direction, h.Mode, h.Why))
				if !h.Attached {
					t.Errorf("%+v", h)
				}
			}
			if all := strings.Join(said, "\n"); !strings.Contains(all, c.says) {
				t.Errorf("want %q in\n%s", c.says, all)
			}
			if c.opts.XDP == XDPNative {
				before := w.counter("guard/dropped")
				if w.say(2, 9); w.counter("guard/dropped") != before+2 {
					t.Error("the guard does not judge")
				}
			}
		})
	}
}

// TestOtherConnect: somebody else's program on the hook of connect() is named.
func TestOtherConnect(t *testing.T) {
	needRoot(t)
	root, err := cgroupRoot()
	if err != nil {
		t.Skip(err)
	}
	dir, err := os.MkdirTemp(root, "bpfwall-test-")
	must(t, err)
	defer os.Remove(dir)
	if name, err := otherConnect(dir); name != "" || err != nil {
		t.Errorf("%q %v", name, err)
	}
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: "somebodys", Type: ebpf.CGroupSockAddr, AttachType: ebpf.AttachCGroupInet4Connect, License: "GPL",
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 1), asm.Return()},
	})
	must(t, err)
	defer p.Close()
	l, err := link.AttachCgroup(link.CgroupOptions{Path: dir, Attach: ebpf.AttachCGroupInet4Connect, Program: p})
	must(t, err)
	defer l.Close()
	if name, err := otherConnect(dir); name != "somebodys" || err != nil {
		t.Errorf("%q %v", name, err)
	}
}
