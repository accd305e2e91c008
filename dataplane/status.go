package dataplane

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"

	"github.com/bpfwall/bpfwall/bpf"
)

// Status is what is in force.
type Status struct {
	Generation *Generation
	Hooks      []Hook            // those that should be attached, and whether they are
	Idle       []string          // "ingress", "egress": hooks of tc that are not attached, as there is nothing to decide
	Missing    []string          // interfaces that the generation names and that are not there
	Stats      map[string]uint64 // what is counted beside the rules, by name
	Flows      int               // in the conntrack maps
	Connect    string            // how connect() is judged: ConnectAttached, or why not; "": no rule asks for sockets
	Send       string            // the same of sendmsg() by UDP sockets that are not connected
	Warnings   []string
}

// Status tells what is in force and whether it is whole. Returns ErrNotLoaded or ErrPinsGone.
func (d *Dataplane) Status() (*Status, error) {
	s := new(Status)
	err := d.look(func() error {
		n, err := d.liveNumber()
		if err != nil {
			return d.offOrLost(err)
		}
		if s.Generation, err = d.at.readGeneration(n); err != nil {
			s.Generation = &Generation{Number: n, Loaded: n}
			s.warn(err.Error())
		}
		return errors.Join(d.hookStatus(s), d.mapStatus(s))
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

// offOrLost tells a firewall that is off from one whose dispatchers are attached while their maps have lost their pins.
func (d *Dataplane) offOrLost(err error) error {
	if _, gone := os.Stat(d.at.mapPin("gen")); !errors.Is(gone, os.ErrNotExist) {
		return err
	}
	if modes, _ := d.modes(); len(modes) > 0 {
		return ErrPinsGone
	}
	return err
}

func (s *Status) warn(text string) { s.Warnings = append(s.Warnings, text) }

// hookStatus compares the interfaces that are there with the hooks that are attached.
func (d *Dataplane) hookStatus(s *Status) error {
	all, err := interfaces()
	if err != nil {
		return err
	}
	names := s.Generation.Options.Interfaces
	for _, name := range names {
		if !slices.ContainsFunc(all, func(i iface) bool { return i.name == name }) {
			s.Missing = append(s.Missing, name)
		}
	}
	modes, err := d.modes()
	if err != nil {
		return err
	}
	for _, i := range all {
		if i.enslaved != "" || len(names) > 0 && !slices.Contains(names, i.name) {
			continue
		}
		for _, dir := range both {
			if s.Generation.idle(dir) {
				continue
			}
			mode, ok := modes[hook{i.index, dir}]
			s.Hooks = append(s.Hooks, Hook{Interface: i.name, Ifindex: i.index, Direction: string(dir), Mode: mode, Attached: ok})
		}
		if s.Generation.Guard {
			h := guardHook(i, s.Generation, modes)
			s.Hooks = append(s.Hooks, h)
			if why := i.noXDP(s.Generation.Options.XDP); why != "" && h.inXDP() {
				s.warn(fmt.Sprintf("%s: judged in XDP, although %s: run bpfwall refresh", i.name, why))
			}
		}
	}
	slices.SortFunc(s.Hooks, Hook.compare)
	s.Hooks = append(s.Hooks, slices.Concat(d.netfilterStatus(s), d.listenStatus(s.Generation))...)
	return d.hostStatus(s)
}

// guardHook says where the prerouting rules of an interface are judged.
func guardHook(i iface, g *Generation, modes map[hook]Mode) Hook {
	mode, attached := modes[hook{i.index, ingress}]
	h := Hook{Interface: i.name, Ifindex: i.index, Direction: "guard", Mode: mode, Attached: attached, Why: g.NoXDP}
	if h.Why != "" {
		return h
	}
	for _, dir := range []direction{xdpNative, xdpGeneric} {
		if _, ok := modes[hook{i.index, dir}]; ok {
			h.Mode = Mode(dir)
			return h
		}
	}
	why, tried := g.XDP[i.name]
	switch {
	case why != "":
		h.Why = why
	case tried:
		h.Why = "detached since; run bpfwall refresh"
	default:
		h.Why = "not tried yet; run bpfwall refresh"
	}
	return h
}

func (h Hook) inXDP() bool { return h.Mode == Mode(xdpNative) || h.Mode == Mode(xdpGeneric) }

// hostStatus looks for what changed on the host since the apply and matters.
func (d *Dataplane) hostStatus(s *Status) error {
	d.natStatus(s)
	d.idleStatus(s)
	s.tcpStatus()
	s.Connect, s.Send = d.connectStatus(s.Generation)
	if rs, err := d.at.readRuleset(s.Generation.Number); err == nil {
		d.cgroupStatus(s, rs)
	}
	if forwarding() && !s.Generation.Forwarding && !s.Generation.idle(ingress) {
		s.warn("this host began to forward packets after the apply: apply again, so that forwarded packets are told from local ones")
	}
	if stale, err := d.staleHost(s.Generation); err == nil && stale {
		s.warn("names of interfaces or addresses of this host have changed, and the rules ask for them: run bpfwall refresh")
	}
	return nil
}

// modes says which hooks have a dispatcher, and how.
func (d *Dataplane) modes() (map[hook]Mode, error) {
	out := map[hook]Mode{}
	for mode, a := range d.attachers() {
		has, err := a.attached()
		if err != nil {
			return nil, err
		}
		for h, p := range has {
			if p != nil {
				out[h] = mode
			}
		}
	}
	has, err := newXDP(d.at).attached()
	for h, p := range has {
		if p != nil {
			out[h] = Mode(h.dir)
		}
	}
	return out, err
}

// mapStatus reads the counters beside the rules and counts flows.
func (d *Dataplane) mapStatus(s *Status) (err error) {
	if s.Stats, err = d.stats(); err != nil {
		return err
	}
	if n := s.Stats["xdp-no-room"]; n > 0 && s.Generation.judgesInXDP() {
		s.warn(fmt.Sprintf("XDP left %d packets to tc: a driver's frames have no room for metadata", n))
	}
	return d.eachFlow(func(Flow) bool { s.Flows++; return true })
}

// stats sums the CPUs' counters, by name: "events-lost" for FW_STAT_EVENTS_LOST.
func (d *Dataplane) stats() (map[string]uint64, error) {
	names, err := statNames()
	if err != nil {
		return nil, err
	}
	m, err := d.openPinned("stats")
	if err != nil {
		return nil, err
	}
	defer m.Close()
	out := map[string]uint64{}
	for n, name := range names {
		var cpus []uint64
		if n >= m.MaxEntries() {
			continue
		}
		if err := m.Lookup(n, &cpus); err != nil {
			return nil, fmt.Errorf("map stats: %w", errKernel(err))
		}
		for _, c := range cpus {
			out[name] += c
		}
	}
	return out, nil
}

// statNames reads enum fw_stat out of the object's type information, so that there is no second list of it.
func statNames() (map[uint32]string, error) {
	spec, err := bpf.Classifier.Spec()
	if err != nil {
		return nil, fmt.Errorf("classifier: %s", err)
	}
	var enum *btf.Enum
	if err := spec.Types.TypeByName("fw_stat", &enum); err != nil {
		return nil, fmt.Errorf("classifier: %s", err)
	}
	names := map[uint32]string{}
	for _, v := range enum.Values {
		if name, ok := strings.CutPrefix(v.Name, "FW_STAT_"); ok {
			names[uint32(v.Value)] = strings.ToLower(strings.ReplaceAll(name, "_", "-"))
		}
	}
	return names, nil
}

// openPinned opens a pinned map for reading. Returns ErrNotLoaded if there is none.
func (d *Dataplane) openPinned(name string) (*ebpf.Map, error) {
	m, err := ebpf.LoadPinnedMap(d.at.mapPin(name), &ebpf.LoadPinOptions{ReadOnly: true})
	if errors.Is(err, os.ErrNotExist) {
		return nil, ErrNotLoaded
	}
	if err != nil {
		return nil, fmt.Errorf("map %s: %w", name, errKernel(err))
	}
	return m, nil
}
