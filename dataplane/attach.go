package dataplane

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/bpfwall/bpfwall/bpf"
)

// Mode is how dispatchers are attached.
type Mode string

// The modes.
const (
	ModeAuto   Mode = ""       // tcx where the kernel has it
	ModeTCX    Mode = "tcx"    // links, Linux 6.6 and later
	ModeClsact Mode = "clsact" // filters of a clsact qdisc
)

// direction is one of the hooks that an interface has: these two, and in XDP those of attach_xdp.go.
type direction string

const (
	ingress direction = "ingress"
	egress  direction = "egress"
)

// hook is a place that a dispatcher is attached to.
type hook struct {
	ifindex int
	dir     direction
}

// iface is a network interface.
type iface struct {
	index    int
	name     string
	l2       uint32 // bytes in front of the IP header
	enslaved string // "bridge br0", "" if it is its own

	kind     string // as `ip -d link` names it: "device", "veth", "bond" …
	loopback bool
	mac      [6]byte
	mtu      int
	vlan     string  // name of a VLAN's interface on top of it; "": none
	xdp      uint32  // id of the XDP program that is attached; 0: none
	bond     int     // index of the bond that it is a port of; 0: none
	ports    []iface // of a bond
}

// attacher attaches programs to hooks: attach_link.go, attach_xdp.go and attach_clsact.go.
type attacher interface {
	// attach puts a program on a hook, or in the place of the one that it put there before.
	attach(h hook, p *ebpf.Program) error
	detach(h hook) error
	// attached are the hooks that it was used on, with their programs; nil where the program is not attached any more.
	attached() (map[hook]*ebpf.ProgramInfo, error)
}

// interfaces lists those of this namespace.
func interfaces() ([]iface, error) {
	links, err := dump(netlink.LinkList)
	if err != nil {
		return nil, fmt.Errorf("interfaces: %w", errKernel(err))
	}
	masters, vlans := map[int]netlink.Link{}, map[int]string{}
	for _, l := range links {
		masters[l.Attrs().Index] = l
		if l.Type() == "vlan" {
			vlans[l.Attrs().ParentIndex] = l.Attrs().Name
		}
	}
	var all []iface
	for _, l := range links {
		a := l.Attrs()
		i := iface{
			index: a.Index, name: a.Name, l2: l2Length(a.EncapType), kind: l.Type(), loopback: a.EncapType == "loopback", mtu: a.MTU, vlan: vlans[a.Index],
		}
		copy(i.mac[:], a.HardwareAddr)
		if a.Xdp != nil {
			i.xdp = a.Xdp.ProgId
		}
		if m := masters[a.MasterIndex]; m != nil && slices.Contains(switching, m.Type()) {
			i.enslaved = m.Type() + " " + m.Attrs().Name
		}
		if m := masters[a.MasterIndex]; m != nil && m.Type() == "bond" {
			i.bond = m.Attrs().Index
		}
		all = append(all, i)
	}
	for n := range all {
		all[n].ports = portsOf(all, all[n].index)
	}
	return all, nil
}

// portsOf are the ports of a bond.
func portsOf(all []iface, bond int) (ports []iface) {
	for _, i := range all {
		if i.bond == bond {
			ports = append(ports, i)
		}
	}
	return ports
}

// switching are the kinds of interface whose ports are not judged: a frame is judged at the interface that the ports belong to.
var switching = []string{"bridge", "bond", "team"}

// l2Length is what stands in front of the IP header, by link type (ARPHRD_*).
func l2Length(encap string) uint32 {
	if encap == "ether" || encap == "loopback" {
		return 14
	}
	return 0
}

// wanted are the interfaces to be judged: those of these names, or all that are no ports of another one.
func wanted(names []string) ([]iface, error) {
	all, err := interfaces()
	if err != nil {
		return nil, err
	}
	free := slices.DeleteFunc(slices.Clone(all), func(i iface) bool { return i.enslaved != "" })
	if len(names) == 0 {
		return free, nil
	}
	var out []iface
	for _, name := range names {
		n := slices.IndexFunc(all, func(i iface) bool { return i.name == name })
		switch {
		case n < 0:
			return nil, &MissingInterfaceError{Name: name, Have: namesOf(free)}
		case all[n].enslaved != "":
			return nil, &MissingInterfaceError{Name: name, Have: namesOf(free),
				Why: fmt.Sprintf("a port of %s; name that one instead", all[n].enslaved)}
		}
		out = append(out, all[n])
	}
	return out, nil
}

func namesOf(ifaces []iface) []string {
	var names []string
	for _, i := range ifaces {
		names = append(names, i.name)
	}
	return names
}

// hooks are those of every interface where the next generation has something to decide.
func (t *transaction) hooks() map[hook]iface {
	all := map[hook]iface{}
	for _, i := range t.ifaces {
		for _, dir := range both {
			if !t.next.idle(dir) {
				all[hook{i.index, dir}] = i
			}
		}
	}
	return all
}

// attachMissing attaches dispatchers where there are none yet.
func (t *transaction) attachMissing() error {
	disp := newDispatchers(t.dispatch)
	t.atEnd(disp.close)
	mode := t.opts.Mode
	if mode == ModeAuto {
		mode = ModeTCX
	}
	t.attachWatch()
	t.attachNotes()
	if err := t.attachConnect(); err != nil {
		return err
	}
	if err := t.attachListen(); err != nil {
		return err
	}
	err := t.attachAs(mode, disp)
	if t.opts.Mode == ModeAuto && errors.Is(err, ebpf.ErrNotSupported) {
		return t.attachAs(ModeClsact, disp)
	}
	if errors.Is(err, ebpf.ErrNotSupported) {
		return &UnsupportedError{Feature: "tcx", Kernel: "6.6", Running: kernelRelease()}
	}
	return err
}

func (t *transaction) attachAs(mode Mode, disp *dispatchers) error {
	t.attacher, t.mode = t.d.attachers()[mode], mode
	if t.attacher == nil {
		return fmt.Errorf("mode %q: unknown; there are %q and %q", mode, ModeTCX, ModeClsact)
	}
	has, err := t.attacher.attached()
	if err != nil {
		return err
	}
	t.result.Hooks = nil
	for h, i := range t.hooks() {
		err := t.attachOne(h, disp, i.l2, has[h])
		if errors.Is(err, unix.ENODEV) && len(t.opts.Interfaces) == 0 {
			continue // gone since it was listed
		}
		if err != nil {
			return fmt.Errorf("interface %q: %s: %w", i.name, h.dir, errKernelKeep(err))
		}
		t.result.Hooks = append(t.result.Hooks, Hook{Interface: i.name, Ifindex: i.index, Direction: string(h.dir), Mode: mode, Attached: true})
	}
	slices.SortFunc(t.result.Hooks, Hook.compare)
	return nil
}

// attachOne attaches a tc dispatcher.
func (t *transaction) attachOne(h hook, disp *dispatchers, l2 uint32, has *ebpf.ProgramInfo) error {
	p, err := disp.program(l2, h.dir)
	if err != nil {
		return err
	}
	return t.attachTo(t.attacher, h, p, has)
}

// attachTo attaches a dispatcher, unless the very same one (by the tag that the kernel makes of its instructions) is attached and reads
// the generation word that is pinned now: if the pins were removed, it reads one that nobody can set any more.
func (t *transaction) attachTo(a attacher, h hook, p *ebpf.Program, has *ebpf.ProgramInfo) error {
	info, err := p.Info()
	if err != nil || has != nil && has.Tag == info.Tag && usesMap(has, t.dispatch["gen"]) {
		return err
	}
	if err := running.attach(a, h); err != nil {
		return err
	}
	if err := a.attach(h, p); err != nil {
		return err
	}
	if has == nil {
		t.onError(func() { _ = a.detach(h) })
	}
	return nil
}

// usesMap reports whether a program uses a map.
func usesMap(p *ebpf.ProgramInfo, m *ebpf.Map) bool {
	id, ok := mapID(m)
	ids, known := p.MapIDs()
	return ok && known && slices.Contains(ids, id)
}

// errKernelKeep is errKernel, but what tells that a feature is missing stays visible.
func errKernelKeep(err error) error {
	if errors.Is(err, ebpf.ErrNotSupported) {
		return err
	}
	return errKernel(err)
}

// detachUnwanted detaches from interfaces that the live generation does not judge, from hooks where it has nothing to decide, and what is
// attached in another mode.
func (t *transaction) detachUnwanted() {
	want := map[hook]bool{}
	for h := range t.hooks() {
		want[h] = true
	}
	for mode, a := range t.d.attachers() {
		if mode == t.mode {
			t.detachBut(a, want)
		} else {
			t.detachBut(a, nil)
		}
	}
	t.detachBut(newXDP(t.d.at), t.inXDP)
}

func (t *transaction) detachBut(a attacher, want map[hook]bool) {
	has, err := a.attached()
	if err != nil {
		t.warn("%s", err)
	}
	for h := range has {
		if want[h] {
			continue
		}
		if err := a.detach(h); err != nil {
			t.warn("interface %d: %s: %s", h.ifindex, h.dir, err)
		}
	}
}

func (d *Dataplane) attachers() map[Mode]attacher {
	return map[Mode]attacher{ModeTCX: newTCX(d.at), ModeClsact: clsact{}}
}

// dispatchers loads the programs that stay attached, one variant for each length of link header.
type dispatchers struct {
	maps   map[string]*ebpf.Map
	loaded map[uint32]*ebpf.Collection
	hooks  *ebpf.Collection // netfilter's
}

func newDispatchers(maps map[string]*ebpf.Map) *dispatchers {
	return &dispatchers{maps: maps, loaded: map[uint32]*ebpf.Collection{}}
}

func (d *dispatchers) program(l2 uint32, dir direction) (*ebpf.Program, error) {
	if d.loaded[l2] == nil {
		coll, err := d.load(l2, func(name string) bool { return name != inputDispatcher && name != xdpDispatcher })
		if err != nil {
			return nil, err
		}
		d.loaded[l2] = coll
	}
	return d.loaded[l2].Programs["tc_dispatch_"+string(dir)], nil
}

// netfilter is the program that stands at netfilter's hooks.
func (d *dispatchers) netfilter() (p *ebpf.Program, err error) {
	d.hooks, err = d.load(14, func(name string) bool { return name == inputDispatcher }) // it has no use for the length
	if err != nil {
		return nil, err
	}
	return d.hooks.Programs[inputDispatcher], nil
}

// load loads the dispatchers that are wanted, by name.
func (d *dispatchers) load(l2 uint32, want func(string) bool) (*ebpf.Collection, error) {
	spec, err := bpf.LoadDispatcher()
	if err != nil {
		return nil, fmt.Errorf("dispatcher: %s", err)
	}
	if err := spec.Variables["l2_len"].Set(l2); err != nil {
		return nil, fmt.Errorf("dispatcher: %s", err)
	}
	maps.DeleteFunc(spec.Programs, func(name string, _ *ebpf.ProgramSpec) bool { return !want(name) })
	coll, err := load(spec, among(d.maps, spec))
	if err != nil {
		return nil, fmt.Errorf("dispatcher: %w", errKernel(err))
	}
	return coll, nil
}

// among is those of some maps that an object has.
func among(maps map[string]*ebpf.Map, spec *ebpf.CollectionSpec) map[string]*ebpf.Map {
	out := map[string]*ebpf.Map{}
	for name, m := range maps {
		if spec.Maps[name] != nil {
			out[name] = m
		}
	}
	return out
}

func (d *dispatchers) close() error {
	if d.hooks != nil {
		d.hooks.Close()
	}
	for _, c := range d.loaded {
		c.Close()
	}
	return nil
}

// Hook is one place where packets are judged.
type Hook struct {
	Interface string // "": of the whole namespace
	Ifindex   int
	Direction string // "ingress" or "egress"; "guard" is where prerouting rules are judged; netfilter's: its name and family
	Mode      Mode   // guard: also "xdp" or "xdp-generic"
	Attached  bool
	Why       string // guard: why not in XDP
}

func (h Hook) compare(o Hook) int {
	if h.Ifindex != o.Ifindex {
		return h.Ifindex - o.Ifindex
	}
	return -strings.Compare(h.Direction, o.Direction)
}
