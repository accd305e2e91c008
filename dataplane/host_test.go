package dataplane

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/bpfwall/bpfwall/ruleset"
)

// TestNoPacketLost swaps back and forth between rulesets that both accept the traffic which runs meanwhile.
func TestNoPacketLost(t *testing.T) {
	w := newWorld(t)
	w.echo(80)
	a, b := inputRules(80), stateful(82, 80)
	for _, rs := range []*ruleset.Ruleset{a, b} {
		rs.Chains[0].Rules = append(rs.Chains[0].Rules, notTCP())
	}
	w.apply(a, Options{})
	c := w.dial("80")
	swaps := 30
	if testing.Short() {
		swaps = 5
	}
	var stop atomic.Bool
	done := make(chan string)
	go func() { done <- pingPong(c, &stop) }()
	d := w.open()
	for n := range swaps {
		var err error
		switch n % 3 {
		case 0:
			_, err = d.Apply(context.Background(), b, Meta{}, Options{})
		case 1:
			_, err = d.Apply(context.Background(), a, Meta{}, Options{})
		case 2:
			_, err = d.Rollback(context.Background(), Meta{})
		}
		must(t, err)
	}
	stop.Store(true)
	if why := <-done; why != "" {
		t.Error(why)
	}
	if n := w.settled("input#policy"); n != 0 {
		t.Errorf("%d packets were dropped", n)
	}
	s, err := d.Status()
	must(t, err)
	for name, n := range s.Stats {
		if n != 0 && name != "ct-created" {
			t.Errorf("%s: %d", name, n)
		}
	}
	t.Logf("%d swaps", swaps)
}

// notTCP accepts what the kernel says by itself.
func notTCP() *ruleset.Rule {
	return &ruleset.Rule{
		Name:    "not-tcp",
		Matches: []ruleset.Match{{Field: ruleset.FieldProto, Not: true, Ranges: []ruleset.Range{{From: 6, To: 6}}}},
		Verdict: ruleset.Verdict{Kind: ruleset.Accept},
	}
}

// pingPong talks until it is told to stop, and says what was lost.
func pingPong(c net.Conn, stop *atomic.Bool) string {
	rounds := 0
	for ; !stop.Load(); rounds++ {
		if !talksWithin(c, 5*time.Second) { // a busy machine takes its time; what is lost is sent again, and counted below
			return fmt.Sprintf("no answer in round %d", rounds)
		}
	}
	raw, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		return err.Error()
	}
	var info *unix.TCPInfo
	if cerr := raw.Control(func(fd uintptr) { info, err = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO) }); cerr != nil || err != nil {
		return fmt.Sprint(cerr, err)
	}
	if info.Total_retrans != 0 {
		return fmt.Sprintf("%d segments sent again in %d rounds", info.Total_retrans, rounds)
	}
	return ""
}

// TestNamespacesApart runs two firewalls on one BPF file system, one in a namespace whose name has a dot.
func TestNamespacesApart(t *testing.T) {
	w := newWorld(t)
	w.serve(80)
	dotted := fmt.Sprintf("bw%08x.%%x", rand.Uint32())
	makeNetns(t, dotted)
	other := &world{tb: t, host: dotted, cfg: w.cfg}
	other.cfg.Netns = dotted
	w.apply(inputRules(81), Options{})
	other.apply(inputRules(82), Options{})
	other.apply(inputRules(83), Options{})
	s, err := w.open().Status()
	must(t, err)
	if s.Generation.Number != 1 {
		t.Errorf("generation %d, want 1: the other namespace's applies are not ours", s.Generation.Number)
	}
	other.disable()
	if w.reaches(80) {
		t.Error("turning one off turned the other one off")
	}
}

// TestReboot takes everything out of the kernel but the interfaces.
func TestReboot(t *testing.T) {
	w := newWorld(t)
	w.serve(80)
	w.apply(inputRules(80), Options{})
	w.apply(inputRules(81), Options{})
	must(t, unix.Unmount(w.cfg.BPFFS, unix.MNT_DETACH))
	for tries := 0; !w.reaches(80) && tries < 10; tries++ {
		time.Sleep(50 * time.Millisecond)
	}
	d := w.open()
	if _, err := d.Status(); !errors.Is(err, ErrNotLoaded) {
		t.Errorf("%v, want ErrNotLoaded", err)
	}
	n, err := d.Saved()
	must(t, err)
	res, err := d.Restore(context.Background(), n, Meta{})
	must(t, err)
	t.Cleanup(w.disable)
	if n != 2 || res.Generation != 3 || w.reaches(80) {
		t.Errorf("restored %d as %d, want 2 as 3", n, res.Generation)
	}
}

func TestHistory(t *testing.T) {
	w := newWorld(t)
	w.cfg.Keep = 3
	d := w.open()
	meta := Meta{Time: time.Now().UTC(), User: "alice", Sources: []Source{{Name: "/etc/x/../a b.toml", Text: []byte("x = 1\n")}, {Name: "b", Text: nil}}}
	for n := range 5 {
		meta.Note = fmt.Sprint(n)
		_, err := d.Apply(context.Background(), inputRules(uint64(80+n)), meta, Options{})
		must(t, err)
	}
	t.Cleanup(w.disable)
	all, err := d.History()
	must(t, err)
	if len(all) != 3 || all[0].Number != 3 {
		t.Errorf("%d generations from %d on are kept, want 3 from 3 on", len(all), all[0].Number)
	}
	g, rs, err := d.Generation(4)
	must(t, err)
	if g.User != "alice" || g.Note != "3" || len(g.Sources) != 2 || g.Sources[0].Name != "/etc/x/../a b.toml" || string(g.Sources[0].Text) != "x = 1\n" {
		t.Errorf("%+v", g)
	}
	want := inputRules(83)
	want.AssignIDs()
	if diff := cmp.Diff(want, rs); diff != "" {
		t.Error(diff)
	}
	if _, _, err := d.Generation(1); !errors.Is(err, ErrNoGeneration) {
		t.Errorf("%v, want ErrNoGeneration", err)
	}
}

// TestRollbackReuses checks that a rollback runs the very programs of before.
func TestRollbackReuses(t *testing.T) {
	w := newWorld(t)
	w.apply(inputRules(80), Options{})
	d := w.open()
	before := objectID(filepath.Join(d.at.programs(1), "tc_ingress"))
	w.apply(inputRules(81), Options{})
	_, err := d.Rollback(context.Background(), Meta{})
	must(t, err)
	if after := objectID(filepath.Join(d.at.programs(3), "tc_ingress")); after != before {
		t.Errorf("%s, want %s", after, before)
	}
}

func TestVerifierError(t *testing.T) {
	needRoot(t)
	d := &Dataplane{at: newLayout(Config{StateDir: t.TempDir()})}
	_, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.SchedCLS, Instructions: asm.Instructions{asm.LoadMem(asm.R0, asm.R5, 0, asm.Word), asm.Return()}})
	var ve *VerifierError
	if !errors.As(d.loadError(err), &ve) {
		t.Fatalf("%v, want *VerifierError", err)
	}
	log, err := os.ReadFile(ve.LogFile)
	if err != nil || !strings.Contains(string(log), "R5") || strings.Contains(ve.Error(), "\n") {
		t.Errorf("%v %s %s", err, ve, log)
	}
}

// TestPrivateMounts opens in a mount namespace of its own: with the host's BPF file system in it, and without.
func TestPrivateMounts(t *testing.T) {
	needRoot(t)
	mounted := newBPFFS(t)
	for dir, private := range map[string]bool{mounted: false, t.TempDir(): true} {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), helperEnv+"=open "+dir)
		cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
		out, _ := cmd.CombinedOutput()
		if refused := strings.Contains(string(out), ErrPrivateBPFFS.Error()); refused != private {
			t.Errorf("%s: refused %v, want %v: %s", dir, refused, private, out)
		}
	}
}

// TestUnprivileged applies as nobody.
func TestUnprivileged(t *testing.T) {
	needRoot(t)
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), helperEnv+"=nobody")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := cmd.CombinedOutput()
	if errors.Is(err, os.ErrPermission) {
		t.Skip("the test binary is in a directory for root only")
	}
	for _, name := range []string{"not permitted", "CAP_BPF", "CAP_PERFMON", "CAP_NET_ADMIN"} {
		if !strings.Contains(string(out), name) {
			t.Errorf("%s %v, want %q", out, err, name)
		}
	}
}

// TestTun has packets come in by an interface without link headers.
func TestTun(t *testing.T) {
	w := newWorld(t)
	rs := inputRules()
	rs.Chains[0].Rules = []*ruleset.Rule{{
		Name: "by-tun",
		Matches: []ruleset.Match{
			{Field: ruleset.FieldInIface, Names: []string{"tun0"}},
			{Field: ruleset.FieldDstPort, Ranges: []ruleset.Range{{From: 5000, To: 5000}}},
			{Field: ruleset.FieldSrcAddr, Addrs: []ruleset.AddrRange{{From: addr("10.8.0.2"), To: addr("10.8.0.2")}}},
		},
	}}
	var tun *netlink.Tuntap
	w.in(w.host, func() error {
		tun = &netlink.Tuntap{LinkAttrs: netlink.LinkAttrs{Name: "tun0"}, Mode: netlink.TUNTAP_MODE_TUN, Flags: netlink.TUNTAP_NO_PI, Queues: 1}
		if err := netlink.LinkAdd(tun); err != nil {
			t.Skipf("needs tun: %s", err)
		}
		return setUp("tun0", "10.8.0.1/24")
	})
	t.Cleanup(func() { _ = tun.Fds[0].Close() })
	w.apply(rs, Options{})
	_, err := tun.Fds[0].Write(udpPacket([4]byte{10, 8, 0, 2}, [4]byte{10, 8, 0, 1}, 5000))
	must(t, err)
	time.Sleep(50 * time.Millisecond)
	if n := w.counter("input/by-tun"); n != 1 {
		t.Errorf("%d packets counted, want 1", n)
	}
}

// udpPacket is an IPv4 packet with an empty datagram and a good header checksum.
func udpPacket(src, dst [4]byte, port uint16) []byte {
	b := make([]byte, 28)
	b[0], b[3], b[8], b[9] = 0x45, 28, 64, unix.IPPROTO_UDP
	copy(b[12:], src[:])
	copy(b[16:], dst[:])
	binary.BigEndian.PutUint16(b[22:], port)
	b[25] = 8
	var sum uint32
	for i := 0; i < 20; i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	binary.BigEndian.PutUint16(b[10:], ^uint16(sum+sum>>16))
	return b
}
