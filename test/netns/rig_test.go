package netns

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bpfwall/bpfwall/internal/lab"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) {
	if steps := os.Getenv(actorSteps); steps != "" {
		os.Exit(runActor(steps))
	}
	code := m.Run()
	lab.RemoveBinary()
	os.Exit(code)
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root to make network namespaces")
	}
}

// newWorld is a world that goes away with the test.
func newWorld(t *testing.T, o lab.Options) *lab.World {
	t.Helper()
	needRoot(t)
	w, err := lab.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

// rig plays windows of packets into a world of wires and tells what became of each packet.
type rig struct {
	world    *lab.World
	cpu      int
	wires    [2]*lab.Port // by place: atLAN, atWAN
	inner    [2]*lab.Port // the dut's ends, for fences
	local    *lab.Local
	outcomes []outcome // by id
	resets   map[resetKey][]uint32
	strays   []string
	errors   int // ICMP errors seen in this round
}

// outcome is everything that was seen of a packet: each where and how.
type outcome []string

func (o outcome) String() string {
	if len(o) == 0 {
		return "dropped"
	}
	s := slices.Clone([]string(o))
	slices.Sort(s)
	return strings.Join(s, ", ")
}

// resetKey finds the packet that a RST answers (RFC 9293, 3.5.2): its number is the acknowledgement of the packet, or else the
// RST acknowledges the packet's end.
type resetKey struct {
	from, to netip.AddrPort
	number   uint32
	ack      bool // the RST has an ACK
}

func newRig(t *testing.T, cpu int) *rig {
	t.Helper()
	w := newWorld(t, lab.Options{Wires: true})
	r := &rig{world: w, cpu: cpu}
	for i, end := range []struct {
		far *lab.NS
		leg lab.Leg
	}{{w.Client, lab.LAN}, {w.Server, lab.WAN}} {
		r.wires[i] = openPort(t, end.far.OpenPort, "eth0")
		r.inner[i] = openPort(t, w.DUT.OpenFence, end.leg.Iface)
	}
	local, err := w.DUT.OpenLocal()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(local.Close)
	r.local = local
	if err := w.DUT.Sysctl("net.ipv6.auto_flowlabels=0"); err != nil {
		t.Fatal(err)
	}
	for _, group := range []netip.Addr{netip.MustParseAddr("224.0.0.251"), netip.MustParseAddr("ff02::fb")} {
		if err := local.Join(w.DUT, "lan0", group); err != nil {
			t.Fatal(err)
		}
		if err := local.Join(w.DUT, "wan0", group); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

func openPort(t *testing.T, open func(string) (*lab.Port, error), iface string) *lab.Port {
	t.Helper()
	p, err := open(iface)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

// play sends a window and returns what became of its packets, by id. The calling goroutine must not do anything else.
func (r *rig) play(w *window) ([]outcome, error) {
	r.outcomes = make([]outcome, w.ids+1)
	r.strays = nil
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var all, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		return nil, err
	}
	one.Set(r.cpu % runtime.NumCPU())
	if err := unix.SchedSetaffinity(0, &one); err != nil { // a packet stays on the CPU of its sender: order is kept
		return nil, err
	}
	defer func() { _ = unix.SchedSetaffinity(0, &all) }()
	for round := 0; ; round++ {
		more := false
		r.resets = map[resetKey][]uint32{}
		for i := range w.flows {
			if round < len(w.flows[i].steps) {
				more = true
				if err := r.send(&w.flows[i].steps[round]); err != nil {
					return nil, err
				}
			}
		}
		if !more {
			return r.outcomes, nil
		}
		r.errors = 0
		if err := r.settle(); err != nil {
			return nil, err
		}
		time.Sleep(time.Duration(r.errors) * errorPause)
	}
}

// errorPause is for every ICMP error: bpfwall sends 1,000 a second, with a burst of 50 (as net.ipv4.icmp_msgs_per_sec and icmp_msgs_burst). A round
// has fewer than the burst.
const errorPause = 1050 * time.Microsecond

func (r *rig) send(s *step) error {
	if s.pkt.Proto == unix.IPPROTO_TCP {
		k := resetOf(s.pkt)
		r.resets[k] = append(r.resets[k], s.id)
	}
	for _, f := range s.frames {
		if s.at == atDUT {
			_ = r.local.Send(f) // a refusal is seen as a packet that is not
			continue
		}
		if err := r.wires[s.at].Send(f); err != nil {
			return fmt.Errorf("%s: %w", s, err)
		}
	}
	return nil
}

func resetOf(p lab.Packet) resetKey {
	k := resetKey{from: netip.AddrPortFrom(p.Dst, p.DstPort), to: netip.AddrPortFrom(p.Src, p.SrcPort), number: p.Ack}
	if p.Flags&lab.ACK == 0 {
		k.ack = true
		k.number = p.Seq + uint32(len(p.Payload)) + uint32(p.Flags&lab.SYN>>1) + uint32(p.Flags&lab.FIN)
	}
	return k
}

// settle waits until everything sent has been judged and seen: fences go through the dut's receive path and back, twice, since a
// packet may make the dut send an answer that is received again (on lo).
func (r *rig) settle() error {
	for range 2 {
		for i, leg := range []lab.Leg{lab.LAN, lab.WAN} {
			if err := r.wires[i].Send(lab.Fence(leg.DUTMAC, leg.FarMAC)); err != nil {
				return err
			}
			if err := r.await(r.inner[i], i); err != nil {
				return fmt.Errorf("fence into %s: %w", leg.Iface, err)
			}
		}
		for i, leg := range []lab.Leg{lab.LAN, lab.WAN} {
			if err := r.inner[i].Send(lab.Fence(leg.FarMAC, leg.DUTMAC)); err != nil {
				return err
			}
			if err := r.await(r.wires[i], i); err != nil {
				return fmt.Errorf("fence out of %s: %w", leg.Iface, err)
			}
		}
	}
	return r.local.Drain(r.delivered)
}

// await reads a port until a fence comes.
func (r *rig) await(p *lab.Port, at int) error {
	found := false
	for deadline := time.Now().Add(5 * time.Second); !found && time.Now().Before(deadline); {
		if _, err := p.Wait(100); err != nil {
			return err
		}
		err := p.Drain(func(frame []byte) {
			if lab.IsFence(frame) {
				found = true
			} else {
				r.seen(place(at), frame)
			}
		})
		if err != nil {
			return err
		}
	}
	if !found {
		return errors.New("lost")
	}
	return nil
}

// ours are the TTLs that packets of ours have when they come out: the kernel's own packets have 64 or 255.
func ours(ttl uint8) bool { return ttl > 70 && ttl < 80 || ttl >= 1 && ttl < 20 }

func (r *rig) note(id uint32, what string) {
	if int(id) < len(r.outcomes) && id > 0 {
		r.outcomes[id] = append(r.outcomes[id], what)
		return
	}
	r.strays = append(r.strays, what)
}

// seen takes note of a frame on a wire.
func (r *rig) seen(at place, frame []byte) {
	ip, ok := readIP(frame)
	if !ok {
		return
	}
	id, what := r.identify(ip)
	if what != "" {
		r.note(id, what+" "+at.String())
	}
}

// delivered takes note of a packet that the dut's transport layer got.
func (r *rig) delivered(d lab.Delivered) {
	ip := ipHeader{six: d.Family == 6, id: d.ID, ttl: d.TTL, proto: d.Proto, src: d.Source, dst: d.Dest, l4: d.Payload}
	if ip.six { // the header is not told: only our packets have a flow label
		ip.ttl = 64
		if ip.id != 0 {
			ip.ttl = 77
		}
	}
	id, what := r.identify(ip)
	if what != "" {
		r.note(id, what+" local")
	}
}

// identify says which of our packets this is, or answers, and what it is; "" for the kernel's own affairs.
func (r *rig) identify(ip ipHeader) (uint32, string) {
	if ours(ip.ttl) && ip.id != 0 {
		if ip.fragment != "" {
			return ip.id, "passed " + ip.fragment
		}
		return ip.id, "passed"
	}
	switch {
	case ip.proto == unix.IPPROTO_IGMP: // the dut's own membership reports
		return 0, ""
	case ip.proto == unix.IPPROTO_TCP && len(ip.l4) >= 20 && ip.l4[13]&lab.RST != 0:
		return r.reset(ip)
	case ip.proto == unix.IPPROTO_ICMP && len(ip.l4) >= 8, ip.proto == unix.IPPROTO_ICMPV6 && len(ip.l4) >= 8:
		return r.icmpAnswer(ip)
	}
	return 0, fmt.Sprintf("protocol %d from %s", ip.proto, ip.src)
}

func (r *rig) reset(ip ipHeader) (uint32, string) {
	sport, dport := binary.BigEndian.Uint16(ip.l4), binary.BigEndian.Uint16(ip.l4[2:])
	k := resetKey{from: netip.AddrPortFrom(ip.src, sport), to: netip.AddrPortFrom(ip.dst, dport), number: binary.BigEndian.Uint32(ip.l4[4:])}
	if ip.l4[13]&lab.ACK != 0 {
		k.ack, k.number = true, binary.BigEndian.Uint32(ip.l4[8:])
	}
	ids := r.resets[k]
	if len(ids) == 0 {
		return 0, fmt.Sprintf("tcp %s of nothing we sent, %s -> %s", flagNames(ip.l4[13]), k.from, k.to)
	}
	return ids[0], "answered tcp " + flagNames(ip.l4[13])
}

func (r *rig) icmpAnswer(ip ipHeader) (uint32, string) {
	kind, code := ip.l4[0], ip.l4[1]
	isError := kind == 3 || kind == 4 || kind == 5 || kind == 11 || kind == 12
	if ip.six {
		if kind >= 130 && kind <= 136 || kind == 143 { // neighbour discovery, multicast listeners
			return 0, ""
		}
		isError = kind < 128 || kind == 137
	}
	what := fmt.Sprintf("answered icmp %d/%d", kind, code)
	if isError {
		r.errors++
		inner, ok := readIP(append(make([]byte, 14), ip.l4[8:]...))
		if !ok {
			return 0, what + " without the packet"
		}
		return inner.id, what + " from " + ip.src.String()
	}
	return uint32(binary.BigEndian.Uint16(ip.l4[6:])), what // script.add puts it into the sequence number
}

// ipHeader is what the rig reads of a packet.
type ipHeader struct {
	six      bool
	id       uint32
	ttl      uint8
	proto    int
	src, dst netip.Addr
	fragment string // "" for a whole packet, else offset and length
	l4       []byte
}

// readIP reads a frame; not ok for what is not IP.
func readIP(frame []byte) (ipHeader, bool) {
	if len(frame) < 34 {
		return ipHeader{}, false
	}
	b := frame[14:]
	if b[0]>>4 == 4 {
		n := int(b[0]&15) * 4
		total := min(int(binary.BigEndian.Uint16(b[2:])), len(b))
		if total < n {
			return ipHeader{}, false
		}
		h := ipHeader{id: uint32(binary.BigEndian.Uint16(b[4:])), ttl: b[8], proto: int(b[9]), src: netip.AddrFrom4([4]byte(b[12:16])), dst: netip.AddrFrom4([4]byte(b[16:20])), l4: b[n:total]}
		if field := binary.BigEndian.Uint16(b[6:]); field&0x3fff != 0 {
			h.fragment = fmt.Sprintf("%d+%d", int(field&0x1fff)*8, total-n)
		}
		return h, true
	}
	if b[0]>>4 != 6 || len(b) < 40 {
		return ipHeader{}, false
	}
	h := ipHeader{six: true, id: binary.BigEndian.Uint32(b) & 0xfffff, ttl: b[7], proto: int(b[6]), src: netip.AddrFrom16([16]byte(b[8:24])), dst: netip.AddrFrom16([16]byte(b[24:40])), l4: b[40:]}
	for len(h.l4) >= 8 {
		switch h.proto {
		case unix.IPPROTO_FRAGMENT:
			h.fragment = fmt.Sprintf("%d+%d", binary.BigEndian.Uint16(h.l4[2:])&^7, len(h.l4)-8)
			h.proto, h.l4 = int(h.l4[0]), h.l4[8:]
		case unix.IPPROTO_HOPOPTS, unix.IPPROTO_DSTOPTS, unix.IPPROTO_ROUTING:
			n := min((int(h.l4[1])+1)*8, len(h.l4))
			h.proto, h.l4 = int(h.l4[0]), h.l4[n:]
		default:
			return h, true
		}
	}
	return h, true
}
