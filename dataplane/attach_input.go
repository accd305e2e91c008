package dataplane

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/bpfwall/bpfwall/ruleset"
)

// netfilterHook is a hook of netfilter that has a dispatcher, for what ingress leaves to it.
type netfilterHook struct {
	name, pin string
	family    link.NetfilterProtocolFamily
	hook      link.NetfilterInetHook
}

var netfilterHooks = []netfilterHook{
	{"LOCAL_IN, ipv4", "input-ipv4", link.NetfilterProtoIPv4, link.NetfilterInetLocalIn},
	{"LOCAL_IN, ipv6", "input-ipv6", link.NetfilterProtoIPv6, link.NetfilterInetLocalIn},
	{"FORWARD, ipv4", "forward-ipv4", link.NetfilterProtoIPv4, link.NetfilterInetForward},
	{"FORWARD, ipv6", "forward-ipv6", link.NetfilterProtoIPv6, link.NetfilterInetForward},
}

// hooksFor are those of netfilter's that a generation needs: beside NAT, what passes through is judged at egress alone.
func hooksFor(g *Generation) (needed []netfilterHook) {
	for _, h := range netfilterHooks {
		if g.Defrag || g.NAT && h.hook == link.NetfilterInetLocalIn {
			needed = append(needed, h)
		}
	}
	return needed
}

// defragment is BPF_F_NETFILTER_IP_DEFRAG: the hook sees whole datagrams.
const defragment = link.NetfilterAttachFlags(1)

// netfilterPin is the pin of a link of netfilter's.
func (l layout) netfilterPin(h netfilterHook) string { return filepath.Join(l.links, h.pin) }

// chooseDefrag attaches to netfilter, which has the kernel put fragments together, if the rules are such that netfilter would do so, or
// ask who gets a packet: only the first fragment can tell.
// (Beside NAT the kernel's own connection tracking does.)
// Where the kernel cannot, before Linux 6.6, later fragments are judged by their first one.
func (t *transaction) chooseDefrag() error {
	t.next.Defrag = !t.next.NAT && asksWhole(t.rs, t.uses())
	err := t.attachNetfilter()
	if err == nil || t.next.NAT {
		return err
	}
	t.next.Defrag, t.next.NoDefrag = false, err.Error()
	t.warn("%s", t.next.fragments())
	return nil
}

// asksWhole reports whether rules have to do with datagrams rather than with fragments.
func asksWhole(rs *ruleset.Ruleset, used ruleset.Used) bool {
	return used.Tracks(rs.Conntrack) || used.Has(ruleset.ReceiverFields...) && rs.AsksReceiver()
}

// fragments tells what is not as it should be with fragments; "": nothing.
func (g *Generation) fragments() string {
	if g.NoDefrag == "" {
		return ""
	}
	return fmt.Sprintf("fragments are not put together (%s; that needs Linux 6.6): later ones are judged by their first one, and dropped if they come before it", g.NoDefrag)
}

// attachNetfilter attaches the dispatchers of netfilter's hooks if the generation needs them. They let through what ingress did not leave
// to them.
func (t *transaction) attachNetfilter() error {
	if !t.next.atNetfilter() {
		return nil
	}
	if err := running.netfilter(); errors.Is(err, ebpf.ErrNotSupported) {
		return errKernel(err)
	}
	disp := newDispatchers(t.dispatch)
	t.atEnd(disp.close)
	p, err := disp.netfilter()
	if err != nil {
		return err
	}
	if err := makeDirs(t.d.at.links); err != nil {
		return err
	}
	for _, h := range hooksFor(t.next) {
		if err := t.attachHook(h, p); err != nil {
			return fmt.Errorf("%s: %w", h.name, errKernel(err))
		}
	}
	return nil
}

func (t *transaction) attachHook(h netfilterHook, p *ebpf.Program) error {
	pin := t.d.at.netfilterPin(h)
	same, err := attaches(pin, p)
	if same || err != nil {
		return err
	}
	l, err := attachFree(link.NetfilterOptions{Program: p, ProtocolFamily: h.family, Hook: h.hook, NetfilterFlags: defragment})
	if err != nil {
		return err
	}
	defer l.Close()
	_, had := os.Stat(pin)
	_ = os.Remove(pin) // of another version's dispatcher, which the new one stands beside now
	if err := l.Pin(pin); err != nil {
		return err
	}
	if had != nil {
		t.onError(func() { _ = os.Remove(pin) })
	}
	return nil
}

// inFlight is longer than a packet is on its way from ingress to netfilter's hooks.
const inFlight = 50 * time.Millisecond

// detachNetfilter detaches from netfilter's hooks that the generation does not need: as long as a link is there, the kernel puts fragments
// together before rules see them. Until then what the generation before left to the hooks finds an empty slot there, and is dropped.
func (t *transaction) detachNetfilter() {
	needed, waited := hooksFor(t.next), false
	for _, h := range netfilterHooks {
		pin := t.d.at.netfilterPin(h)
		if _, err := os.Stat(pin); err != nil || slices.Contains(needed, h) {
			continue
		}
		if !waited {
			time.Sleep(inFlight)
		}
		waited = true
		if err := os.Remove(pin); err != nil {
			t.warn("%s: %s", h.name, err)
		}
	}
}

// ModeNetfilter is how the hooks of netfilter have dispatchers.
const ModeNetfilter Mode = "netfilter"

// netfilterStatus tells of the hooks that the generation needs, and which links are not there.
func (d *Dataplane) netfilterStatus(s *Status) (hooks []Hook) {
	if text := s.Generation.fragments(); text != "" {
		s.warn(text)
	}
	for _, h := range hooksFor(s.Generation) {
		l, err := link.LoadPinnedLink(d.at.netfilterPin(h), nil)
		hooks = append(hooks, Hook{Direction: h.name, Mode: ModeNetfilter, Attached: err == nil})
		if err != nil {
			s.warn(fmt.Sprintf("%s: not attached, so that fragments and, beside NAT, input are not judged (%s): apply again", h.name, err))
			continue
		}
		_ = l.Close()
	}
	return hooks
}

// attachFree attaches between mangle (-150) and filter (0), at the nearest priority to filter's that nothing else has: a BPF program
// must have one for itself (nf_hook_entries_grow).
func attachFree(o link.NetfilterOptions) (l link.Link, err error) {
	for o.Priority = -1; o.Priority > -150; o.Priority-- {
		if l, err = link.AttachNetfilter(o); !errors.Is(err, unix.EBUSY) {
			break
		}
	}
	return l, err
}

// attaches reports whether the link of a pin attaches the same program, by its tag.
func attaches(pin string, p *ebpf.Program) (bool, error) {
	l, err := link.LoadPinnedLink(pin, nil)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer l.Close()
	about, err := l.Info()
	if err != nil {
		return false, err
	}
	old, err := ebpf.NewProgramFromID(about.Program)
	if err != nil {
		return false, nil
	}
	defer old.Close()
	a, err := old.Info()
	if err != nil {
		return false, err
	}
	b, err := p.Info()
	return err == nil && a.Tag == b.Tag, err
}
