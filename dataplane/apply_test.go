package dataplane

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/bpfwall/bpfwall/bpf"
	"github.com/bpfwall/bpfwall/ruleset"
)

func TestApply(t *testing.T) {
	w := newWorld(t)
	w.serve(80)
	w.serve(81)
	for n, port := range []int{80, 81, 80} {
		res := w.apply(inputRules(uint64(port)), Options{})
		if res.Generation != uint32(n+1) || res.Previous != uint32(n) || len(res.Hooks) != 4 {
			t.Errorf("%+v, want generation %d on 4 hooks", res, n+1)
		}
		if w.reaches(80) != (port == 80) || w.reaches(81) != (port == 81) {
			t.Errorf("generation %d: want port %d open and the other one closed", n+1, port)
		}
	}
	w.disable()
	if !w.reaches(80) || !w.reaches(81) {
		t.Error("closed after disable")
	}
	if err := w.open().Disable(context.Background()); !errors.Is(err, ErrNotLoaded) {
		t.Errorf("second disable: %v, want ErrNotLoaded", err)
	}
	if res := w.apply(inputRules(80), Options{}); res.Generation != 4 {
		t.Errorf("generation %d after disable, want 4: numbers always increase", res.Generation)
	}
}

func TestCountersFollowRules(t *testing.T) {
	w := newWorld(t)
	w.serve(80)
	w.apply(onlyInput(80), Options{})
	w.reaches(80)
	before := w.settled("input/port-80")
	if before == 0 {
		t.Fatal("nothing counted")
	}
	res := w.apply(onlyInput(81, 80), Options{})
	if got := w.counter("input/port-80"); got != before {
		t.Errorf("%d packets after the swap, want %d", got, before)
	}
	if got := w.counter("input/port-81"); got != 0 {
		t.Errorf("%d packets on a new rule", got)
	}
	if res.Rules != 3 || res.Kept != 2 {
		t.Errorf("%d of %d kept, want 2 of 3", res.Kept, res.Rules)
	}
	w.apply(onlyInput(82), Options{})
	w.apply(onlyInput(80), Options{})
	if got := w.counter("input/port-80"); got != 0 {
		t.Errorf("%d packets on a rule that was gone in between, want 0", got)
	}
}

// TestCountersGrow replaces the map of counters while traffic is being counted.
func TestCountersGrow(t *testing.T) {
	w := newWorld(t)
	w.serve(80)
	w.apply(inputRules(80), Options{})
	w.reaches(80)
	before := w.settled("input/port-80")
	many := inputRules(80)
	for port := range uint64(200) {
		many.Chains[0].Rules = append(many.Chains[0].Rules, allowPort(1000+port))
	}
	res := w.apply(many, Options{})
	if got := w.counter("input/port-80"); got != before || len(res.Warnings) != 0 {
		t.Errorf("%d packets after growth, want %d; warnings %q", got, before, res.Warnings)
	}
	w.reaches(80)
	if got := w.counter("input/port-80"); got <= before {
		t.Errorf("%d packets: counting stopped at growth", got)
	}
	if _, err := os.Stat(w.open().at.mapPin("counters" + nextSuffix)); err == nil {
		t.Error("the staged map kept its temporary pin")
	}
	res, err := w.open().Rollback(context.Background(), Meta{})
	must(t, err)
	if got := w.counter("input/port-80"); got <= before || res.Generation < 3 {
		t.Errorf("%d packets after the rollback over a growth, want more than %d", got, before)
	}
}

func TestFlowsSurvive(t *testing.T) {
	w := newWorld(t)
	d := w.open()
	w.apply(inputRules(80), Options{})
	m, err := ebpf.LoadPinnedMap(d.at.mapPin("ct_new"), nil)
	must(t, err)
	defer m.Close()
	key := bpf.CtKey{Family: 4, Proto: 17, LoPort: 53, HiPort: 4000}
	putAddr(&key.LoAddr, []byte{10, 9, 0, 1})
	putAddr(&key.HiAddr, []byte{10, 9, 0, 2})
	must(t, m.Put(key, bpf.CtFlow{Expires: bootTime() + uint64(time.Minute), Created: bootTime(), Flags: flowSeenReply}))
	w.apply(inputRules(81), Options{})
	flows, err := d.Flows()
	must(t, err)
	if len(flows) != 1 {
		t.Fatalf("%d flows after the swap, want 1", len(flows))
	}
	f := flows[0]
	if f.Orig.String() != "10.9.0.2:4000" || f.Reply.String() != "10.9.0.1:53" || !f.Replied || f.Assured || f.Timeout <= 0 {
		t.Errorf("flow %+v", f)
	}
}

func TestConcurrentApplies(t *testing.T) {
	w := newWorld(t)
	var wg sync.WaitGroup
	for n := range 6 {
		wg.Go(func() {
			rs := inputRules(uint64(80 + n%2))
			if _, err := w.open().Apply(context.Background(), rs, Meta{}, Options{}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	t.Cleanup(w.disable)
	s, err := w.open().Status()
	must(t, err)
	if s.Generation.Number != 6 {
		t.Errorf("generation %d after 6 applies", s.Generation.Number)
	}
}

func TestBusy(t *testing.T) {
	w := newWorld(t)
	w.cfg.LockWait = 50 * time.Millisecond
	d := w.open()
	unlock, err := lock(context.Background(), d.at.lock, 0)
	must(t, err)
	_, err = d.Apply(context.Background(), inputRules(80), Meta{}, Options{})
	if !errors.Is(err, ErrBusy) || !strings.Contains(err.Error(), "process") {
		t.Errorf("%v, want ErrBusy with a process", err)
	}
	unlock()
	w.apply(inputRules(80), Options{})
}

func TestInterfaces(t *testing.T) {
	w := newWorld(t)
	w.in(w.host, func() error {
		br := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "br0"}}
		port := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "port0"}, PeerName: "port1"}
		if err := errors.Join(netlink.LinkAdd(br), netlink.LinkAdd(port)); err != nil {
			return err
		}
		return netlink.LinkSetMaster(port, br)
	})
	d := w.open()
	for _, name := range []string{"veth9", "port0"} {
		_, err := d.Apply(context.Background(), inputRules(80), Meta{}, Options{Interfaces: []string{"lo", name}})
		var missing *MissingInterfaceError
		if !errors.As(err, &missing) || missing.Name != name {
			t.Fatalf("%v, want *MissingInterfaceError for %s", err, name)
		}
		t.Log(err)
	}
	hooked := func(opts Options) []string {
		names := map[string]bool{}
		for _, h := range w.apply(inputRules(80), opts).Hooks {
			names[h.Interface] = true
		}
		modes, err := []string(nil), error(nil)
		for _, name := range []string{"lo", "veth0", "br0", "port0", "port1"} {
			if names[name] {
				modes = append(modes, name)
			}
		}
		must(t, err)
		return modes
	}
	if diff := cmp.Diff([]string{"lo", "veth0", "br0", "port1"}, hooked(Options{})); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"veth0"}, hooked(Options{Interfaces: []string{"veth0"}})); diff != "" {
		t.Error(diff)
	}
	if pins, _ := os.ReadDir(d.at.links); len(pins) != 2 {
		t.Errorf("%d links are left of 8, want 2", len(pins))
	}
}

func TestFullDisk(t *testing.T) {
	w := newWorld(t)
	w.serve(80)
	must(t, os.MkdirAll(w.cfg.StateDir, 0o700))
	must(t, unix.Mount("tmpfs", w.cfg.StateDir, "tmpfs", 0, "size=64k"))
	t.Cleanup(func() { _ = unix.Unmount(w.cfg.StateDir, unix.MNT_DETACH) })
	w.apply(inputRules(80), Options{})
	before := w.snapshot()
	big := Meta{Sources: []Source{{Name: "big.toml", Text: make([]byte, 1<<20)}}}
	_, err := w.open().Apply(context.Background(), inputRules(81), big, Options{})
	if !errors.Is(err, ErrStateFull) {
		t.Fatalf("%v, want ErrStateFull", err)
	}
	if diff := cmp.Diff(before, w.snapshot()); diff != "" {
		t.Error(diff)
	}
	w.apply(inputRules(81), Options{})
}

// TestMountsBPFFS starts where no BPF file system is.
func TestMountsBPFFS(t *testing.T) {
	w := newWorld(t)
	w.cfg.BPFFS = filepath.Join(t.TempDir(), "bpf")
	t.Cleanup(func() { _ = unix.Unmount(w.cfg.BPFFS, unix.MNT_DETACH) })
	w.apply(inputRules(80), Options{})
	if is, err := isBPFFS(w.cfg.BPFFS); !is || err != nil {
		t.Errorf("not mounted: %v", err)
	}
	err := filepath.WalkDir(filepath.Join(w.cfg.BPFFS, "bpfwall"), func(path string, e os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err == nil && e.Type() != os.ModeSymlink && info.Mode().Perm()&0o077 != 0 { // a symbolic link always shows 0777
			t.Errorf("%s: mode %s is not for root only", path, info.Mode())
		}
		return err
	})
	must(t, err)
}

func TestClsact(t *testing.T) {
	w := newWorld(t)
	w.serve(80)
	w.serve(81)
	w.apply(inputRules(80), Options{Mode: ModeClsact})
	if !w.reaches(80) || w.reaches(81) {
		t.Error("want 80 open and 81 closed")
	}
	s, err := w.open().Status()
	must(t, err)
	for _, h := range s.Hooks {
		if !h.Attached || h.Mode != ModeClsact {
			t.Errorf("hook %+v", h)
		}
	}
	if usual() == ModeClsact {
		t.Skip("this kernel has no tcx to change to")
	}
	w.apply(inputRules(81), Options{Mode: ModeTCX})
	if w.reaches(80) || !w.reaches(81) {
		t.Error("after the change to tcx: want 80 closed and 81 open")
	}
	if has, err := (clsact{}).inside(w.host); err != nil || len(has) != 0 {
		t.Errorf("filters are left after the change to tcx: %v %v", has, err)
	}
	w.apply(inputRules(80), Options{Mode: ModeClsact})
	w.disable()
	if !w.reaches(81) {
		t.Error("closed after disable")
	}
}

// inside lists the hooks with filters in a namespace.
func (a clsact) inside(ns string) (has map[hook]*ebpf.ProgramInfo, err error) {
	err = inNetns(ns, func() error { has, err = a.attached(); return err })
	return has, err
}

func TestPolicyOnAllFamilies(t *testing.T) {
	w := newWorld(t)
	rs := inputRules()
	rs.Chains[0].Hook = ruleset.HookOutput
	w.apply(rs, Options{})
	if w.reaches(80) {
		t.Error("answers got out")
	}
}

// TestInterrupted: a change that is interrupted before the switch, at whichever step, leaves what was in force, and says so.
func TestInterrupted(t *testing.T) {
	w := newWorld(t)
	w.serve(80)
	w.apply(inputRules(80), Options{})
	d := w.open()
	for _, at := range []string{"sweep", "compile", "save", "flip"} {
		ctx, interrupt := context.WithCancel(context.Background())
		d.cfg.Progress = func(step string, _, _ int) {
			if step == at {
				interrupt()
			}
		}
		if _, err := d.Apply(ctx, inputRules(81), Meta{}, Options{}); !errors.Is(err, ErrInterrupted) {
			t.Errorf("at %s: %v, want ErrInterrupted", at, err)
		}
		interrupt()
	}
	if all, err := d.History(); err != nil || len(all) != 1 || !w.reaches(80) {
		t.Errorf("want one generation, and port 80 open: %d, %v", len(all), err)
	}
}
