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
func (a tcx) attached() (map[hook]*ebpf.ProgramInfo, error) {
	pins, err := os.ReadDir(a.at.links)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, errKernel(err)
	}
	has := map[hook]*ebpf.ProgramInfo{}
	for _, pin := range pins {
		var h hook
		if _, err := fmt.Sscanf(strings.Replace(pin.Name(), "-", " ", 1), "%d %s", &h.ifindex, &h.dir); err != nil {
			continue
		}
		if has[h], err = a.program(h); err != nil {
			return nil, fmt.Errorf("%s: %w", filepath.Join(a.at.links, pin.Name()), errKernel(err))
		}
	}
	return has, nil
}

// program is what the pinned link of a hook attaches to it; nil if somebody detached it, or the interface is gone.
func (a tcx) program(h hook) (*ebpf.ProgramInfo, error) {
	l, err := link.LoadPinnedLink(a.at.linkPin(h), nil)
	if err != nil {
		return nil, err
	}
	defer l.Close()
	info, err := l.Info()
	if err != nil {
		return nil, err
	}
	if t := info.TCX(); t == nil || int(t.Ifindex) != h.ifindex {
		return nil, nil
	}
	return programInfo(info.Program)
}

func programInfo(id ebpf.ProgramID) (*ebpf.ProgramInfo, error) {
	p, err := ebpf.NewProgramFromID(id)
	if err != nil {
		return nil, err
	}
	defer p.Close()
	return p.Info()
}
