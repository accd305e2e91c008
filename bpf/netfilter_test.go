package bpf

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/ringbuf"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// The two hosts behind the router of twin. No stack has these addresses, so nobody but the test sends from them.
var (
	hostA = netip.MustParseAddr("10.9.1.50")
	hostB = netip.MustParseAddr("10.9.2.50")
)

// twin is a router that tracks every packet twice: netfilter puts its state into the mark, we ours beside it into an event.
type twin struct {
	*world
	events *ringbuf.Reader
	socks  [2]int    // packet sockets on the hosts' ends
	frames [2][]byte // Ethernet headers
	sent   int
}

const stateToMark = `table inet twin { chain forward { type filter hook forward priority 0;
ct state invalid meta mark set 1; ct state established meta mark set 2; ct state related meta mark set 4
ct state new meta mark set 8; ct state untracked meta mark set 16
}
}`

func newTwin(t *testing.T) *twin {
	w := newWorld(t)
	tw := &twin{world: w}
	spec := classifier(t, "cfg_conntrack", "cfg_forwarding")
	for name, v := range map[string]any{"cfg_log_rate": uint32(0)} {
		if err := spec.Variables[name].Set(v); err != nil {
			t.Fatal(err)
		}
	}
	body := append(calling("fw_log", asm.Mov.Reg(asm.R1, asm.R6), asm.Mov.Imm(asm.R2, 7))[:4], asm.Mov.Imm(asm.R0, 1), asm.Return())
	for _, p := range spec.Programs {
		p.Instructions = replace(p.Instructions, "fw_forward", body...)
	}
	w.in(w.router, func() error { return sysctl("net/netfilter/nf_conntrack_checksum", "0") })
	nft := exec.Command("nft", "-f", "-")
	nft.Stdin = strings.NewReader(stateToMark)
	if out, err := nft.CombinedOutput(); err != nil {
		t.Skipf("nft: %s %s", err, out)
	}
	coll := load(t, spec)
	w.protect(coll, "r1", "r2")
	var err error
	if tw.events, err = ringbuf.NewReader(coll.Maps["events"]); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tw.events.Close() })
	tw.host(0, w.a, "r1", hostA)
	tw.host(1, w.b, "r2", hostB)
	return tw
}

// host makes one end: the router knows its address by heart, and a packet socket sends for it.
func (tw *twin) host(i int, ns netns.NsHandle, dev string, addr netip.Addr) {
	var end, router netlink.Link
	tw.in(ns, func() (err error) {
		if end, err = netlink.LinkByName("eth0"); err != nil {
			return err
		}
		if tw.socks[i], err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW, 0); err != nil {
			return err
		}
		return unix.Bind(tw.socks[i], &unix.SockaddrLinklayer{Ifindex: end.Attrs().Index})
	})
	tw.Cleanup(func() { unix.Close(tw.socks[i]) })
	tw.in(tw.router, func() (err error) {
		if router, err = netlink.LinkByName(dev); err != nil {
			return err
		}
		return netlink.NeighSet(&netlink.Neigh{LinkIndex: router.Attrs().Index, IP: net.IP(addr.AsSlice()),
			HardwareAddr: end.Attrs().HardwareAddr, State: netlink.NUD_PERMANENT})
	})
	tw.frames[i] = slices.Concat(router.Attrs().HardwareAddr, end.Attrs().HardwareAddr, be16(0x0800))
}

// states sends a packet from host i to the other and reports what netfilter and we make of it.
func (tw *twin) states(i int, proto byte, payload []byte) (netfilter, ours uint8) {
	tw.Helper()
	src, dst := hostA, hostB
	if i == 1 {
		src, dst = hostB, hostA
	}
	tw.sent++
	p := ip4(src, dst, proto, 0, nil, payload)
	binary.BigEndian.PutUint16(p[4:], uint16(tw.sent))
	copy(p[10:], []byte{0, 0})
	binary.BigEndian.PutUint16(p[10:], checksum(p[:20]))
	if _, err := unix.Write(tw.socks[i], slices.Concat(tw.frames[i], p)); err != nil {
		tw.Fatal(err)
	}
	tw.events.SetDeadline(time.Now().Add(2 * time.Second))
	for {
		rec, err := tw.events.Read()
		if err != nil {
			tw.Fatalf("packet %d: %s", tw.sent, err)
		}
		var e Event
		if _, err := binary.Decode(rec.RawSample, binary.NativeEndian, &e); err != nil {
			tw.Fatal(err)
		}
		if e.Pkt.FragId == uint32(uint16(tw.sent)) && e.Pkt.Family == 4 {
			return uint8(e.Pkt.Mark), e.Pkt.CtState
		}
	}
}

// end is what one end of a random connection remembers.
type end struct {
	next uint32 // sequence number to send
}

// step makes a random, often plausible segment of end i.
func step(r *rand.Rand, ends *[2]end, i int, port int) seg {
	me, peer := &ends[i], &ends[1-i]
	kinds := []byte{syn, syn | ack, ack, ack, ack, ack | psh, ack | psh, fin | ack, rst, rst | ack, syn | fin, 0, fin}
	s := seg{flags: kinds[r.IntN(len(kinds))], seq: me.next, window: []int{1, 100, 5000, 29200, 65535}[r.IntN(5)]}
	s.sport, s.dport = port, 80
	if i == 1 {
		s.sport, s.dport = 80, port
	}
	if s.flags&ack != 0 {
		s.ack = peer.next
	}
	if s.flags&psh != 0 {
		s.data = 1 + r.IntN(1400)
	}
	if r.IntN(3) == 0 {
		s.seq += []uint32{^uint32(0), 1, 1000, 70000, 10_000_000, -s.seq, ^uint32(1000), ^uint32(100_000)}[r.IntN(8)]
	}
	if r.IntN(4) == 0 && s.flags&ack != 0 {
		s.ack += []uint32{^uint32(0), 1, 500, 100_000, -s.ack, ^uint32(700), ^uint32(80_000)}[r.IntN(7)]
	}
	s.options = options(r, s)
	if s.seq == me.next {
		me.next += uint32(s.data)
		if s.flags&(syn|fin) != 0 {
			me.next++
		}
	}
	return s
}

// options are those of a SYN, or now and then a SACK.
func options(r *rand.Rand, s seg) []byte {
	switch {
	case s.flags&syn != 0 && r.IntN(2) == 0:
		return []byte{2, 4, 5, 0xb4, 4, 2, 1, 3, 3, byte(r.IntN(15)), 1, 0}
	case s.flags&ack != 0 && r.IntN(6) == 0:
		edge := s.ack + uint32(r.IntN(3000))
		return slices.Concat([]byte{1, 1, 5, 10}, be32(edge-100, edge))
	case r.IntN(2) == 0:
		return slices.Concat([]byte{1, 1, 8, 10}, be32(1, 2))
	}
	return nil
}

// usual opens a connection as real ends do, with probability 3/4, so that the random segments find it in all states.
func usual(r *rand.Rand, n int) (dir int, flags byte, is bool) {
	script := []struct {
		dir   int
		flags byte
	}{{0, syn}, {1, syn | ack}, {0, ack}, {0, ack | psh}, {1, ack}, {0, fin | ack}, {1, ack}, {1, fin | ack}, {0, ack}, {0, syn}}
	if n >= len(script) || r.IntN(8) == 0 {
		return 0, 0, false
	}
	return script[n].dir, script[n].flags, true
}

// Random segments, plausible or not, have the state that netfilter gives them.
func TestTCPAsNetfilter(t *testing.T) {
	tw := newTwin(t)
	const seed, steps = 1, 24
	runs := 1500
	if testing.Short() {
		runs = 100
	}
	bad := 0
	for run := range runs {
		r := rand.New(rand.NewPCG(seed, uint64(run)))
		ends := [2]end{{next: r.Uint32()}, {next: r.Uint32()}}
		var history []string
		scripted := r.IntN(4) != 0
		for n := range steps {
			var s seg
			i, flags, is := usual(r, n)
			if !is || !scripted {
				i = r.IntN(2)
				s = step(r, &ends, i, 10000+run)
			} else {
				s = seg{sport: 10000 + run, dport: 80, flags: flags, seq: ends[i].next, window: 29200}
				if i == 1 {
					s.sport, s.dport = s.dport, s.sport
				}
				if flags&ack != 0 {
					s.ack = ends[1-i].next
				}
				if flags&psh != 0 {
					s.data = 300
				}
				ends[i].next += uint32(s.data)
				if flags&(syn|fin) != 0 {
					ends[i].next++
				}
			}
			want, got := tw.states(i, protoTCP, s.bytes())
			history = append(history, fmt.Sprintf("%d %02x seq %d ack %d win %d data %d opt %x: netfilter %d, ours %d",
				i, s.flags, s.seq, s.ack, s.window, s.data, s.options, want, got))
			if want != got {
				t.Errorf("run %d:\n%s", run, strings.Join(history, "\n"))
				bad++
				break
			}
		}
		if bad == 5 {
			break
		}
	}
	t.Logf("%d packets", tw.sent)
}
