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

// linked attaches by links that are pinned: they stay when qdiscs, addresses or names of the interface change.
type linked struct {
	at   layout
	dirs map[direction]func(h hook, p *ebpf.Program) (link.Link, error) // that it is for
	// ifindex is where a link attaches; 0: it is of another kind, or its interface is gone.
	ifindex func(*link.Info) uint32
}

// newTCX attaches in front of other programs of the hook, so that none of them can accept or redirect a packet before it is judged.
func newTCX(at layout) linked {
	attach := func(t ebpf.AttachType) func(hook, *ebpf.Program) (link.Link, error) {
		return func(h hook, p *ebpf.Program) (link.Link, error) {
			return link.AttachTCX(link.TCXOptions{Interface: h.ifindex, Program: p, Attach: t, Anchor: link.Head()})
		}
	}
	return linked{
		at: at,
		dirs: map[direction]func(hook, *ebpf.Program) (link.Link, error){
			ingress: attach(ebpf.AttachTCXIngress), egress: attach(ebpf.AttachTCXEgress),
		},
		ifindex: func(i *link.Info) uint32 {
			if t := i.TCX(); t != nil {
				return t.Ifindex
			}
			return 0
		},
	}
}

func (a linked) attach(h hook, p *ebpf.Program) error {
	if l, err := link.LoadPinnedLink(a.at.linkPin(h), nil); err == nil {
		defer l.Close()
		if l.Update(p) == nil {
			return nil
		}
	}
	l, err := a.dirs[h.dir](h, p)
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

// detach detaches at once: the kernel takes its time over a link whose pin is removed, and XDP has room for one program.
func (a linked) detach(h hook) error {
	if l, err := link.LoadPinnedLink(a.at.linkPin(h), nil); err == nil {
		_ = l.Detach() // fails if somebody else did it, or the interface is gone
		_ = l.Close()
	}
	return os.Remove(a.at.linkPin(h))
}

// attached reads the pins.
func (a linked) attached() (map[hook]*ebpf.ProgramInfo, error) {
	pins, err := os.ReadDir(a.at.links)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, errKernel(err)
	}
	has := map[hook]*ebpf.ProgramInfo{}
	for _, pin := range pins {
		var h hook
		if _, err := fmt.Sscanf(strings.Replace(pin.Name(), "-", " ", 1), "%d %s", &h.ifindex, &h.dir); err != nil || a.dirs[h.dir] == nil {
			continue
		}
		if has[h], err = a.program(h); err != nil {
			return nil, fmt.Errorf("%s: %w", filepath.Join(a.at.links, pin.Name()), errKernel(err))
		}
	}
	return has, nil
}

// program is what the pinned link of a hook attaches to it; nil if somebody detached it, or the interface is gone.
func (a linked) program(h hook) (*ebpf.ProgramInfo, error) {
	l, err := link.LoadPinnedLink(a.at.linkPin(h), nil)
	if err != nil {
		return nil, err
	}
	defer l.Close()
	info, err := l.Info()
	if err != nil {
		return nil, err
	}
	if int(a.ifindex(info)) != h.ifindex {
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
