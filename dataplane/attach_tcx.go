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
	l, err := link.AttachTCX(link.TCXOptions{Interface: h.ifindex, Program: p, Attach: tcxTypes[h.dir], Anchor: link.Head()})
	if err != nil {
		return err
	}
	defer l.Close()
	if err := makeDirs(a.at.links); err != nil {
		return err
	}
	_ = os.Remove(a.at.linkPin(h)) // of an interface that is gone
	return l.Pin(a.at.linkPin(h))
}

func (a tcx) detach(h hook) error { return os.Remove(a.at.linkPin(h)) }

// attached reads the pins. Those of links that somebody detached, or whose interface is gone, are not attached (false).
func (a tcx) attached() (map[hook]bool, error) {
	pins, err := os.ReadDir(a.at.links)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, errKernel(err)
	}
	has := map[hook]bool{}
	for _, pin := range pins {
		var h hook
		if _, err := fmt.Sscanf(strings.Replace(pin.Name(), "-", " ", 1), "%d %s", &h.ifindex, &h.dir); err != nil {
			continue
		}
		if has[h], err = a.alive(h); err != nil {
			return nil, fmt.Errorf("%s: %w", filepath.Join(a.at.links, pin.Name()), errKernel(err))
		}
	}
	return has, nil
}

// alive reports whether the pinned link of a hook is still attached to it.
func (a tcx) alive(h hook) (bool, error) {
	l, err := link.LoadPinnedLink(a.at.linkPin(h), nil)
	if err != nil {
		return false, err
	}
	defer l.Close()
	info, err := l.Info()
	if err != nil {
		return false, err
	}
	t := info.TCX()
	return t != nil && int(t.Ifindex) == h.ifindex, nil
}
