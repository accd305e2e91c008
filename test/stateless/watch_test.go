package stateless

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/ringbuf"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/bpfwall/bpfwall/internal/lab"
)

// place is where a packet starts, or is seen.
type place uint8

const (
	atLAN place = iota
	atWAN
	atDUT
	arrived // at the dut's interfaces, before any rule
	places
)

func (p place) String() string { return [...]string{"lan0", "wan0", "dut", "arrival"}[p] }

// ids is how many packets of a family a round can tell apart: an IPv4 identification has 16 bits.
const ids = 1 << 16

// headBytes is how much of an answer is kept: the IP header, the error's, and the packet that it quotes.
const headBytes = 112

// watch counts the packets of a world by id, in BPF: at the far ends of both wires, and where LOCAL_IN hands packets to the stack.
type watch struct {
	counts *ebpf.Map // by id (IPv6: + ids), a byte a place
	ring   *ebpf.Map // what is not ours: answers
	memory *ebpf.Memory
	reader *ringbuf.Reader
	close  []func() error

	refills []link.Link
}

func newWatch(t *testing.T, w *lab.World) *watch {
	t.Helper()
	v := &watch{}
	t.Cleanup(func() {
		for _, f := range v.close {
			_ = f()
		}
	})
	if err := v.open(w); err != nil {
		t.Fatal(err)
	}
	return v
}

func (v *watch) open(w *lab.World) (err error) {
	if v.counts, err = ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 4, MaxEntries: 2 * ids, Flags: unix.BPF_F_MMAPABLE}); err != nil {
		return err
	}
	if v.ring, err = ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.RingBuf, MaxEntries: 16 << 20}); err != nil {
		return err
	}
	v.close = append(v.close, v.counts.Close, v.ring.Close)
	if v.memory, err = v.counts.Memory(); err != nil {
		return err
	}
	if v.reader, err = ringbuf.NewReader(v.ring); err != nil {
		return err
	}
	v.close = append(v.close, v.reader.Close)
	for _, far := range []struct {
		ns *lab.NS
		at place
	}{{w.Client, atLAN}, {w.Server, atWAN}} {
		if err := v.attach(far.ns, "eth0", v.onWire(far.at)); err != nil {
			return err
		}
	}
	return v.localIn(w.DUT)
}

// attach puts a program where an interface receives.
func (v *watch) attach(n *lab.NS, iface string, code asm.Instructions) error {
	prog, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.SchedCLS, License: "GPL", Instructions: code})
	if err != nil {
		return fmt.Errorf("watch %s: %w", iface, err)
	}
	defer prog.Close()
	_, err = v.tcx(n, iface, ebpf.AttachTCXIngress, prog)
	return err
}

// forge has a namespace put a value into the tc_index of all that it sends, which a veth hands over.
func (v *watch) forge(n *lab.NS, value int32) error {
	prog, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.SchedCLS, License: "GPL", Instructions: asm.Instructions{
		asm.Mov.Imm(asm.R2, value),
		asm.StoreMem(asm.R1, 44, asm.R2, asm.Word), // __sk_buff.tc_index
		asm.Mov.Imm(asm.R0, -1),                    // TCX_NEXT
		asm.Return(),
	}})
	if err != nil {
		return err
	}
	defer prog.Close()
	_, err = v.tcx(n, "eth0", ebpf.AttachTCXEgress, prog)
	return err
}

func (v *watch) tcx(n *lab.NS, iface string, at ebpf.AttachType, prog *ebpf.Program) (l link.Link, err error) {
	err = n.Do(func() error {
		dev, err := netlink.LinkByName(iface)
		if err != nil {
			return err
		}
		l, err = link.AttachTCX(link.TCXOptions{Interface: dev.Attrs().Index, Program: prog, Attach: at, Anchor: link.Head()})
		return err
	})
	if err == nil {
		v.close = append(v.close, l.Close)
	}
	return l, err
}

// localIn watches what the rules of INPUT have let through, and takes it: nobody answers it.
func (v *watch) localIn(n *lab.NS) error {
	code, err := v.delivered()
	if err != nil {
		return err
	}
	prog, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.Netfilter, AttachType: ebpf.AttachNetfilter, License: "GPL", Instructions: code})
	if err != nil {
		return fmt.Errorf("watch LOCAL_IN: %w", err)
	}
	defer prog.Close()
	return n.Do(func() error {
		for _, family := range []link.NetfilterProtocolFamily{link.NetfilterProtoIPv4, link.NetfilterProtoIPv6} {
			l, err := link.AttachNetfilter(link.NetfilterOptions{Program: prog, ProtocolFamily: family, Hook: link.NetfilterInetLocalIn, Priority: 1000})
			if err != nil {
				return err
			}
			v.close = append(v.close, l.Close)
		}
		return nil
	})
}

// head is where the programs have what they read of a packet: on the stack, behind the place and what is to be the id.
const (
	record = -128 // of the ring: 4 bytes place, 4 bytes bytes
	head   = record + 8
	number = record - 8 // the key of counts
)

// onWire is the program of a far end: it takes every packet.
func (v *watch) onWire(at place) asm.Instructions {
	code := append(readFrame(), v.note(at)...)
	return append(code, asm.Mov.Imm(asm.R0, 2).WithSymbol("end"), asm.Return()) // TC_ACT_SHOT
}

// arrival counts packets that come to the dut.
func (v *watch) arrival() asm.Instructions {
	code := append(readFrame(), isOurs()...)
	code = append(code, asm.JNE.Imm(asm.R0, 0, "end"))
	code = append(code, v.count(arrived)...)
	return append(code, asm.Mov.Imm(asm.R0, -1).WithSymbol("end"), asm.Return()) // TCX_NEXT
}

// readFrame puts up to headBytes of the packet behind the Ethernet header at head, and ends if it is no IP packet.
func readFrame() asm.Instructions {
	code := asm.Instructions{asm.Mov.Reg(asm.R6, asm.R1), asm.Mov.Imm(asm.R7, 0)}
	for at := int16(number); at < 0; at += 8 {
		code = append(code, asm.StoreMem(asm.RFP, at, asm.R7, asm.DWord))
	}
	return append(code,
		asm.LoadMem(asm.R2, asm.R6, 16, asm.Word), // protocol
		asm.JEq.Imm(asm.R2, 0x0008, "ip"),
		asm.JNE.Imm(asm.R2, 0xdd86, "end"),
		asm.LoadMem(asm.R4, asm.R6, 0, asm.Word).WithSymbol("ip"), // len
		asm.Sub.Imm(asm.R4, 14),
		asm.JSLT.Imm(asm.R4, 20, "end"),
		asm.JSLE.Imm(asm.R4, headBytes, "fits"),
		asm.Mov.Imm(asm.R4, headBytes),
		asm.StoreMem(asm.RFP, record+4, asm.R4, asm.Word).WithSymbol("fits"),
		asm.Mov.Reg(asm.R1, asm.R6),
		asm.Mov.Imm(asm.R2, 14),
		asm.Mov.Reg(asm.R3, asm.RFP),
		asm.Add.Imm(asm.R3, head),
		asm.FnSkbLoadBytes.Call(),
		asm.JNE.Imm(asm.R0, 0, "end"),
	)
}

// delivered is the program of LOCAL_IN. It reads struct sk_buff of the running kernel.
func (v *watch) delivered() (asm.Instructions, error) {
	at, err := offsets("sk_buff", "data", "len")
	if err != nil {
		return nil, err
	}
	code := asm.Instructions{asm.Mov.Imm(asm.R7, 0)}
	for at := int16(number); at < 0; at += 8 {
		code = append(code, asm.StoreMem(asm.RFP, at, asm.R7, asm.DWord))
	}
	code = append(code,
		asm.LoadMem(asm.R6, asm.R1, 8, asm.DWord), // struct bpf_nf_ctx: state, skb
		asm.LoadMem(asm.R3, asm.R6, at[0], asm.DWord),
		asm.LoadMem(asm.R2, asm.R6, at[1], asm.Word),
		asm.JLT.Imm(asm.R2, 20, "end"),
		asm.JLE.Imm(asm.R2, headBytes, "fits"),
		asm.Mov.Imm(asm.R2, headBytes),
		asm.StoreMem(asm.RFP, record+4, asm.R2, asm.Word).WithSymbol("fits"),
		asm.Mov.Reg(asm.R1, asm.RFP),
		asm.Add.Imm(asm.R1, head),
		asm.FnProbeReadKernel.Call(),
		asm.JNE.Imm(asm.R0, 0, "end"),
	)
	code = append(code, v.note(atDUT)...)
	return append(code, asm.Mov.Imm(asm.R0, 0).WithSymbol("end"), asm.Return()), nil // NF_DROP
}

// offsets are where members of a kernel struct are, in bytes.
func offsets(name string, members ...string) (out []int16, err error) {
	spec, err := btf.LoadKernelSpec()
	if err != nil {
		return nil, err
	}
	var s *btf.Struct
	if err := spec.TypeByName(name, &s); err != nil {
		return nil, err
	}
	for _, want := range members {
		at, ok := member(s.Members, want)
		if !ok {
			return nil, fmt.Errorf("struct %s: no member %s", name, want)
		}
		out = append(out, int16(at))
	}
	return out, nil
}

func member(list []btf.Member, name string) (uint32, bool) {
	for _, m := range list {
		if m.Name == name {
			return m.Offset.Bytes(), true
		}
		inner, isStruct := m.Type.(*btf.Struct)
		if union, ok := m.Type.(*btf.Union); ok && m.Name == "" {
			inner, isStruct = &btf.Struct{Members: union.Members}, true
		}
		if isStruct && m.Name == "" {
			if at, ok := member(inner.Members, name); ok {
				return m.Offset.Bytes() + at, true
			}
		}
	}
	return 0, false
}

// note counts the packet at head if it is ours, else it goes to the ring.
func (v *watch) note(at place) asm.Instructions {
	code := append(isOurs(), asm.JNE.Imm(asm.R0, 0, "answer"))
	code = append(code, v.count(at)...)
	return append(code,
		asm.Ja.Label("end"),
		asm.Mov.Imm(asm.R2, int32(at)).WithSymbol("answer"),
		asm.StoreMem(asm.RFP, record, asm.R2, asm.Word),
		asm.LoadMapPtr(asm.R1, v.ring.FD()),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, record),
		asm.Mov.Imm(asm.R3, 8+headBytes),
		asm.Mov.Imm(asm.R4, 0),
		asm.FnRingbufOutput.Call(),
	)
}

// isOurs puts the packet's number into number, and 0 into R0 if it is ours: TTLs of 63 and 64, 254 and 255 are those of the kernel's own
// packets and of answers, forwarded or not.
func isOurs() asm.Instructions {
	return asm.Instructions{
		asm.LoadMem(asm.R2, asm.RFP, head, asm.Byte),
		asm.RSh.Imm(asm.R2, 4),
		asm.JEq.Imm(asm.R2, 6, "six"),
		asm.LoadMem(asm.R3, asm.RFP, head+8, asm.Byte), // time to live
		asm.LoadMem(asm.R4, asm.RFP, head+4, asm.Half), // identification
		asm.HostTo(asm.BE, asm.R4, asm.Half),
		asm.Ja.Label("read"),
		asm.LoadMem(asm.R3, asm.RFP, head+7, asm.Byte).WithSymbol("six"), // hop limit
		asm.LoadMem(asm.R4, asm.RFP, head+2, asm.Half),                   // the lower bits of the flow label
		asm.HostTo(asm.BE, asm.R4, asm.Half),
		asm.Or.Imm(asm.R4, ids),
		asm.StoreMem(asm.RFP, number, asm.R4, asm.Word).WithSymbol("read"),
		asm.Mov.Imm(asm.R0, 1),
		asm.JEq.Imm(asm.R3, 63, "known"),
		asm.JEq.Imm(asm.R3, 64, "known"),
		asm.JEq.Imm(asm.R3, 254, "known"),
		asm.JEq.Imm(asm.R3, 255, "known"),
		asm.Mov.Imm(asm.R0, 0),
		asm.Mov.Imm(asm.R3, 0).WithSymbol("known"),
	}
}

// count adds one to a place of the packet's counter.
func (v *watch) count(at place) asm.Instructions {
	return asm.Instructions{
		asm.LoadMapPtr(asm.R1, v.counts.FD()),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, number),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, "end"),
		asm.Mov.Imm(asm.R2, 1<<(8*int32(at))),
		asm.StoreXAdd(asm.R0, asm.R2, asm.Word),
	}
}

// refill lets bpfwall answer every packet that it rejects: on the way in and out a program fills the token bucket of ICMP errors, which
// every generation has anew.
func (v *watch) refill(w *lab.World) error {
	bucket, err := errorBucket(w.DUT.Name)
	if err != nil || bucket == nil {
		return err
	}
	defer bucket.Close()
	prog, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.SchedCLS, License: "GPL", Instructions: asm.Instructions{
		asm.Mov.Imm(asm.R6, 0),
		asm.StoreMem(asm.RFP, -8, asm.R6, asm.DWord),
		asm.LoadMapPtr(asm.R1, bucket.FD()),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, -8),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, "end"),
		asm.StoreMem(asm.R0, 16, asm.R6, asm.DWord), // last: full again at the next look
		asm.Mov.Imm(asm.R0, -1).WithSymbol("end"),
		asm.Return(),
	}})
	if err != nil {
		return fmt.Errorf("refill: %w", err)
	}
	defer prog.Close()
	for _, l := range v.refills {
		if err := l.Update(prog); err != nil {
			return err
		}
	}
	if v.refills != nil {
		return nil
	}
	for _, name := range []string{"lan0", "wan0"} {
		for _, at := range []ebpf.AttachType{ebpf.AttachTCXIngress, ebpf.AttachTCXEgress} {
			l, err := v.tcx(w.DUT, name, at, prog)
			if err != nil {
				return err
			}
			v.refills = append(v.refills, l)
		}
	}
	return nil
}

// errorBucket is the map error_rate of the generation in force, by one of its programs: one that lets everything pass does not have it.
func errorBucket(name string) (*ebpf.Map, error) {
	m, err := bucketOf(name, "tc_ingress")
	if m == nil && err == nil {
		m, err = bucketOf(name, "tc_egress")
	}
	return m, err
}

func bucketOf(name, program string) (*ebpf.Map, error) {
	progs, err := filepath.Glob(filepath.Join("/sys/fs/bpf/bpfwall/netns", name, "progs/gen-*", program))
	if err != nil || len(progs) == 0 {
		return nil, fmt.Errorf("no program of bpfwall in %s: %w", name, err)
	}
	newest := slices.MaxFunc(progs, func(a, b string) int { return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b)) })
	prog, err := ebpf.LoadPinnedProgram(newest, nil)
	if err != nil {
		return nil, err
	}
	defer prog.Close()
	info, err := prog.Info()
	if err != nil {
		return nil, err
	}
	maps, _ := info.MapIDs()
	for _, id := range maps {
		m, err := ebpf.NewMapFromID(id)
		if err != nil {
			return nil, err
		}
		if i, err := m.Info(); err == nil && i.Name == "error_rate" {
			return m, nil
		}
		m.Close()
	}
	return nil, nil // nothing is rejected
}

// clear forgets what was seen.
func (v *watch) clear() error {
	_, err := v.memory.WriteAt(make([]byte, v.memory.Size()), 0)
	return errors.Join(err, v.answers(func(place, []byte) {}))
}

// seen is the counters.
func (v *watch) seen() ([]uint32, error) {
	b := make([]byte, v.memory.Size())
	if _, err := v.memory.ReadAt(b, 0); err != nil {
		return nil, err
	}
	out := make([]uint32, 2*ids)
	for i := range out {
		out[i] = binary.NativeEndian.Uint32(b[8*i:]) // the kernel rounds the size of an element up
	}
	return out, nil
}

// answers hands over the packets that are not ours, from the IP header on.
func (v *watch) answers(f func(at place, ip []byte)) error {
	v.reader.SetDeadline(time.Now())
	var r ringbuf.Record
	for {
		err := v.reader.ReadInto(&r)
		if err != nil {
			if errors.Is(err, unix.EINTR) || errors.Is(err, ringbuf.ErrClosed) {
				return err
			}
			return nil // no more
		}
		b := r.RawSample
		f(place(binary.NativeEndian.Uint32(b)), b[8:8+min(headBytes, binary.NativeEndian.Uint32(b[4:]))])
	}
}
