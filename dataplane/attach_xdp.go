package dataplane

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/bpfwall/bpfwall/bpf"
)

// XDP says whether prerouting rules are judged in XDP.
type XDP string

// The choices.
const (
	XDPAuto    XDP = ""        // where the driver runs programs on what it receives, before it makes an skb of it
	XDPOff     XDP = "off"     // nowhere
	XDPNative  XDP = "native"  // wherever the driver runs programs: on veths, too
	XDPGeneric XDP = "generic" // where the driver does not, too: the kernel then runs them on the skb, which saves little
)

// XDPs are the choices that have a name.
var XDPs = []XDP{XDPOff, XDPNative, XDPGeneric}

const (
	xdpDispatcher = "xdp_dispatch" // stands in XDP
	xdpProgram    = "xdp_ingress"  // judges there
)

// The hooks of XDP. An interface has one of them.
const (
	xdpNative  direction = "xdp"
	xdpGeneric direction = "xdp-generic"
)

func newXDP(at layout) linked {
	attach := func(flags link.XDPAttachFlags) func(hook, *ebpf.Program) (link.Link, error) {
		return func(h hook, p *ebpf.Program) (link.Link, error) {
			return link.AttachXDP(link.XDPOptions{Interface: h.ifindex, Program: p, Flags: flags})
		}
	}
	return linked{
		at: at,
		dirs: map[direction]func(hook, *ebpf.Program) (link.Link, error){
			xdpNative: attach(link.XDPDriverMode), xdpGeneric: attach(link.XDPGenericMode),
		},
		ifindex: func(i *link.Info) uint32 {
			if x := i.XDP(); x != nil {
				return x.Ifindex
			}
			return 0
		},
	}
}

// attachXDP attaches dispatchers in XDP where the prerouting rules can be judged there, and notes why not where they cannot: tc ingress
// judges them then. Nothing here fails the change. A generation's own XDP program only runs from the flip on.
func (t *transaction) attachXDP() error {
	t.inXDP = map[hook]bool{}
	if !t.next.judgesInXDP() {
		return nil
	}
	t.next.XDP = map[string]string{}
	disp, err := t.xdpDispatcher()
	if err != nil {
		t.next.NoXDP = fmt.Sprintf("the kernel refused the dispatcher: %s", err)
		return t.d.at.rewriteMeta(t.next)
	}
	for _, i := range t.ifaces {
		why := i.noXDP(t.opts.XDP)
		if why == "" {
			why = t.attachXDPTo(i, disp)
		}
		t.next.XDP[i.name] = why
	}
	return t.d.at.rewriteMeta(t.next)
}

// attachXDPTo reports why it could not.
func (t *transaction) attachXDPTo(i iface, disp *ebpf.Program) string {
	h := hook{i.index, xdpNative}
	err := t.attachOneXDP(h, disp)
	if t.opts.XDP == XDPGeneric && errors.Is(err, unix.EOPNOTSUPP) {
		h.dir = xdpGeneric
		err = t.attachOneXDP(h, disp)
	}
	if err != nil {
		why := i.xdpRefusal(err)
		if !errors.Is(err, unix.EOPNOTSUPP) {
			t.warn("interface %q: no XDP: %s; tc judges prerouting rules there", i.name, why)
		}
		return why
	}
	t.inXDP[h] = true
	return ""
}

func (t *transaction) xdpDispatcher() (*ebpf.Program, error) {
	spec, err := bpf.LoadDispatcher()
	if err != nil {
		return nil, err
	}
	spec.Programs = map[string]*ebpf.ProgramSpec{xdpDispatcher: spec.Programs[xdpDispatcher]}
	coll, err := load(spec, among(t.dispatch, spec))
	if err != nil {
		return nil, err
	}
	t.atEnd(func() error { coll.Close(); return nil })
	return coll.Programs[xdpDispatcher], nil
}

func (t *transaction) attachOneXDP(h hook, disp *ebpf.Program) error {
	a := newXDP(t.d.at)
	all, err := a.attached()
	if err != nil {
		return err
	}
	other := hook{h.ifindex, xdpNative}
	if h.dir == xdpNative {
		other.dir = xdpGeneric
	}
	if all[other] != nil {
		_ = a.detach(other) // one program an interface; tc judges meanwhile
	}
	return t.attachTo(a, h, disp, all[h])
}

// xdpRefusal says what the kernel meant.
func (i iface) xdpRefusal(err error) string {
	switch {
	case errors.Is(err, unix.EBUSY) || errors.Is(err, unix.EEXIST):
		return "another XDP program is attached (" + xdpName(i.xdp) + ")"
	case errors.Is(err, unix.EOPNOTSUPP) && i.kind == "bond":
		return "no native XDP: a port's driver has none, a port has a program of its own, or the bond's mode is none that has it (balance-rr, active-backup, balance-xor, 802.3ad)"
	case errors.Is(err, unix.EOPNOTSUPP):
		return "no native XDP: " + i.kindName()
	case errors.Is(err, unix.ERANGE):
		return fmt.Sprintf("the driver has no XDP at an MTU of %d", i.mtu)
	case errors.Is(err, unix.EINVAL):
		return fmt.Sprintf("the driver refuses XDP, with an MTU of %d and as its queues are set up", i.mtu)
	}
	return err.Error()
}

// noXDP says what stands against XDP on an interface, before its driver is asked; "" if nothing does.
func (i iface) noXDP(x XDP) string {
	switch {
	case i.kind == "veth" && x == XDPAuto:
		return "a veth's frames are skbs already, which XDP copies (--xdp native: do it all the same)"
	case i.loopback:
		return "no native XDP: loopback"
	case i.l2 == 0:
		return "its frames have no Ethernet header"
	case i.kind == "team":
		return "the program would run on the ports of the team"
	case i.kind == "bond" && len(i.ports) == 0:
		return "the bond has no ports yet"
	case i.vlan != "" && i.kind == "veth":
		return fmt.Sprintf("XDP does not see which frames are of VLAN %s", i.vlan)
	case i.vlan != "" && stripsVLANs(i.name):
		return fmt.Sprintf("XDP does not see which frames are of VLAN %s; it does after: ethtool -K %s rxvlan off", i.vlan, i.name)
	}
	for _, port := range i.ports { // the kernel runs the program of a bond there
		if why := port.noXDP(x); why != "" {
			return "port " + port.name + ": " + why
		}
	}
	return ""
}

func (i iface) kindName() string {
	if i.kind == "device" {
		return "this driver has none"
	}
	return "a virtual device (" + i.kind + ")"
}

// xdpName is what is known of somebody else's program.
func xdpName(id uint32) string {
	text := fmt.Sprintf("id %d", id)
	p, err := ebpf.NewProgramFromID(ebpf.ProgramID(id))
	if err != nil {
		return text
	}
	defer p.Close()
	info, err := p.Info()
	if err != nil || info.Name == "" {
		return text
	}
	if info.Name == "xdp_dispatcher" {
		return text + ", libxdp's dispatcher"
	}
	return fmt.Sprintf("%s, %q", text, info.Name)
}
