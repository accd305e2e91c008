package dataplane

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/rlimit"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/bpfwall/bpfwall/ruleset"
)

// world is two network namespaces with a veth pair: the host that the firewall is for, and a peer.
//
//	host veth0 10.9.0.1 fd09::1 ─── veth0 10.9.0.2 fd09::2 peer
type world struct {
	tb         testing.TB
	host, peer string // names under /run/netns
	cfg        Config
}

const (
	hostAddr = "10.9.0.1"
	peerAddr = "10.9.0.2"
)

func needRoot(tb testing.TB) {
	tb.Helper()
	if os.Geteuid() != 0 {
		tb.Skip("needs root: makes network namespaces and loads BPF programs")
	}
	if err := rlimit.RemoveMemlock(); err != nil {
		tb.Fatal(err)
	}
}

// usual is how the hooks of tc are attached on this kernel.
func usual() Mode {
	if _, err := link.QueryPrograms(link.QueryOptions{Target: 1, Attach: ebpf.AttachTCXIngress}); err != nil {
		return ModeClsact
	}
	return ModeTCX
}

// hookModes are the ways in which hooks of tc can be attached here.
func hookModes() []Mode { return slices.Compact([]Mode{usual(), ModeClsact}) }

func newWorld(tb testing.TB) *world {
	tb.Helper()
	needRoot(tb)
	id := fmt.Sprintf("bw%08x", rand.Uint32())
	w := &world{tb: tb, host: id + "h", peer: id + "p"}
	for _, name := range []string{w.host, w.peer} {
		makeNetns(tb, name)
	}
	w.join()
	w.cfg = Config{
		Netns: w.host, BPFFS: newBPFFS(tb), StateDir: filepath.Join(tb.TempDir(), "state"), RunDir: filepath.Join(tb.TempDir(), "run"),
	}
	return w
}

func makeNetns(tb testing.TB, name string) {
	tb.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // the thread ends with the goroutine
		ns, err := netns.NewNamed(name)
		if err == nil {
			_ = ns.Close()
			err = netlink.LinkSetUp(&netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: 1}})
		}
		if err == nil { // addresses are there at once, and none appears later
			err = os.WriteFile("/proc/sys/net/ipv6/conf/default/accept_dad", []byte("0"), 0)
		}
		done <- err
	}()
	must(tb, <-done)
	tb.Cleanup(func() { _ = netns.DeleteNamed(name) })
}

// newBPFFS mounts one of the test's own, so that all pins go with it.
func newBPFFS(tb testing.TB) string {
	tb.Helper()
	dir := tb.TempDir()
	must(tb, unix.Mount("bpf", dir, "bpf", 0, "mode=0700"))
	tb.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	return dir
}

// join connects the two namespaces.
func (w *world) join() {
	w.tb.Helper()
	w.in(w.host, func() error {
		peer, err := netns.GetFromName(w.peer)
		if err != nil {
			return err
		}
		defer peer.Close()
		return netlink.LinkAdd(&netlink.Veth{
			LinkAttrs: netlink.LinkAttrs{Name: "veth0"}, PeerName: "veth0", PeerNamespace: netlink.NsFd(peer),
		})
	})
	w.in(w.host, func() error { return setUp("veth0", hostAddr+"/24", "fd09::1/64") })
	w.in(w.peer, func() error { return setUp("veth0", peerAddr+"/24", "fd09::2/64") })
}

func setUp(name string, addrs ...string) error {
	l, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	for _, a := range addrs {
		addr, err := netlink.ParseAddr(a)
		if err != nil {
			return err
		}
		addr.Flags = unix.IFA_F_NODAD
		if err := netlink.AddrAdd(l, addr); err != nil {
			return err
		}
	}
	return netlink.LinkSetUp(l)
}

// in runs fn in a namespace and fails the test if it does.
func (w *world) in(name string, fn func() error) {
	w.tb.Helper()
	must(w.tb, inNetns(name, fn))
}

func inNetns(name string, fn func() error) error {
	return (&Dataplane{cfg: Config{Netns: name}}).within(fn)
}

func (w *world) open() *Dataplane {
	w.tb.Helper()
	d, err := Open(w.cfg)
	must(w.tb, err)
	return d
}

// apply puts rules in force and takes care that nothing of them stays.
func (w *world) apply(rs *ruleset.Ruleset, opts Options) *Result {
	w.tb.Helper()
	d := w.open()
	res, err := d.Apply(context.Background(), rs, Meta{Time: time.Now(), User: "tester"}, opts)
	must(w.tb, err)
	w.tb.Cleanup(func() { _ = d.Disable(context.Background()) })
	return res
}

// serve answers every TCP connection to a port of the host with one byte, until the test ends. No firewall may be on yet.
func (w *world) serve(port int) {
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
				go func() { _, _ = c.Write([]byte("x")); _, _ = c.Read(make([]byte, 1)); _ = c.Close() }()
			}
		}()
		return nil
	})
	for tries := 0; !w.reaches(port); tries++ {
		if tries == 20 {
			w.tb.Fatal("the world is broken: no answer without a firewall")
		}
	}
}

// reaches reports whether the peer gets an answer from a port of the host.
func (w *world) reaches(port int) bool {
	w.tb.Helper()
	ok := false
	w.in(w.peer, func() error {
		c, err := net.DialTimeout("tcp4", fmt.Sprintf("%s:%d", hostAddr, port), 200*time.Millisecond)
		if err != nil {
			return nil
		}
		defer c.Close()
		_ = c.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
		n, _ := c.Read(make([]byte, 1))
		ok = n == 1
		return nil
	})
	return ok
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// onlyInput is an input chain that drops all but these TCP ports.
func onlyInput(ports ...uint64) *ruleset.Ruleset {
	c := &ruleset.Chain{Name: "input", Hook: ruleset.HookInput, Policy: ruleset.Drop}
	for _, port := range ports {
		c.Rules = append(c.Rules, allowPort(port))
	}
	return &ruleset.Ruleset{Chains: []*ruleset.Chain{c}}
}

// inputRules is the same, with an output chain that has something to decide too.
func inputRules(ports ...uint64) *ruleset.Ruleset {
	rs := onlyInput(ports...)
	rs.Chains = append(rs.Chains, &ruleset.Chain{Name: "output", Hook: ruleset.HookOutput, Policy: ruleset.Accept, Rules: []*ruleset.Rule{{
		Name:    "no-discard",
		Matches: []ruleset.Match{{Field: ruleset.FieldDstPort, Ranges: []ruleset.Range{{From: 9, To: 9}}}},
		Verdict: ruleset.Verdict{Kind: ruleset.Drop},
	}}})
	return rs
}

func allowPort(port uint64) *ruleset.Rule {
	return &ruleset.Rule{
		Name: fmt.Sprintf("port-%d", port),
		Matches: []ruleset.Match{
			{Field: ruleset.FieldProto, Ranges: []ruleset.Range{{From: 6, To: 6}}},
			{Field: ruleset.FieldDstPort, Ranges: []ruleset.Range{{From: port, To: port}}},
		},
		Verdict: ruleset.Verdict{Kind: ruleset.Accept},
	}
}

// disable turns the firewall off.
func (w *world) disable() {
	w.tb.Helper()
	must(w.tb, w.open().Disable(context.Background()))
}

// counter is what a rule or policy has counted.
func (w *world) counter(id string) uint64 {
	w.tb.Helper()
	all, err := w.open().Counters()
	must(w.tb, err)
	for _, c := range all {
		if c.ID == id {
			return c.Packets
		}
	}
	w.tb.Fatalf("no counter of %q", id)
	return 0
}

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

func sameAddr(a, b netip.Addr) bool { return a == b }

// settled is what a rule has counted once the last packets of what was said before have come.
func (w *world) settled(id string) uint64 {
	w.tb.Helper()
	for n := w.counter(id); ; {
		time.Sleep(100 * time.Millisecond)
		again := w.counter(id)
		if again == n {
			return n
		}
		n = again
	}
}
