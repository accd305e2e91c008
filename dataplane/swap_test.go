package dataplane

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// helperEnv makes the test binary a process that applies and is killed (helper), or only opens.
const helperEnv = "BPFWALL_TEST_HELPER"

func TestMain(m *testing.M) {
	if what := os.Getenv(helperEnv); what != "" {
		if err := helper(strings.Split(what, " ")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// helper is another bpfwall: "open BPFFS", "nobody" (an apply that must not come far), or "apply NETNS BPFFS STATE RUN PORT STEP", which dies in front of a step. Port 0 applies one
// ruleset and another in turn, for ever; port "back" rolls back, "out81" applies rules for another hook.
func helper(args []string) error {
	switch args[0] {
	case "open":
		_, err := Open(Config{BPFFS: strings.Join(args[1:], " ")})
		return err
	case "nobody":
		d, err := Open(Config{})
		if err == nil {
			_, err = d.Apply(context.Background(), inputRules(80), Meta{}, Options{})
		}
		return err
	}
	cfg := Config{Netns: args[1], BPFFS: args[2], StateDir: args[3], RunDir: args[4]}
	d, err := Open(cfg)
	if err != nil {
		return err
	}
	d.before = func(step string) error {
		if step == strings.Join(args[6:], " ") {
			_ = unix.Kill(os.Getpid(), unix.SIGKILL)
			time.Sleep(time.Minute)
		}
		return nil
	}
	if args[5] == "back" {
		_, err := d.Rollback(context.Background(), Meta{})
		return err
	}
	if args[5] == "out81" {
		_, err := d.Apply(context.Background(), outputRules(81), Meta{}, Options{})
		return err
	}
	for n := uint64(0); ; n++ {
		port := 80 + n%2
		if args[5] != "0" {
			port = 81
		}
		_, err := d.Apply(context.Background(), inputRules(port), Meta{}, Options{})
		if err != nil || args[5] != "0" {
			return err
		}
	}
}

// spawn starts a helper on the world, under another command if one is given.
func (w *world) spawn(port, step string, under ...string) *exec.Cmd {
	w.tb.Helper()
	under = append(under, os.Args[0])
	cmd := exec.Command(under[0], under[1:]...)
	args := []string{"apply", w.cfg.Netns, w.cfg.BPFFS, w.cfg.StateDir, w.cfg.RunDir, port, step}
	cmd.Env = append(os.Environ(), helperEnv+"="+strings.Join(args, " "))
	cmd.Stderr = os.Stderr
	must(w.tb, cmd.Start())
	return cmd
}

// TestKilled kills a process that applies in front of every step of it.
func TestKilled(t *testing.T) {
	w := newWorld(t)
	w.serve(80)
	w.serve(81)
	for _, first := range []bool{true, false} {
		for _, s := range applySteps {
			t.Run(fmt.Sprintf("first %v, %s", first, s.name), func(t *testing.T) {
				if !first {
					w.apply(inputRules(80), Options{})
				}
				_ = w.spawn("81", s.name).Wait()
				flipped := s.name == "retire"
				want := map[string]bool{"80": !flipped, "81": flipped || first}
				got := map[string]bool{"80": w.reaches(80), "81": w.reaches(81)}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Error(diff)
				}
				w.apply(inputRules(80), Options{})
				w.whole()
				if !first {
					_, err := w.open().Rollback(context.Background(), Meta{})
					must(t, err)
					if flipped != w.reaches(81) {
						t.Error("the rollback went to another generation than the one before")
					}
				}
				w.disable()
			})
		}
	}
}

// TestKilledAnywhere kills a process that applies one ruleset and then another at any moment.
func TestKilledAnywhere(t *testing.T) {
	w := newWorld(t)
	w.serve(80)
	w.serve(81)
	w.apply(inputRules(80), Options{})
	rounds := 12
	if testing.Short() {
		rounds = 3
	}
	for range rounds {
		cmd := w.spawn("0", "")
		time.Sleep(time.Duration(100+rand.IntN(400)) * time.Millisecond)
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if w.reaches(80) == w.reaches(81) {
			t.Fatal("neither the one nor the other ruleset is in force")
		}
		w.apply(inputRules(80), Options{})
		w.whole()
	}
}

// TestKilledAtSyscalls kills a process that applies at system calls which change something: every 31st, or every one of them if
// BPFWALL_KILL_ALL is set.
func TestKilledAtSyscalls(t *testing.T) {
	if _, err := exec.LookPath("strace"); err != nil {
		t.Skip("needs strace")
	}
	if testing.Short() {
		t.Skip("slow")
	}
	w := newWorld(t)
	w.serve(80)
	w.serve(81)
	w.apply(inputRules(80), Options{})
	stride := 31
	if os.Getenv("BPFWALL_KILL_ALL") != "" {
		stride = 1
	}
	for _, port := range []string{"81", "out81", "back"} {
		kills, changed := 0, 0
		for _, calls := range []string{"bpf", "renameat,symlinkat,mkdirat,unlinkat,fsync"} {
			for k := 1; w.killedAt(port, calls, k, &changed); k += stride {
				kills++
			}
		}
		t.Logf("%s: killed %d times; %d times the new ruleset was in force already", port, kills, changed)
	}
}

// killedAt kills at the k-th of these system calls, and checks what comes of it. It reports false if there are not as many.
func (w *world) killedAt(port, calls string, k int, changed *int) bool {
	w.tb.Helper()
	w.apply(inputRules(81), Options{})
	w.apply(inputRules(80), Options{})
	cmd := w.spawn(port, "none", "strace", "-f", "-o", "/dev/null", "-e", "trace="+calls,
		"-e", fmt.Sprintf("inject=%s:signal=KILL:when=%d", calls, k))
	if cmd.Wait() == nil {
		return false
	}
	if w.reaches(80) == w.reaches(81) {
		w.tb.Fatalf("killed at number %d of %s: neither the one nor the other ruleset is in force", k, calls)
	}
	if w.reaches(81) {
		*changed++
	}
	w.apply(inputRules(80), Options{})
	w.whole()
	if w.tb.Failed() {
		w.tb.Fatalf("killed at number %d of %s", k, calls)
	}
	return true
}

// whole checks that nothing but the live and the previous generation is there.
func (w *world) whole() {
	w.tb.Helper()
	d := w.open()
	s, err := d.Status()
	must(w.tb, err)
	for _, h := range s.Hooks {
		if !h.Attached {
			w.tb.Errorf("not attached: %+v", h)
		}
	}
	w.in(w.host, func() error {
		modes, err := d.modes()
		for h := range modes {
			if !slices.ContainsFunc(s.Hooks, func(o Hook) bool { return o.Ifindex == h.ifindex && (o.Direction == string(h.dir) || o.inXDP()) }) {
				w.tb.Errorf("attached for nothing: %+v", h)
			}
		}
		return err
	})
	want := map[string]bool{}
	for _, n := range []uint32{s.Generation.Number, s.Generation.Previous} {
		want[d.at.programs(n)] = true
	}
	dirs, _ := filepath.Glob(filepath.Join(d.at.progs, "*"))
	for _, dir := range dirs {
		if !want[dir] {
			w.tb.Errorf("left over: %s", dir)
		}
	}
	for _, pattern := range []string{d.at.mapPin("*-next"), filepath.Join(d.at.generations, ".tmp*")} {
		if left, _ := filepath.Glob(pattern); len(left) > 0 {
			w.tb.Errorf("left over: %s", left)
		}
	}
	numbers, _ := d.at.savedGenerations()
	if last := numbers[len(numbers)-1]; last != s.Generation.Number {
		w.tb.Errorf("generation %d is on disk, %d is live", last, s.Generation.Number)
	}
}

// snapshot is everything that a failed apply must leave alone: pins with the ids behind them, slots, the word, files.
func (w *world) snapshot() map[string]string {
	w.tb.Helper()
	d, out := w.open(), map[string]string{}
	for _, root := range []string{d.at.pins, d.at.state} {
		_ = filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
			if err == nil && !strings.HasSuffix(path, "verifier.log") {
				out[path] = objectID(path)
			}
			return nil
		})
	}
	for _, name := range []string{"gen", "progs_ingress", "progs_egress"} {
		m, err := ebpf.LoadPinnedMap(d.at.mapPin(name), nil)
		if err != nil {
			continue
		}
		var k, v uint32
		for it := m.Iterate(); it.Next(&k, &v); {
			out[fmt.Sprintf("%s[%d]", name, k)] = fmt.Sprint(v)
		}
		_ = m.Close()
	}
	return out
}

// objectID tells what is pinned somewhere.
func objectID(path string) string {
	if m, err := ebpf.LoadPinnedMap(path, nil); err == nil {
		defer m.Close()
		id, _ := mapID(m)
		return fmt.Sprintf("map %d", id)
	}
	if p, err := ebpf.LoadPinnedProgram(path, nil); err == nil {
		defer p.Close()
		info, _ := p.Info()
		id, _ := info.ID()
		return fmt.Sprintf("program %d", id)
	}
	if l, err := link.LoadPinnedLink(path, nil); err == nil {
		defer l.Close()
		info, _ := l.Info()
		return fmt.Sprintf("link %d program %d", info.ID, info.Program)
	}
	return ""
}

// TestErrorsUndo has every step up to the flip go wrong.
func TestErrorsUndo(t *testing.T) {
	w := newWorld(t)
	boom := errors.New("boom")
	flip := slices.IndexFunc(applySteps, func(s step) bool { return s.name == "flip" })
	for round := range 4 {
		switch round {
		case 1, 2:
			w.apply(inputRules(uint64(80+round)), Options{})
		case 3:
			w.apply(guarded(9), Options{XDP: XDPNative})
		}
		for _, s := range applySteps[:flip+1] {
			before := w.snapshot()
			d := w.open()
			d.before = func(step string) error {
				if step == s.name {
					return boom
				}
				return nil
			}
			if _, err := d.Apply(context.Background(), guarded(10), Meta{}, Options{XDP: XDPNative}); !errors.Is(err, boom) {
				t.Fatalf("%s: %v", s.name, err)
			}
			after := w.snapshot()
			for path, id := range after { // empty directories may stay
				if id == "" && before[path] == "" {
					delete(after, path)
					delete(before, path)
				}
			}
			if diff := cmp.Diff(before, after); diff != "" {
				t.Errorf("round %d, error before %q:\n%s", round, s.name, diff)
			}
		}
	}
}

func TestRollback(t *testing.T) {
	w := newWorld(t)
	w.serve(80)
	w.serve(81)
	d, ctx := w.open(), context.Background()
	if _, err := d.Rollback(ctx, Meta{}); !errors.Is(err, ErrNotLoaded) {
		t.Errorf("%v, want ErrNotLoaded", err)
	}
	w.apply(inputRules(80), Options{})
	if _, err := d.Rollback(ctx, Meta{}); !errors.Is(err, ErrNoPrevious) {
		t.Errorf("%v, want ErrNoPrevious", err)
	}
	w.apply(inputRules(81), Options{})
	for n, port := range []int{80, 81, 80} {
		res, err := d.Rollback(ctx, Meta{Note: "oops"})
		must(t, err)
		if res.Generation != uint32(3+n) || res.Previous != uint32(2+n) {
			t.Errorf("%+v, want generation %d", res, 3+n)
		}
		if w.reaches(80) != (port == 80) || w.reaches(81) != (port == 81) {
			t.Errorf("rollback %d: want port %d open", n, port)
		}
		w.whole()
	}
	res, err := d.Restore(ctx, 2, Meta{})
	must(t, err)
	if !w.reaches(81) || res.Generation != 6 {
		t.Errorf("restore of generation 2: %+v", res)
	}
	history, err := d.History()
	must(t, err)
	if len(history) != 6 || history[2].RollbackTo != 1 || history[2].Note != "oops" {
		t.Errorf("history %+v", history)
	}
}

func TestConfirm(t *testing.T) {
	w := newWorld(t)
	d, ctx := w.open(), context.Background()
	if _, err := d.Saved(); !errors.Is(err, ErrNoGeneration) {
		t.Errorf("%v, want ErrNoGeneration", err)
	}
	w.apply(inputRules(80), Options{})
	if n, err := d.Saved(); n != 1 || err != nil {
		t.Errorf("saved %d %v, want 1: nothing was ever confirmed", n, err)
	}
	_, err := d.Confirm(ctx)
	must(t, err)
	w.apply(inputRules(81), Options{})
	if n, err := d.Saved(); n != 1 || err != nil {
		t.Errorf("saved %d %v, want the confirmed 1", n, err)
	}
	_, err = d.Rollback(ctx, Meta{})
	must(t, err)
	if n, err := d.Saved(); n != 3 || err != nil {
		t.Errorf("saved %d %v, want 3: the confirmed 1 once more", n, err)
	}
	w.disable()
	if _, err := d.Saved(); !errors.Is(err, ErrNoGeneration) {
		t.Errorf("%v after disable, want ErrNoGeneration", err)
	}
}

// TestNoLeaks looks for what the firewall had in the kernel after it was turned off.
func TestNoLeaks(t *testing.T) {
	w := newWorld(t)
	d := w.open()
	w.apply(inputRules(80), Options{})
	w.apply(inputRules(81), Options{})
	objects := map[string]bool{}
	for path, id := range w.snapshot() {
		if id != "" && strings.HasPrefix(path, d.at.pins) {
			objects[id] = true
		}
		p, err := ebpf.LoadPinnedProgram(path, nil)
		if err != nil {
			continue
		}
		info, _ := p.Info()
		ids, _ := info.MapIDs()
		for _, id := range ids {
			objects[fmt.Sprintf("map %d", id)] = true
		}
		_ = p.Close()
	}
	if len(objects) < 20 {
		t.Fatalf("only %d objects found", len(objects))
	}
	w.disable()
	for deadline := time.Now().Add(3 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		left := stillThere(objects)
		if len(left) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("left in the kernel: %q", left)
		}
	}
}

// stillThere asks by numbers and opens no map: closing the only descriptor of an array of programs twice in a row makes Linux lose count
// of its references (prog_array_map_clear).
func stillThere(objects map[string]bool) (left []string) {
	runtime.GC() // of the memory that maps of constants are mapped to
	for what := range objects {
		var kind string
		var id, next uint32
		_, _ = fmt.Sscanf(what, "%s %d", &kind, &id)
		switch kind {
		case "map":
			n, _ := ebpf.MapGetNextID(ebpf.MapID(id - 1))
			next = uint32(n)
		case "program":
			n, _ := ebpf.ProgramGetNextID(ebpf.ProgramID(id - 1))
			next = uint32(n)
		case "link":
			if l, err := link.NewFromID(link.ID(id)); err == nil {
				next = id
				_ = l.Close()
			}
		}
		if next == id {
			left = append(left, what)
		}
	}
	return left
}

// TestPrivateNamespaces runs Open where pins would be lost.
func TestPrivateNamespaces(t *testing.T) {
	needRoot(t)
	for name, flags := range map[string]uintptr{
		"mount and network": syscall.CLONE_NEWNS | syscall.CLONE_NEWNET, "network": syscall.CLONE_NEWNET, "none": 0,
	} {
		t.Run(name, func(t *testing.T) {
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), helperEnv+"=open")
			cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: flags}
			out, err := cmd.CombinedOutput()
			if refused := strings.Contains(string(out), ErrPrivateBPFFS.Error()); refused != (flags != 0) {
				t.Errorf("%s %v", out, err)
			}
			t.Logf("%s", out)
		})
	}
}
