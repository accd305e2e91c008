package dataplane

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/bpfwall/bpfwall/bpf/prune"
)

// setSwitches fixes what the programs are to know of the host and of themselves, and leaves out of them what they then do not need.
func setSwitches(spec *ebpf.CollectionSpec, g *Generation, seal uint64) error {
	tcp := cmp.Or(g.TCP, &tcpSettings{})
	err := setAll(spec, map[string]any{
		"cfg_syn_options": tcp.Extended, "cfg_syn_scale": uint8(tcp.Scale),
		"own_seal": seal, "own_generation": g.Number, "cfg_sealed": seal != 0,
		"cfg_comm":       g.Notes,
		"cfg_forwarding": g.Forwarding, "cfg_nat": g.NAT, "cfg_defrag": g.Defrag,
		"cfg_casts": canCast(), "cfg_checksums": checksums() && canCast(), "cfg_route_notes": g.Forwarding && canCast(),
		"cfg_named": len(g.Options.Interfaces) > 0, "cfg_idle_ingress": g.idle(ingress), "cfg_idle_egress": g.idle(egress),
	})
	if err == nil {
		err = fitKernel(spec)
	}
	if err != nil {
		return err
	}
	prune.Spec(spec)
	return nil
}

// fitKernel fixes what programs do without because the kernel has it not, whatever the rules are.
func fitKernel(spec *ebpf.CollectionSpec) error {
	without := map[string]any{"cfg_exchanges": !lacks(exchanges), "cfg_long_frames": !lacks(longFrames)}
	if !canCast() {
		without["cfg_owner"] = false // only logs may ask then: wants
	}
	return setAll(spec, without)
}

func setAll(spec *ebpf.CollectionSpec, switches map[string]any) error {
	for name, value := range switches {
		v := spec.Variables[name]
		if v == nil {
			continue // the compiler left it out
		}
		if err := v.Set(value); err != nil {
			return fmt.Errorf("%s: %s", name, err)
		}
	}
	return nil
}

// nameJudged tells the programs which interfaces are judged, if not all are.
func (t *transaction) nameJudged(spec *ebpf.CollectionSpec) {
	m := spec.Maps["judged_names"]
	for _, name := range t.opts.Interfaces {
		var key [unix.IFNAMSIZ]byte
		copy(key[:unix.IFNAMSIZ-1], name)
		m.Contents = append(m.Contents, ebpf.MapKV{Key: key, Value: uint8(1)})
	}
	m.MaxEntries = max(1, uint32(len(m.Contents)))
}

// loadWith loads an object that the firewall can do without, with maps in place of its own.
func loadWith(spec *ebpf.CollectionSpec, name string, shared map[string]*ebpf.Map) (*ebpf.Collection, error) {
	if err := running.load(name); err != nil {
		return nil, err
	}
	return load(spec, shared)
}

// forwarding reports whether this network namespace passes packets on from one interface to another. It is read when a generation
// is loaded: a host that starts to forward later must apply again, which Status says.
func forwarding() bool {
	for _, path := range []string{"/proc/sys/net/ipv4/ip_forward", "/proc/sys/net/ipv6/conf/all/forwarding"} {
		if b, err := os.ReadFile(path); err == nil && strings.TrimSpace(string(b)) != "0" {
			return true
		}
	}
	return false
}

// checksums reports whether a wrong checksum makes a received packet invalid: the kernel's own connection tracking can be told to let
// it be. It is read when a generation is loaded.
func checksums() bool {
	b, err := os.ReadFile("/proc/sys/net/netfilter/nf_conntrack_checksum")
	return err != nil || strings.TrimSpace(string(b)) != "0"
}

// loadError makes a *VerifierError of what the verifier said, and writes the whole of it down.
func (d *Dataplane) loadError(err error) error {
	var ve *ebpf.VerifierError
	if !errors.As(err, &ve) {
		return fmt.Errorf("load: %w", errKernel(err))
	}
	e := &VerifierError{Summary: fmt.Sprintf("%v", ve)}
	if errors.Is(err, unix.E2BIG) && lacks(precise) {
		e.Summary += "; that of Linux " + precise.kernel + " and later has to look at less"
	}
	path := filepath.Join(d.at.state, "verifier.log")
	if os.MkdirAll(d.at.state, 0o700) == nil && os.WriteFile(path, fmt.Appendf(nil, "%+v\n", ve), 0o600) == nil {
		e.LogFile = path
	}
	return e
}

// begin begins to write the generation to disk.
func (t *transaction) begin(n uint32, sources []Source) {
	t.draft = t.d.at.beginGeneration(n, sources, t.rs)
	t.onError(t.draft.drop)
}

// save writes the rest of the generation to disk.
func (t *transaction) save() error {
	if t.draft == nil { // nothing was compiled
		t.begin(t.next.Number, t.next.Sources)
		t.draft.slots(t.next)
	}
	if err := t.draft.finish(t.next); err != nil {
		return err
	}
	t.onError(func() { _ = os.RemoveAll(t.d.at.generation(t.next.Number)) })
	return nil
}

// slotMaps says which program goes into which map. Only generations that judge at netfilter's hooks have inputProgram, and only those
// with prerouting rules that XDP can judge have xdpProgram.
var slotMaps = map[string]string{
	"progs_ingress": "tc_ingress", "progs_egress": "tc_egress", "progs_input": inputProgram, "progs_xdp": xdpProgram,
	"progs_connect4": "connect4", "progs_connect6": "connect6", "progs_sendmsg4": "sendmsg4", "progs_sendmsg6": "sendmsg6",
	"progs_bind4": "bind4", "progs_bind6": "bind6",
}

// fillSlot pins the programs and puts them where the dispatchers look for generations of this parity.
func (t *transaction) fillSlot() error {
	dir := t.d.at.programs(t.next.Number)
	t.onError(func() { _ = os.RemoveAll(dir) })
	if err := pinPrograms(dir, t.programs, t.sums); err != nil {
		return fmt.Errorf("%s: %w", dir, errKernel(err))
	}
	if t.standby != nil {
		_ = os.RemoveAll(t.standby.dir) // it is no spare one any more
	}
	t.onError(t.restoreSlot)
	for name, program := range slotMaps {
		if t.programs[program] == nil {
			_ = t.dispatch[name].Delete(t.next.Number % 2)
			continue
		}
		if err := t.dispatch[name].Put(t.next.Number%2, t.programs[program]); err != nil {
			return fmt.Errorf("map %s: %w", name, errKernel(err))
		}
	}
	return nil
}

// pinPrograms pins programs, and says beside each what it was made of.
func pinPrograms(dir string, programs map[string]*ebpf.Program, sums map[string]string) error {
	if err := makeDirs(dir); err != nil {
		return err
	}
	for name, p := range programs {
		clone, err := p.Clone() // pinning a program twice would move its pin
		if err != nil {
			return err
		}
		err = clone.Pin(filepath.Join(dir, name))
		_ = clone.Close()
		if err == nil && sums[name] != "" {
			err = os.Symlink(sums[name], filepath.Join(dir, sumPrefix+name))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// restoreSlot puts the previous generation's programs back into the slot that is not live, or empties it.
func (t *transaction) restoreSlot() {
	if t.live == nil {
		t.setSlot(0, 0)
		t.setSlot(1, 0)
		return
	}
	t.setSlot((t.live.Number+1)%2, t.live.Previous)
}

// setSlot fills a slot with the pinned programs of a generation, and empties it if there are none.
func (t *transaction) setSlot(slot, generation uint32) {
	for name, program := range slotMaps {
		p, err := ebpf.LoadPinnedProgram(filepath.Join(t.d.at.programs(generation), program), nil)
		if err != nil {
			_ = t.dispatch[name].Delete(slot)
			continue
		}
		_ = t.dispatch[name].Put(slot, p)
		_ = p.Close()
	}
}
