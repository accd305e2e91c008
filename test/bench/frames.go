package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/bpfwall/bpfwall/internal/lab"
)

// Frame is one contender in one scenario.
type Frame struct {
	Scenario, Contender string
	Rules               int
	Nanoseconds         float64 `json:",omitempty"` // median, a frame, sender and receiver included: all on one CPU
	Added               float64 `json:",omitempty"` // over no firewall, or over an XDP program that drops everything where Floor
	Floor               bool    `json:",omitempty"`
	Forwarded           float64 // share of the frames that arrived
	Proved              int     // frames whose verdict was compared with the rules before
	Not                 string  `json:",omitempty"` // why it was not measured
}

// course is a router between a sender and a receiver, and a contender on it.
type course struct {
	scenario  *scenario
	contender contender
	world     *lab.World
	sender    *ebpf.Program
	arrived   *ebpf.Map
	times     []float64
	sent, got uint64
	proved    int
	things    []io.Closer
}

// own has a thing closed with the course.
func (c *course) own(thing io.Closer) {
	c.things = append(c.things, thing)
}

const xdpDrop = 1 // XDP_DROP of linux/bpf.h

// measureFrames sends a scenario's frames through every contender, in turns, so that what else the machine does hits all alike.
func measureFrames(ctx context.Context, s *scenario, out []Frame) (_ []Frame, err error) {
	var courses []*course
	defer func() {
		for _, c := range courses {
			err = errors.Join(err, c.close())
		}
	}()
	for _, k := range append(besides(*beside), contenders...) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if !chosen(k) || k.raw && !s.floor || k.linear != 0 && s.size > k.linear {
			continue
		}
		c, err := newCourse(k, s)
		if c != nil {
			courses = append(courses, c)
		}
		if err != nil && k.optional && ctx.Err() == nil {
			out = append(out, Frame{Scenario: s.name, Rules: s.size, Contender: k.name, Not: err.Error()})
			courses = courses[:len(courses)-1]
			err = c.close()
		}
		if err != nil {
			return nil, fmt.Errorf("%s, %s: %w", k.name, s, err)
		}
	}
	for range *rounds {
		for _, c := range courses {
			if err := errors.Join(ctx.Err(), c.run()); err != nil {
				return nil, fmt.Errorf("%s, %s: %w", c.contender.name, s, err)
			}
		}
	}
	return append(out, results(s, courses)...), nil
}

// chosen reports whether a contender is among those that were asked for; what the others are measured from always is.
func chosen(k contender) bool {
	return *among == "" || k.name == nothing || k.name == dropAll || slices.Contains(strings.Split(*among, ";"), k.name)
}

// results are the courses' medians, over the one that the scenario is measured from.
func results(s *scenario, courses []*course) (out []Frame) {
	base := 0.0
	for _, c := range courses {
		f := Frame{Scenario: s.name, Rules: s.size, Contender: c.contender.name, Floor: s.floor, Nanoseconds: medianOf(c.times), Proved: c.proved}
		f.Forwarded = float64(c.got) / float64(c.sent)
		if c.contender.name == dropAll || c.contender.name == nothing && !s.floor {
			base = f.Nanoseconds
		}
		out = append(out, f)
	}
	for i := range out {
		out[i].Added = out[i].Nanoseconds - base
	}
	return out
}

func medianOf(v []float64) float64 {
	s := slices.Sorted(slices.Values(v))
	return s[len(s)/2]
}

// newCourse makes the network, the firewall in it, a program that sends and one that counts. A course with an error is to be
// closed too.
func newCourse(k contender, s *scenario) (c *course, err error) {
	c = &course{contender: k, scenario: s}
	if c.world, err = lab.New(lab.Options{Wires: true}); err != nil {
		return nil, err
	}
	// GRO gives a veth a receive queue of its own, which frames that XDP redirects need.
	if err := c.world.DUT.Offloads("lan0", true); err != nil {
		return c, err
	}
	if s.hook == "INPUT" {
		if err := c.world.DUT.EverythingLocal("lan0"); err != nil {
			return c, err
		}
	}
	if err := k.load(c); err != nil {
		return c, err
	}
	if err := c.prove(); err != nil {
		return c, err
	}
	if s.replied {
		if err := c.establish(); err != nil {
			return c, err
		}
	}
	if err := c.count(); err != nil {
		return c, fmt.Errorf("counting program: %w", err)
	}
	frames, err := newFeed(s.headers)
	if err != nil {
		return c, err
	}
	c.own(frames)
	return c, c.send(frames)
}

// count attaches a program to the receiver that counts frames and drops them.
func (c *course) count() (err error) {
	if c.arrived, err = ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: 1}); err != nil {
		return err
	}
	c.own(c.arrived)
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.XDP, License: "GPL", Instructions: asm.Instructions{
		asm.LoadMapValue(asm.R1, c.arrived.FD(), 0),
		asm.Mov.Imm(asm.R2, 1),
		asm.AddAtomic.Mem(asm.R1, asm.R2, asm.DWord, 0),
		asm.Mov.Imm(asm.R0, xdpDrop),
		asm.Return(),
	}})
	if err != nil {
		return err
	}
	defer p.Close()
	l, err := c.world.Server.Link("eth0")
	if err != nil {
		return err
	}
	return c.world.Server.Do(func() error {
		sink, err := link.AttachXDP(link.XDPOptions{Program: p, Interface: l.Attrs().Index})
		if err == nil {
			c.own(sink)
		}
		return err
	})
}

// send loads the program that sends: it writes the next frame over what the kernel hands to it, and redirects it out of the sender's
// interface.
func (c *course) send(frames *feed) error {
	l, err := c.world.Client.Link("eth0")
	if err != nil {
		return err
	}
	code := asm.Instructions{
		asm.LoadMem(asm.R6, asm.R1, 0, asm.Word), // xdp_md.data
		asm.LoadMem(asm.R7, asm.R1, 4, asm.Word), // xdp_md.data_end
	}
	code = append(code, frames.next("end")...)
	code = append(code,
		asm.Mov.Imm(asm.R1, int32(l.Attrs().Index)),
		asm.Mov.Imm(asm.R2, 0),
		asm.FnRedirect.Call(),
		asm.Return(),
		asm.Mov.Imm(asm.R0, xdpDrop).WithSymbol("end"),
		asm.Return(),
	)
	if c.sender, err = ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.XDP, License: "GPL", Instructions: code}); err != nil {
		return fmt.Errorf("sending program: %w", err)
	}
	c.own(c.sender)
	return nil
}

// onTheWay is how long the last frames take to be counted.
const onTheWay = 2 * time.Millisecond

// least and most frames are what one measurement sends.
const least, most = 1 << 10, 1 << 21

// run sends for some -seconds and notes the time a frame took. Sender, router and receiver share one CPU, so that is their sum.
func (c *course) run() error {
	return pinned(func() error {
		return c.world.Client.Do(func() error {
			first, err := timed[struct{}](c.sender, make([]byte, frameLength), nil, least, unix.BPF_F_TEST_XDP_LIVE_FRAMES) // to warm up, and to know how many
			if err != nil {
				return err
			}
			time.Sleep(onTheWay)
			arrived, received, err := c.counts()
			if err != nil {
				return err
			}
			n := uint32(min(most, max(least, *seconds*1e9/float64(first.Nanoseconds()+1))))
			took, err := timed[struct{}](c.sender, make([]byte, frameLength), nil, n, unix.BPF_F_TEST_XDP_LIVE_FRAMES)
			if err != nil {
				return err
			}
			time.Sleep(onTheWay)
			arrived2, received2, err := c.counts()
			if err != nil {
				return err
			}
			if received2-received != uint64(n) {
				return fmt.Errorf("the router got %d of %d frames", received2-received, n)
			}
			c.sent += received2 - received
			c.got += arrived2 - arrived
			c.times = append(c.times, float64(took.Nanoseconds()))
			note("%s, %s: %d ns, %d frames", c.contender.name, c.scenario, took.Nanoseconds(), n)
			return nil
		})
	})
}

// pinned runs f on the last CPU, and so urgently that others there hardly get to it.
func pinned(f func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var all, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		return err
	}
	one.Set(runtime.NumCPU() - 1)
	if err := unix.SchedSetaffinity(0, &one); err != nil {
		return err
	}
	defer func() { _ = unix.SchedSetaffinity(0, &all) }()
	if err := unix.Setpriority(unix.PRIO_PROCESS, 0, -20); err != nil { // of this thread only
		return err
	}
	defer func() { _ = unix.Setpriority(unix.PRIO_PROCESS, 0, 0) }()
	return f()
}

// counts are how many frames came to the receiver and to the router.
func (c *course) counts() (arrived, received uint64, err error) {
	if err = c.arrived.Lookup(uint32(0), &arrived); err != nil {
		return 0, 0, err
	}
	l, err := c.world.DUT.Link("lan0")
	if err != nil {
		return 0, 0, err
	}
	return arrived, l.Attrs().Statistics.RxPackets, nil
}

func (c *course) close() error {
	for _, t := range slices.Backward(c.things) {
		t.Close()
	}
	if c.world == nil {
		return nil
	}
	if err := c.world.Close(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
	}
	return nil
}
