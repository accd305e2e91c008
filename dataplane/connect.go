package dataplane

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/bpfwall/bpfwall/bpf"
)

// connectHook is a hook of control groups that rules for connect() and sendmsg() run on.
type connectHook struct {
	name   string // of the program and its pin
	attach ebpf.AttachType
}

var connectHooks = []connectHook{
	{"connect4", ebpf.AttachCGroupInet4Connect},
	{"connect6", ebpf.AttachCGroupInet6Connect},
	{"sendmsg4", ebpf.AttachCGroupUDP4Sendmsg},
	{"sendmsg6", ebpf.AttachCGroupUDP6Sendmsg},
}

// epochProgram asks for the epoch of a network namespace's routes.
const epochProgram = "fw_epoch"

// connectPrograms are those that a generation has for connect().
func connectPrograms() []string {
	names := []string{epochProgram}
	for _, h := range connectHooks {
		names = append(names, h.name)
	}
	return names
}

func (h connectHook) dispatcher() string { return "dispatch_" + h.name }

func (l layout) connectPin(h connectHook) string { return filepath.Join(l.links, h.name) }

// loadConnect verifies the programs for connect(), with the maps of the tc programs. Where that is not possible the reason is noted: tc
// judges the packets all the same.
func (t *transaction) loadConnect(maps map[string]*ebpf.Map) error {
	g := t.next
	g.NoConnect = t.out.NoConnect
	if t.out.Connect == nil {
		return nil
	}
	if g.NoConnect = t.noConnect(); g.NoConnect != "" {
		return nil
	}
	spec, shared := t.out.Connect, map[string]*ebpf.Map{}
	for name := range spec.Maps {
		if !strings.HasPrefix(name, ".rodata") {
			shared[name] = maps[name]
		}
	}
	g.AsksLoopback, g.AsksFlows = t.out.ConnectAsksForLoopback(), t.uses().Tracks(t.rs.Conntrack)
	if err := spec.Variables["cfg_asks_lo"].Set(g.AsksLoopback); err != nil {
		return fmt.Errorf("cfg_asks_lo: %s", err)
	}
	if err := setSwitches(spec, g, t.seal); err != nil {
		return err
	}
	if err := t.loadExtra("connect", spec, shared); err != nil {
		g.NoConnect = fmt.Sprintf("the kernel refused the program: %s", err)
		return nil
	}
	g.Connect = true
	return nil
}

// noConnect says what stands against refusing connections early; "" if nothing does.
func (t *transaction) noConnect() string {
	if t.nat {
		return "the kernel translates addresses"
	}
	if !canCast() {
		return "it needs Linux 6.2"
	}
	root, err := cgroupRoot()
	if err != nil {
		return err.Error()
	}
	other, err := otherConnect(root)
	switch {
	case err != nil:
		return err.Error()
	case other != "":
		return fmt.Sprintf("the program %q may send connections elsewhere", other)
	}
	return ""
}

// otherConnect names a program of somebody else that sees connections before or after us; "" if there is none.
func otherConnect(root string) (string, error) {
	dir, err := os.Open(root)
	if err != nil {
		return "", err
	}
	defer dir.Close()
	for _, h := range connectHooks {
		found, err := link.QueryPrograms(link.QueryOptions{Target: int(dir.Fd()), Attach: h.attach})
		if err != nil {
			return "", fmt.Errorf("programs of %s: %w", root, errKernel(err))
		}
		for _, p := range found.Programs {
			if name := programName(p.ID); !strings.HasPrefix(h.dispatcher(), name) || name == "" {
				return name, nil
			}
		}
	}
	return "", nil
}

// programName is what the kernel keeps of a program's name: 15 bytes.
func programName(id ebpf.ProgramID) string {
	p, err := ebpf.NewProgramFromID(id)
	if err != nil {
		return ""
	}
	defer p.Close()
	info, err := p.Info()
	if err != nil {
		return ""
	}
	return info.Name
}

// attachConnect attaches the dispatchers of connect() to all control groups, if the generation has programs for them.
func (t *transaction) attachConnect() error {
	if !t.next.Connect {
		return nil
	}
	err := t.attachConnectHooks()
	if err == nil {
		t.noteEpoch()
		return nil
	}
	t.next.Connect, t.next.NoConnect = false, err.Error()
	return t.d.at.rewriteMeta(t.next)
}

func (t *transaction) attachConnectHooks() error {
	root, err := cgroupRoot()
	if err != nil {
		return err
	}
	coll, err := t.connectDispatchers()
	if err != nil {
		return err
	}
	for _, h := range connectHooks {
		if err := t.attachConnectHook(root, h, coll.Programs[h.dispatcher()], t.dispatch["gen"]); err != nil {
			return fmt.Errorf("%s: %w", h.name, errKernel(err))
		}
	}
	return nil
}

// connectDispatchers loads them for this network namespace.
func (t *transaction) connectDispatchers() (*ebpf.Collection, error) {
	spec, err := bpf.LoadCgroup()
	if err != nil {
		return nil, err
	}
	delete(spec.Programs, "note_owner")
	delete(spec.Maps, "sock_owner")
	cookie, err := netnsCookie()
	if err != nil {
		return nil, err
	}
	if err := spec.Variables["own_netns"].Set(cookie); err != nil {
		return nil, err
	}
	coll, err := load(spec, among(t.dispatch, spec))
	if err != nil {
		return nil, err
	}
	t.atEnd(func() error { coll.Close(); return nil })
	return coll, nil
}

// netnsCookie is the number by which programs know the network namespace that the caller is in.
func netnsCookie() (uint64, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	defer unix.Close(fd)
	cookie, err := unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE)
	if err != nil {
		return 0, fmt.Errorf("cookie of the network namespace: %w", err)
	}
	return cookie, nil
}

// attachConnectHook attaches a program, unless the same one is attached and uses the map that is pinned now.
func (t *transaction) attachConnectHook(root string, h connectHook, p *ebpf.Program, m *ebpf.Map) error {
	pin := t.d.at.connectPin(h)
	if l, err := link.LoadPinnedLink(pin, nil); err == nil {
		defer l.Close()
		if same, _ := attaches(pin, p); same && watches(pin, m) {
			return nil
		}
		return l.Update(p)
	}
	l, err := link.AttachCgroup(link.CgroupOptions{Path: root, Attach: h.attach, Program: p})
	if err != nil {
		return err
	}
	defer l.Close()
	if err := makeDirs(t.d.at.links); err != nil {
		return err
	}
	if err := l.Pin(pin); err != nil {
		return err
	}
	t.onError(func() { _ = os.Remove(pin) })
	return nil
}

// detachConnect detaches the dispatchers if no generation needs them that may come back without an apply.
func (t *transaction) detachConnect() {
	if t.next.Connect || t.live != nil && t.live.Connect {
		return
	}
	for _, h := range connectHooks {
		_ = os.Remove(t.d.at.connectPin(h))
	}
}

// noteEpoch tells the programs for which state of the routes the maps of local addresses hold. Until the next change of the routes
// they know what leaves by lo, and what a datagram's source may be; then they leave everything to tc, until Refresh.
func (t *transaction) noteEpoch() {
	if !t.next.asksAddresses() {
		return
	}
	told, err := t.freshEpoch()
	if err != nil {
		t.warn("connect() is left to tc: %s", err)
	}
	if err := t.shared["epochs"].Put(uint32(0), told); err != nil {
		t.warn("map epochs: %s", err)
	}
}

// freshEpoch fills the map of addresses and returns the epoch that it is of; none if routes say more than addresses.
func (t *transaction) freshEpoch() (none bpf.RouteEpoch, err error) {
	p := t.programs[epochProgram]
	if p == nil {
		if p, err = ebpf.LoadPinnedProgram(filepath.Join(t.d.at.programs(t.next.Number), epochProgram), nil); err != nil {
			return none, err
		}
		t.atEnd(p.Close)
	}
	before, err := askEpoch(p, t.shared["epochs"])
	if err != nil {
		return none, err
	}
	if err := typeAddresses(t.shared["addr_types"]); err != nil {
		return none, err
	}
	if err := listAddresses(t.shared["own_addrs"]); err != nil {
		return none, err
	}
	if err := plainRoutes(); err != nil {
		return none, err
	}
	after, err := askEpoch(p, t.shared["epochs"])
	if err != nil || before != after {
		return none, err
	}
	return after, nil
}

func askEpoch(p *ebpf.Program, epochs *ebpf.Map) (e bpf.RouteEpoch, err error) {
	if _, err := p.Run(&ebpf.RunOptions{Data: make([]byte, 64)}); err != nil {
		return e, fmt.Errorf("epoch of the routes: %w", errKernel(err))
	}
	return e, epochs.Lookup(uint32(1), &e)
}

// connectStatus says how connect() and sendmsg() are judged; "" if no rule asks for sockets.
func (d *Dataplane) connectStatus(g *Generation) (connect, send string) {
	connect = d.connectState(g)
	if connect == ConnectAttached && g.AsksFlows && d.epochOver(g) {
		return connect, "routes have changed, and rules ask for states; run bpfwall refresh"
	}
	return connect, connect
}

func (d *Dataplane) connectState(g *Generation) string {
	if !g.Connect {
		return g.NoConnect
	}
	missing := func(h connectHook) bool {
		l, err := link.LoadPinnedLink(d.at.connectPin(h), nil)
		if err == nil {
			_ = l.Close()
		}
		return err != nil
	}
	if slices.ContainsFunc(connectHooks, missing) {
		return "not attached; run bpfwall refresh"
	}
	if g.AsksLoopback && d.epochOver(g) {
		return "routes have changed, and rules ask for lo; run bpfwall refresh"
	}
	return ConnectAttached
}

// ConnectAttached is Status.Connect and Status.Send where connections and datagrams are refused as early as can be.
const ConnectAttached = "attached"

// asksAddresses reports whether connect() or sendmsg() needs to know the addresses of this host.
func (g *Generation) asksAddresses() bool { return g.Connect && (g.AsksLoopback || g.AsksFlows) }

// epochOver reports whether routes have changed since the programs were told of local addresses.
func (d *Dataplane) epochOver(g *Generation) bool {
	p, err := ebpf.LoadPinnedProgram(filepath.Join(d.at.programs(g.Number), epochProgram), nil)
	if err != nil {
		return false
	}
	defer p.Close()
	m, err := ebpf.LoadPinnedMap(d.at.mapPin("epochs"), nil)
	if err != nil {
		return false
	}
	defer m.Close()
	var told bpf.RouteEpoch
	now, err := askEpoch(p, m)
	return err == nil && m.Lookup(uint32(0), &told) == nil && told != now
}
