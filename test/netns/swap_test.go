package netns

import (
	"crypto/sha256"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bpfwall/bpfwall/internal/lab"
	"golang.org/x/sys/unix"
)

var (
	swaps = flag.Int("swaps", 25, "swaps of TestSwapUnderLoad")
	kills = flag.Int("kills", 10, "kills of TestKilledApply")
	rate  = flag.Int("rate", 50_000, "packets a second of TestSwapUnderLoad, in all")
)

// The ports of the probes, and what the two rulesets do with them. A TCP transfer goes by port 7000.
const (
	portBoth    = 1001 // both accept: never lost
	portNeither = 1002 // both drop: never passes
	portA       = 1003 // only A accepts
	portB       = 1004
	portTCP     = 7000
)

var probePorts = []int{portBoth, portNeither, portA, portB}

// swapRules is one of the two rulesets, for one family: they differ everywhere but in what they do with the two canaries.
func swapRules(mine int, filler string) string {
	var b strings.Builder
	fmt.Fprintln(&b, "*filter\n:INPUT DROP [0:0]\n:FORWARD DROP [0:0]\n:OUTPUT ACCEPT [0:0]")
	for _, chain := range []string{"INPUT", "FORWARD"} {
		for i := range 10 {
			fmt.Fprintf(&b, "-A %s -s %s -p udp -m udp --dport %d -j DROP\n", chain, filler, 2000+i)
		}
		fmt.Fprintf(&b, "-A %s -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n", chain)
		fmt.Fprintf(&b, "-A %s -p udp -m multiport --dports %d,%d -j ACCEPT\n", chain, portBoth, mine)
		fmt.Fprintf(&b, "-A %s -p tcp -m tcp --dport %d -j ACCEPT\n", chain, portTCP)
	}
	fmt.Fprintln(&b, "COMMIT")
	return b.String()
}

// swapFiles writes the two rulesets, an IPv4 and an IPv6 file each.
func swapFiles(t *testing.T) (files [2][]string) {
	t.Helper()
	dir := t.TempDir()
	for i, r := range []struct {
		port    int
		filler4 string
		filler6 string
	}{{portA, "203.0.113.77/32", "2001:db8:77::/64"}, {portB, "203.0.113.88/32", "2001:db8:88::/64"}} {
		for suffix, text := range map[string]string{"v4": swapRules(r.port, r.filler4), "v6": swapRules(r.port, r.filler6)} {
			path := filepath.Join(dir, fmt.Sprintf("%c.%s", 'a'+i, suffix))
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		files[i] = []string{filepath.Join(dir, fmt.Sprintf("%c.v4", 'a'+i)), filepath.Join(dir, fmt.Sprintf("%c.v6", 'a'+i))}
	}
	return files
}

// applyBpfwall and applyIptables put rules into a namespace: the thing under test and, to prove the test, its model.
func applyBpfwall(n *lab.NS, files []string) error {
	_, err := n.Bpfwall(append([]string{"apply", "--yes"}, files...)...)
	return err
}

func applyIptables(n *lab.NS, files []string) error {
	var text [2]string
	for i, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			return err
		}
		text[i] = string(b)
	}
	return lab.Nft.Restore(n, text[0], text[1])
}

// barrage is threads that send probes on all three of the dut's interfaces.
type barrage struct {
	world *lab.World
	stop  atomic.Bool
	sent  [3]atomic.Uint64 // batches, by stream
	errs  chan error
}

// stream is probes from one place to another.
type stream struct {
	from     *lab.NS
	leg      lab.Leg
	src, dst netip.Addr
}

func streams(w *lab.World) [3]stream {
	return [3]stream{
		{w.Client, lab.LAN, lab.LAN.Far4.Addr(), lab.WAN.Far4.Addr()},
		{w.Third, lab.DMZ, lab.DMZ.Far6.Addr(), lab.WAN.Far6.Addr()},
		{w.Third, lab.DMZ, lab.DMZ.Far4.Addr(), lab.DMZ.DUT4.Addr()},
	}
}

const batchPackets = 32 // 8 of each port

// start sends at *rate. Counters are read when all is quiet.
func start(w *lab.World) *barrage {
	b := &barrage{world: w, errs: make(chan error, 3)}
	for i, s := range streams(w) {
		go func() { b.errs <- b.run(i, s) }()
	}
	return b
}

func (b *barrage) run(i int, s stream) error {
	port, err := s.from.OpenPort("eth0")
	if err != nil {
		return err
	}
	defer port.Close()
	runtime.LockOSThread()
	pause := time.Duration(float64(time.Second) * 3 * batchPackets / float64(*rate))
	frames := make([][]byte, batchPackets)
	next := time.Now()
	for n := uint16(0); !b.stop.Load(); n++ {
		next = next.Add(pause)
		for j := range frames {
			p := lab.Packet{SrcMAC: s.leg.FarMAC, DstMAC: s.leg.DUTMAC, Src: s.src, Dst: s.dst, TTL: 64, Proto: unix.IPPROTO_UDP,
				SrcPort: 20000 + n%4096, DstPort: uint16(probePorts[j%4]), Payload: make([]byte, 8)}
			frames[j] = p.Frame()
		}
		if _, err := port.SendBatch(lab.NewBatch(frames)); err != nil {
			return err
		}
		b.sent[i].Add(1)
		time.Sleep(time.Until(next))
	}
	return nil
}

// end stops the senders and returns how many probes of each port each stream sent.
func (b *barrage) end(t *testing.T) [3]uint64 {
	t.Helper()
	b.stop.Store(true)
	for range 3 {
		if err := <-b.errs; err != nil {
			t.Error(err)
		}
	}
	time.Sleep(50 * time.Millisecond)
	var out [3]uint64
	for i := range out {
		out[i] = b.sent[i].Load() * batchPackets / 4
	}
	return out
}

// arrived is how many probes of a port came through: at the server both forwarded streams, at the dut the third.
func arrived(t *testing.T, w *lab.World) (forwarded, local map[int]uint64) {
	t.Helper()
	f, err := w.Server.PortCounts()
	if err != nil {
		t.Fatal(err)
	}
	l, err := w.DUT.PortCounts()
	if err != nil {
		t.Fatal(err)
	}
	return f, l
}

func swapWorld(t *testing.T) *lab.World {
	t.Helper()
	w := newWorld(t, lab.Options{Third: true})
	if err := w.Server.CountPorts("prerouting", probePorts...); err != nil {
		t.Fatal(err)
	}
	if err := w.DUT.CountPorts("input", probePorts...); err != nil {
		t.Fatal(err)
	}
	return w
}

// TestRigSwap sends the same packets through the kernel's iptables, whose rules stay as they are, one ruleset and then the other:
// it proves that the test itself neither loses packets nor sees any that were not let through.
func TestRigSwap(t *testing.T) {
	w := swapWorld(t)
	drops := softnetDrops(t)
	var sent [3]uint64
	for _, files := range swapFiles(t) {
		if err := applyIptables(w.DUT, files); err != nil {
			t.Fatal(err)
		}
		load := start(w)
		time.Sleep(500 * time.Millisecond)
		for i, n := range load.end(t) {
			sent[i] += n
		}
	}
	checkArrived(t, w, sent, softnetDrops(t)-drops)
}

// TestSwapUnderLoad changes between two rulesets again and again while packets arrive on all interfaces. What both accept is
// never lost, what both drop never passes, and a TCP transfer arrives whole.
func TestSwapUnderLoad(t *testing.T) {
	w := swapWorld(t)
	files := swapFiles(t)
	if err := applyBpfwall(w.DUT, files[0]); err != nil {
		t.Fatal(err)
	}
	drops := softnetDrops(t)
	transfer := startTransfer(t, w)
	load := start(w)
	begin := time.Now()
	for i := range *swaps {
		if err := applyBpfwall(w.DUT, files[(i+1)%2]); err != nil {
			t.Fatalf("swap %d: %v", i, err)
		}
	}
	took := time.Since(begin)
	sent := load.end(t)
	transfer.finish(t)
	checkArrived(t, w, sent, softnetDrops(t)-drops)
	total := (sent[0] + sent[1] + sent[2]) * 4
	t.Logf("%d swaps and %d packets in %s (%d a second); TCP carried %d MB", *swaps, total, took.Round(time.Millisecond),
		uint64(float64(total)/took.Seconds()), transfer.bytes.Load()>>20)
}

func checkArrived(t *testing.T, w *lab.World, sent [3]uint64, dropped uint64) {
	t.Helper()
	forwarded, local := arrived(t, w)
	for _, c := range []struct {
		where string
		sent  uint64
		got   map[int]uint64
	}{{"forwarded", sent[0] + sent[1], forwarded}, {"local", sent[2], local}} {
		if c.got[portBoth]+dropped < c.sent {
			t.Errorf("%s: %d of %d packets that both rulesets accept arrived (the kernel's queues dropped %d)", c.where, c.got[portBoth], c.sent, dropped)
		}
		if c.got[portNeither] != 0 {
			t.Errorf("%s: %d packets passed that both rulesets drop", c.where, c.got[portNeither])
		}
		if c.got[portA] == 0 || c.got[portB] == 0 {
			t.Errorf("%s: one of the rulesets never was in force: %v", c.where, c.got)
		}
	}
}

// softnetDrops is how many packets this machine's receive queues had no room for (column 2 of /proc/net/softnet_stat).
func softnetDrops(t *testing.T) (sum uint64) {
	t.Helper()
	text, err := os.ReadFile("/proc/net/softnet_stat")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(strings.TrimSpace(string(text)), "\n") {
		var processed, dropped uint64
		if _, err := fmt.Sscanf(line, "%x %x", &processed, &dropped); err != nil {
			t.Fatal(err)
		}
		sum += dropped
	}
	return sum
}

// transfer is a TCP connection from the client to the server that is kept busy.
type transfer struct {
	stop  atomic.Bool
	bytes atomic.Int64
	sent  chan sum
	got   chan sum
}

type sum struct {
	hash [sha256.Size]byte
	n    int64
	err  error
}

func startTransfer(t *testing.T, w *lab.World) *transfer {
	t.Helper()
	x := &transfer{sent: make(chan sum, 1), got: make(chan sum, 1)}
	at := netip.AddrPortFrom(lab.WAN.Far4.Addr(), portTCP)
	l, err := w.Server.Serve(at, func(c net.Conn) {
		h := sha256.New()
		n, err := io.Copy(h, c)
		c.Close()
		x.got <- sum{[sha256.Size]byte(h.Sum(nil)), n, err}
	})
	if err != nil {
		t.Fatal(err)
	}
	c, err := w.Client.Dial("tcp", at, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); l.Close() })
	go func() {
		h := sha256.New()
		err := x.pump(io.MultiWriter(c, h))
		c.Close()
		x.sent <- sum{[sha256.Size]byte(h.Sum(nil)), x.bytes.Load(), err}
	}()
	return x
}

// pump writes some 16 MB a second of noise until told to stop: the machine is needed for other things.
func (x *transfer) pump(to io.Writer) error {
	noise := rand.NewChaCha8([32]byte{1})
	buf := make([]byte, 1<<15)
	for !x.stop.Load() {
		_, _ = noise.Read(buf)
		n, err := to.Write(buf)
		x.bytes.Add(int64(n))
		if err != nil {
			return err
		}
		time.Sleep(2 * time.Millisecond)
	}
	return nil
}

// finish ends the transfer and compares both ends.
func (x *transfer) finish(t *testing.T) {
	t.Helper()
	x.stop.Store(true)
	for end, c := range map[string]chan sum{"sender": x.sent, "receiver": x.got} {
		select {
		case s := <-c:
			if s.err != nil {
				t.Errorf("TCP %s: %v", end, s.err)
			}
			c <- s
		case <-time.After(15 * time.Second):
			t.Fatalf("TCP %s: not finished after 15 s", end)
		}
	}
	if a, b := <-x.sent, <-x.got; a != b {
		t.Errorf("TCP: %d bytes sent, %d arrived, or other ones", a.n, b.n)
	}
}
