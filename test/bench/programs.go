package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/bpfwall/bpfwall/internal/lab"
)

// programResult is the cost of one kind of packet in one program.
type programResult struct {
	Shape, Packet string
	Nanoseconds   float64 // median of a run, without what a program that does nothing takes
}

// packets are the kinds that a program is measured with: the first one opens a connection, and where replied is set the other end
// answers before the measurement.
var packets = []struct {
	name    string
	port    uint16
	replied bool
}{{"new", 5001, false}, {"established", 5002, true}}

// skBuff is struct __sk_buff of linux/bpf.h up to the last member that a test run may set here.
type skBuff struct {
	_       [10]uint32
	Ifindex uint32
	_       [37]uint32
}

// measurePrograms runs what is attached at the router's inner interface over packets for the router itself.
func measurePrograms() ([]programResult, error) {
	bare, err := bareTime()
	if err != nil {
		return nil, err
	}
	out := []programResult{{"a program that does nothing", "any", bare}}
	for _, s := range []shape{{0, mixed, true}, {10, mixed, true}, {100, mixed, true}, {1000, mixed, true}, {1000, alike, true}, {10, mixed, false}, {100, mixed, false}, {1000, mixed, false}} {
		results, err := measureShape(s, bare)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s, err)
		}
		out = append(out, results...)
	}
	return out, nil
}

func measureShape(s shape, bare float64) (out []programResult, err error) {
	w, err := lab.New(lab.Options{Wires: true})
	if err != nil {
		return nil, err
	}
	defer w.Close()
	if err := apply(w.DUT, s); err != nil {
		return nil, err
	}
	for _, p := range packets {
		if p.replied && !s.stateful {
			continue
		}
		r, err := measurePacket(w, p.port, p.replied)
		if err != nil {
			return nil, err
		}
		r.Shape, r.Packet, r.Nanoseconds = s.String(), p.name, r.Nanoseconds-bare
		out = append(out, r)
	}
	return out, nil
}

func measurePacket(w *lab.World, port uint16, replied bool) (r programResult, err error) {
	ingress, index, err := attached(w.DUT, "lan0", "ingress")
	if err != nil {
		return r, err
	}
	defer ingress.Close()
	request := lab.Packet{SrcMAC: lab.LAN.FarMAC, DstMAC: lab.LAN.DUTMAC, Src: lab.LAN.Far4.Addr(), Dst: lab.LAN.DUT4.Addr(), TTL: 64,
		Proto: unix.IPPROTO_UDP, SrcPort: port, DstPort: 9, Payload: make([]byte, 18)}
	frame := request.Frame()
	err = w.DUT.Do(func() error {
		if replied {
			if err := reply(w.DUT, ingress, index, frame, port); err != nil {
				return err
			}
		}
		r.Nanoseconds, err = median(ingress, frame, index)
		return err
	})
	return r, err
}

// reply has the connection of the frame answered, so that it is established.
func reply(n *lab.NS, ingress *ebpf.Program, index uint32, frame []byte, port uint16) error {
	if _, err := ingress.Run(&ebpf.RunOptions{Data: frame, Context: &skBuff{Ifindex: index}}); err != nil {
		return err
	}
	l, err := n.OpenLocal()
	if err != nil {
		return err
	}
	defer l.Close()
	answer := lab.Packet{Src: lab.LAN.DUT4.Addr(), Dst: lab.LAN.Far4.Addr(), TTL: 64, Proto: unix.IPPROTO_UDP, SrcPort: 9, DstPort: port}
	return l.Send(answer.IP())
}

// attached is the program at a hook of an interface of the namespace.
func attached(n *lab.NS, iface, direction string) (*ebpf.Program, uint32, error) {
	l, err := n.Link(iface)
	if err != nil {
		return nil, 0, err
	}
	index := uint32(l.Attrs().Index)
	pin := filepath.Join("/sys/fs/bpf/bpfwall/netns", n.Name, "links", fmt.Sprintf("%d-%s", index, direction))
	hook, err := link.LoadPinnedLink(pin, nil)
	if err != nil {
		return nil, 0, err
	}
	defer hook.Close()
	info, err := hook.Info()
	if err != nil {
		return nil, 0, err
	}
	p, err := ebpf.NewProgramFromID(info.Program)
	return p, index, err
}

func bareTime() (float64, error) {
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.SchedCLS, License: "GPL",
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, -1), asm.Return()}})
	if err != nil {
		return 0, err
	}
	defer p.Close()
	ns, err := median(p, make([]byte, 64), 1)
	return ns, err
}

// chunk is how many runs are timed at once: few enough that a disturbance spoils one of many.
const chunk = 100_000

// median runs a program over a frame -rounds times -repeat times: the median time of a run.
func median(p *ebpf.Program, frame []byte, ifindex uint32) (ns float64, err error) {
	opts := &ebpf.RunOptions{Data: frame, Repeat: chunk}
	if ifindex > 1 {
		opts.Context = &skBuff{Ifindex: ifindex}
	}
	var times []float64
	for range max(1, *rounds**repeat/chunk) {
		start := time.Now()
		if _, err = p.Run(opts); err != nil {
			return 0, err
		}
		times = append(times, float64(time.Since(start).Nanoseconds())/chunk)
	}
	slices.Sort(times)
	return times[len(times)/2], nil
}

func printPrograms(results []programResult) {
	fmt.Printf("\nOne run of the attached program over a packet for the router, ns (median of %d times %d runs; beyond the first line, less the first line)\n\n", *rounds, *repeat)
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "rules\tpacket\tns\t")
	for _, r := range results {
		fmt.Fprintf(w, "%s\t%s\t%.0f\t\n", r.Shape, r.Packet, r.Nanoseconds)
	}
	w.Flush()
}
