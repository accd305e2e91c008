package dataplane

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// inputFamilies are the families of netfilter's hooks that the dispatcher of LOCAL_IN is attached for.
var inputFamilies = map[string]link.NetfilterProtocolFamily{"ipv4": link.NetfilterProtoIPv4, "ipv6": link.NetfilterProtoIPv6}

// defragment is BPF_F_NETFILTER_IP_DEFRAG: the hook sees whole datagrams.
const defragment = link.NetfilterAttachFlags(1)

// inputPin is the pin of the link of LOCAL_IN.
func (l layout) inputPin(family string) string { return filepath.Join(l.links, "input-"+family) }

// attachInput attaches the dispatcher of LOCAL_IN if the generation needs it. There it stays until the firewall is turned off: it lets
// through what ingress did not leave to it.
func (t *transaction) attachInput(disp *dispatchers) error {
	if !t.next.NAT {
		return nil
	}
	p, err := disp.input()
	if err != nil {
		return err
	}
	for name, family := range inputFamilies {
		if err := t.attachFamily(name, family, p); err != nil {
			return fmt.Errorf("LOCAL_IN, %s: %w", name, errKernel(err))
		}
	}
	return nil
}

func (t *transaction) attachFamily(name string, family link.NetfilterProtocolFamily, p *ebpf.Program) error {
	pin := t.d.at.inputPin(name)
	same, err := attaches(pin, p)
	if same || err != nil {
		return err
	}
	l, err := attachFree(link.NetfilterOptions{
		Program: p, ProtocolFamily: family, Hook: link.NetfilterInetLocalIn, NetfilterFlags: defragment,
	})
	if err != nil {
		return err
	}
	defer l.Close()
	if err := makeDirs(t.d.at.links); err != nil {
		return err
	}
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
