package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/bpfwall/bpfwall/internal/classbench"
	"github.com/bpfwall/bpfwall/internal/lab"
	"github.com/bpfwall/bpfwall/ruleset"
)

// Program is what a packet of one kind of traffic costs in the attached programs.
type Program struct {
	Set         string // of rules
	Rules       int
	Hook        string // tc or XDP
	State       string // "", or what conntrack says of the packets where the rules ask for it
	Traffic     classbench.Traffic
	Nanoseconds float64 // median of a run, over a program that does nothing behind the same feed of frames
}

// bench is a router with rules, and a program for test runs: it takes a frame from a feed and calls what is attached.
type bench struct {
	world  *lab.World
	hook   hook
	index  uint32
	target *ebpf.Program
	things []io.Closer
}

// hook is where programs are attached.
type hook struct {
	name, pin         string
	kind              ebpf.ProgramType
	data, end         int16 // of the context
	pass, drop, flags uint32
	attach            ebpf.AttachType
	clear             []int16 // words of the context that a packet comes with empty
	unseal            asm.Instructions
}

var (
	tc  = hook{"tc", "ingress", ebpf.SchedCLS, 76, 80, ^uint32(0), 2, 0, 0, []int16{8, 44}, nil} // __sk_buff: mark and tc_index
	xdp = hook{"XDP", "xdp", ebpf.XDP, 0, 4, 2, 1, unix.BPF_F_XDP_HAS_FRAGS, ebpf.AttachXDP, nil, noMetadata}
)

// noMetadata takes away what the run before left in front of the frame: a test run does not.
var noMetadata = asm.Instructions{
	asm.LoadMem(asm.R2, asm.R1, 0, asm.Word), // xdp_md.data
	asm.LoadMem(asm.R3, asm.R1, 8, asm.Word), // xdp_md.data_meta
	asm.Sub.Reg(asm.R2, asm.R3),
	asm.FnXdpAdjustMeta.Call(),
}

// skBuff is struct __sk_buff of linux/bpf.h up to the last member that a test run may set here.
type skBuff struct {
	_       [10]uint32
	Ifindex uint32
	_       [37]uint32
}

// xdpMD is struct xdp_md.
type xdpMD struct{ Data, DataEnd, DataMeta, Ifindex, Queue, Egress uint32 }

// runs is how many runs are timed at once: few enough that a disturbance spoils one of many.
const runs = 1 << 16

// newBench puts rules in force on a router; nil rules are no firewall at all.
func newBench(h hook, text string) (b *bench, err error) {
	b = &bench{hook: h}
	if b.world, err = lab.New(lab.Options{Wires: true}); err != nil {
		return nil, err
	}
	if err := b.world.DUT.EverythingLocal("lan0"); err != nil {
		return b, err
	}
	l, err := b.world.DUT.Link("lan0")
	if err != nil {
		return b, err
	}
	b.index = uint32(l.Attrs().Index)
	mode := "off"
	if h.name == xdp.name {
		mode = "native"
	}
	if err := apply(b.world.DUT, text, mode); err != nil {
		return b, err
	}
	b.target, err = attached(b.world.DUT, b.index, h.pin)
	if err == nil {
		b.things = append(b.things, b.target)
	}
	return b, err
}

// attached is the program at a hook of an interface of the namespace.
func attached(n *lab.NS, index uint32, pin string) (*ebpf.Program, error) {
	at, err := link.LoadPinnedLink(filepath.Join("/sys/fs/bpf/bpfwall/netns", n.Name, "links", fmt.Sprintf("%d-%s", index, pin)), nil)
	if err != nil {
		return nil, err
	}
	defer at.Close()
	info, err := at.Info()
	if err != nil {
		return nil, err
	}
	return ebpf.NewProgramFromID(info.Program)
}

func (b *bench) close() {
	for _, t := range b.things {
		t.Close()
	}
	if b.world != nil {
		b.world.Close()
	}
}

// driver is a program that takes the next frame and calls a target; nil stands for one that does nothing.
func (b *bench) driver(f *feed, target *ebpf.Program) (*ebpf.Program, error) {
	h := b.hook
	if target == nil {
		var err error
		target, err = ebpf.NewProgram(&ebpf.ProgramSpec{Type: h.kind, Flags: h.flags, AttachType: h.attach, License: "GPL", Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 0), asm.Return()}})
		if err != nil {
			return nil, err
		}
		defer target.Close()
	}
	calls, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.ProgramArray, KeySize: 4, ValueSize: 4, MaxEntries: 1})
	if err != nil {
		return nil, err
	}
	b.things = append(b.things, calls)
	code := append(asm.Instructions{asm.Mov.Reg(asm.R8, asm.R1)}, h.unseal...)
	code = append(code, asm.LoadMem(asm.R6, asm.R8, h.data, asm.Word), asm.LoadMem(asm.R7, asm.R8, h.end, asm.Word))
	code = append(code, f.next("end")...)
	for _, word := range h.clear {
		code = append(code, asm.Mov.Imm(asm.R1, 0), asm.StoreMem(asm.R8, word, asm.R1, asm.Word))
	}
	code = append(code,
		asm.Mov.Reg(asm.R1, asm.R8),
		asm.LoadMapPtr(asm.R2, calls.FD()),
		asm.Mov.Imm(asm.R3, 0),
		asm.FnTailCall.Call(),
		asm.Mov.Imm(asm.R0, missed).WithSymbol("end"),
		asm.Return(),
	)
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: h.kind, Flags: h.flags, AttachType: h.attach, License: "GPL", Instructions: code})
	if err != nil {
		return nil, err
	}
	b.things = append(b.things, p)
	if err := calls.Put(uint32(0), target); err != nil {
		return nil, fmt.Errorf("calling the attached program: %w", err)
	}
	return p, nil
}

// missed is what a driver returns that could not call its target.
const missed = 99

// any4 is a frame that comes before the feed's: the kernel makes an skb for the router of it, for IPv4.
var any4 = frame(classbench.Header{Proto: 17, SrcPort: 1, DstPort: 1, TCPFlags: ruleset.Absent})

// options are those of a test run over the router's inner interface.
func (b *bench) options(n uint32) *ebpf.RunOptions {
	o := &ebpf.RunOptions{Data: any4, DataOut: make([]byte, 4*frameLength), Repeat: n, Context: &skBuff{Ifindex: b.index}}
	if b.hook.name == xdp.name {
		o.Context = &xdpMD{DataEnd: frameLength, Ifindex: b.index}
	}
	return o
}

// timed is the mean time of many runs.
func (b *bench) timed(p *ebpf.Program) (time.Duration, error) {
	if b.hook.name == xdp.name {
		return timed(p, any4, &xdpMD{DataEnd: frameLength, Ifindex: b.index}, runs, 0)
	}
	return timed(p, any4, &skBuff{Ifindex: b.index}, runs, 0)
}

// time is the median time of a run of a program, ns.
func (b *bench) time(p *ebpf.Program) (ns float64, err error) {
	var times []float64
	err = pinned(func() error {
		return b.world.DUT.Do(func() error {
			for range 1 + 2**rounds {
				took, err := b.timed(p)
				if err != nil {
					return err
				}
				times = append(times, float64(took.Nanoseconds()))
			}
			return nil
		})
	})
	if err != nil {
		return 0, err
	}
	return medianOf(times[1:]), nil // the first one fills caches
}

// prove runs frames one by one and compares with what the rules say.
func (b *bench) prove(p *ebpf.Program, f *feed, s *scenario) error {
	return b.world.DUT.Do(func() error {
		for _, h := range s.headers[:min(256, len(s.headers))] {
			got, err := p.Run(b.options(1))
			if err != nil {
				return err
			}
			if want := s.verdict(h, false); got != b.hook.pass && got != b.hook.drop || want != (got == b.hook.pass) {
				return fmt.Errorf("%+v: the program returned %d, the rules say %t", h, got, want)
			}
		}
		return f.rewind()
	})
}

// reply has every flow that the rules accept answered, after each has been run once.
func (b *bench) reply(p *ebpf.Program, s *scenario) error {
	err := b.world.DUT.Do(func() error {
		_, err := p.Run(b.options(uint32(len(s.headers))))
		return err
	})
	if err != nil {
		return err
	}
	local, err := b.world.DUT.OpenLocal()
	if err != nil {
		return err
	}
	defer local.Close()
	for _, h := range s.headers {
		if !s.verdict(h, false) {
			continue
		}
		a := answer(h)
		if err := local.Send(a.IP()); err != nil {
			return err
		}
	}
	return nil
}

// measureTraffic is the cost of a kind of traffic.
func (b *bench) measureTraffic(s *scenario, replied bool) (float64, error) {
	f, err := newFeed(s.headers)
	if err != nil {
		return 0, err
	}
	b.things = append(b.things, f)
	null, err := b.driver(f, nil)
	if err != nil {
		return 0, err
	}
	full, err := b.driver(f, b.target)
	if err != nil {
		return 0, err
	}
	if err := b.prove(full, f, s); err != nil {
		return 0, err
	}
	if replied {
		if err := b.reply(full, s); err != nil {
			return 0, err
		}
	}
	floor, err := b.time(null)
	if err != nil {
		return 0, err
	}
	ns, err := b.time(full)
	return ns - floor, err
}

// measureProgram measures a ruleset with several kinds of traffic.
func measureProgram(ctx context.Context, h hook, state string, s *scenario, kinds map[classbench.Traffic][]classbench.Header) (out []Program, err error) {
	in := *s
	in.hook = "INPUT"
	if state != "" && (len(in.rules) == 0 || in.rules[0].state == "") {
		in.rules = append([]rule{{Filter: every(), state: "ESTABLISHED", accept: true}}, in.rules...)
	}
	text := in.iptables()
	if h.name == xdp.name {
		text = in.raw()
	}
	b, err := newBench(h, text)
	if b != nil {
		defer b.close()
	}
	if err != nil {
		return nil, fmt.Errorf("%s at %s: %w", s, h.name, err)
	}
	for _, kind := range classbench.Kinds {
		if kinds[kind] == nil {
			continue
		}
		in.headers = kinds[kind]
		ns, err := b.measureTraffic(&in, state == "established")
		if err = errors.Join(err, ctx.Err()); err != nil {
			return nil, fmt.Errorf("%s at %s, %s traffic: %w", s, h.name, kind, err)
		}
		out = append(out, Program{Set: s.name, Rules: s.size, Hook: h.name, State: state, Traffic: kind, Nanoseconds: ns})
	}
	return out, nil
}
