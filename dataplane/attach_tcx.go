package dataplane

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
)

// tcx attaches by links that are pinned: they stay when qdiscs, addresses or names of the interface change. In front of other programs
// of the hook, so that none of them can accept or redirect a packet before it is judged.
type tcx struct{ at layout }

var tcxTypes = map[direction]ebpf.AttachType{ingress: ebpf.AttachTCXIngress, egress: ebpf.AttachTCXEgress}

func (a tcx) attach(h hook, p *ebpf.Program) error {
	if l, err := link.LoadPinnedLink(a.at.linkPin(h), nil); err == nil {
		defer l.Close()
		if l.Update(p) == nil {
			return nil
		}
	}
	l, err := link.AttachTCX(link.TCXOptions{Interface: h.ifindex, Program: p, Attach: tcxTypes[h.dir], Anchor: link.Head()})
	if err != nil {
		return err
	}
	defer l.Close()
	if err := makeDirs(a.at.links); err != nil {
		return err
	}
	_ = os.Remove(a.at.linkPin(h)) // of a link that somebody detached
	return l.Pin(a.at.linkPin(h))
}

func (a tcx) detach(h hook) error { return os.Remove(a.at.linkPin(h)) }

// attached reads the pins.
func (a tcx) attached() (map[hook]string, error) {
	pins, err := os.ReadDir(a.at.links)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, errKernel(err)
	}
	has := map[hook]string{}
	for _, pin := range pins {
		var h hook
		if _, err := fmt.Sscanf(strings.Replace(pin.Name(), "-", " ", 1), "%d %s", &h.ifindex, &h.dir); err != nil {
			continue
		}
		if has[h], err = a.tag(h); err != nil {
			return nil, fmt.Errorf("%s: %w", filepath.Join(a.at.links, pin.Name()), errKernel(err))
		}
	}
	return has, nil
}

// tag is the tag of the program that the pinned link of a hook attaches to it; "" if somebody detached it, or the interface is gone.
func (a tcx) tag(h hook) (string, error) {
	l, err := link.LoadPinnedLink(a.at.linkPin(h), nil)
	if err != nil {
		return "", err
	}
	defer l.Close()
	info, err := l.Info()
	if err != nil {
		return "", err
	}
	if t := info.TCX(); t == nil || int(t.Ifindex) != h.ifindex {
		return "", nil
	}
	p, err := ebpf.NewProgramFromID(info.Program)
	if err != nil {
		return "", err
	}
	defer p.Close()
	about, err := p.Info()
	if err != nil {
		return "", err
	}
	return about.Tag, nil
}
