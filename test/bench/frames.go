package main

import (
	"encoding/binary"
	"fmt"
	"os"
	"runtime"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/bpfwall/bpfwall/internal/lab"
)

// frameResult is one engine with one ruleset.
type frameResult struct {
	Engine, Shape   string
	Nanoseconds     float64 // median, for a frame from sender to receiver on one CPU
	FramesPerSecond float64
	Ratio           float64 // of Nanoseconds to the engine "none"
	Forwarded       float64 // share of the frames that arrived
}

// course is a router between a sender and a receiver.
type course struct {
	engine, shape string
	world         *lab.World
	sender        *ebpf.Program
	arrived       *ebpf.Map
	sink          link.Link
	times         []float64
	sent, got     uint64
	dropper       *ebpf.Program          // what drops the frames of measureGuards
	counter       func() (uint64, error) // of arrived frames; nil: arrived
}

// measureFrames sends frames through every engine with every ruleset, in turns.
func measureFrames() (out []frameResult, err error) {
	var courses []*course
	defer func() {
		for _, c := range courses {
			c.close()
		}
	}()
	for _, s := range []shape{{10, mixed, false}, {100, mixed, false}, {1000, mixed, false}, {1000, alike, false}, {100, mixed, true}} {
		for _, e := range engines {
			c, err := newCourse(e, s)
			if c != nil {
				courses = append(courses, c)
			}
			if err != nil {
				return nil, fmt.Errorf("%s, %s: %w", e.name, s, err)
			}
		}
	}
	for range *rounds {
		for _, c := range courses {
			if err := c.run(); err != nil {
				return nil, fmt.Errorf("%s, %s: %w", c.engine, c.shape, err)
			}
		}
	}
	base := map[string]float64{}
	for _, c := range courses {
		r := c.result()
		if c.engine == "none" {
			base[c.shape] = r.Nanoseconds
		}
		r.Ratio = r.Nanoseconds / base[c.shape]
		out = append(out, r)
	}
	return out, nil
}

// newCourse makes the network, the firewall in it, a program that sends and one that counts. A course with an error is to be
// closed too.
func newCourse(e engine, s shape) (c *course, err error) {
	c = &course{engine: e.name, shape: s.String()}
	if c.world, err = lab.New(lab.Options{Wires: true}); err != nil {
		return nil, err
	}
	if err := e.load(c.world.DUT, s); err != nil {
		return c, err
	}
	// GRO gives a veth a receive queue of its own, which frames that XDP redirects need.
	if err := c.world.DUT.Offloads("lan0", true); err != nil {
		return c, err
	}
	if err := c.count(); err != nil {
		return c, fmt.Errorf("counting program: %w", err)
	}
	return c, c.send(s)
}

// count attaches a program to the receiver that counts frames and drops them.
func (c *course) count() (err error) {
	if c.arrived, err = ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: 1}); err != nil {
		return err
	}
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
		c.sink, err = link.AttachXDP(link.XDPOptions{Program: p, Interface: l.Attrs().Index})
		return err
	})
}

const xdpDrop = 1 // XDP_DROP of linux/bpf.h

// send loads the program that sends: it writes the frame anew, for the kernel uses a page again and a router changes what is in it, and
// redirects it out of the sender's interface.
func (c *course) send(s shape) error {
	l, err := c.world.Client.Link("eth0")
	if err != nil {
		return err
	}
	frame := packet.Frame()
	code := asm.Instructions{
		asm.LoadMem(asm.R2, asm.R1, 0, asm.Word), // xdp_md.data
		asm.LoadMem(asm.R3, asm.R1, 4, asm.Word), // xdp_md.data_end
		asm.Mov.Reg(asm.R4, asm.R2),
		asm.Add.Imm(asm.R4, int32(len(frame))),
		asm.JGT.Reg(asm.R4, asm.R3, "end"),
	}
	for at := 0; at < len(frame); at += 4 {
		code = append(code, asm.StoreImm(asm.R2, int16(at), int64(int32(binary.NativeEndian.Uint32(frame[at:]))), asm.Word))
	}
	code = append(code,
		asm.Mov.Imm(asm.R1, int32(l.Attrs().Index)),
		asm.Mov.Imm(asm.R2, 0),
		asm.FnRedirect.Call(),
		asm.Return(),
		asm.Mov.Imm(asm.R0, xdpDrop).WithSymbol("end"),
		asm.Return(),
	)
	c.sender, err = ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.XDP, License: "GPL", Instructions: code})
	if err != nil {
		return fmt.Errorf("sending program: %w", err)
	}
	if s.stateful {
		return c.establish()
	}
	return nil
}

// packet is what is sent: 64 bytes.
var packet = lab.Packet{SrcMAC: lab.LAN.FarMAC, DstMAC: lab.LAN.DUTMAC, Src: lab.LAN.Far4.Addr(), Dst: lab.WAN.Far4.Addr(), TTL: 64,
	Proto: unix.IPPROTO_UDP, SrcPort: 5001, DstPort: 9, Payload: make([]byte, 22)}

// establish has the other side answer one packet.
func (c *course) establish() error {
	answer := packet
	answer.SrcMAC, answer.DstMAC, answer.Src, answer.Dst = lab.WAN.FarMAC, lab.WAN.DUTMAC, packet.Dst, packet.Src
	answer.SrcPort, answer.DstPort = packet.DstPort, packet.SrcPort
	for _, way := range []struct {
		from *lab.NS
		p    lab.Packet
	}{{c.world.Client, packet}, {c.world.Server, answer}} {
		port, err := way.from.OpenPort("eth0")
		if err != nil {
			return err
		}
		err = port.Send(way.p.Frame())
		port.Close()
		if err != nil {
			return err
		}
		time.Sleep(10 * time.Millisecond)
	}
	return nil
}

// burst is how many frames one system call sends.
const burst = 1 << 14

// run sends for -seconds and notes the time a frame took. Sender, router and receiver share one CPU, so that is their sum.
func (c *course) run() error {
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
	return c.world.Client.Do(func() error {
		opts := &ebpf.RunOptions{Data: packet.Frame(), Repeat: burst, Flags: unix.BPF_F_TEST_XDP_LIVE_FRAMES}
		if _, err := c.sender.Run(opts); err != nil { // warm up
			return err
		}
		before, err := c.count64()
		if err != nil {
			return err
		}
		var sent uint64
		start := time.Now()
		for time.Since(start).Seconds() < *seconds {
			if _, err := c.sender.Run(opts); err != nil {
				return err
			}
			sent += burst
		}
		took := time.Since(start)
		time.Sleep(5 * time.Millisecond)
		after, err := c.count64()
		if err != nil {
			return err
		}
		c.sent += sent
		c.got += after - before
		if after > before {
			c.times = append(c.times, float64(took.Nanoseconds())/float64(after-before))
		}
		return nil
	})
}

func (c *course) count64() (n uint64, err error) {
	if c.counter != nil {
		return c.counter()
	}
	err = c.arrived.Lookup(uint32(0), &n)
	return n, err
}

func (c *course) result() frameResult {
	r := frameResult{Engine: c.engine, Shape: c.shape}
	if len(c.times) == 0 {
		return r
	}
	slices.Sort(c.times)
	r.Nanoseconds = c.times[len(c.times)/2]
	r.FramesPerSecond = 1e9 / r.Nanoseconds
	r.Forwarded = float64(c.got) / float64(c.sent)
	return r
}

func (c *course) close() {
	if c.sink != nil {
		c.sink.Close()
	}
	if c.dropper != nil {
		c.dropper.Close()
	}
	if c.sender != nil {
		c.sender.Close()
	}
	if c.arrived != nil {
		c.arrived.Close()
	}
	if err := c.world.Close(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
	}
}

func printFrames(results []frameResult) {
	fmt.Printf("\n64-byte frames through a router, sender and receiver on its CPU (median of %d times %.1f s, in turns)\n\n", *rounds, *seconds)
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "rules\tfirewall\tns/frame\tframes/s\tratio to none\tforwarded\t")
	for _, r := range results {
		fmt.Fprintf(w, "%s\t%s\t%.0f\t%.0f\t%.2f\t%.1f %%\t\n", r.Shape, r.Engine, r.Nanoseconds, r.FramesPerSecond, r.Ratio, 100*r.Forwarded)
	}
	w.Flush()
}
