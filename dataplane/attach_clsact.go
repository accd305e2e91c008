package dataplane

import (
	"errors"
	"fmt"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// clsact attaches by filters of a clsact qdisc, for kernels before 6.6. The qdisc stays when the filters go, for others may use it.
type clsact struct{}

const (
	filterName   = "bpfwall-"
	filterHandle = 0xb9f
	filterPrio   = 1
)

var clsactParents = map[direction]uint32{ingress: netlink.HANDLE_MIN_INGRESS, egress: netlink.HANDLE_MIN_EGRESS}

func (clsact) filter(h hook) *netlink.BpfFilter {
	return &netlink.BpfFilter{
		FilterAttrs: netlink.FilterAttrs{
			LinkIndex: h.ifindex, Parent: clsactParents[h.dir], Handle: filterHandle, Priority: filterPrio, Protocol: unix.ETH_P_ALL,
		},
		Name:         filterName + string(h.dir),
		DirectAction: true,
	}
}

func (a clsact) attach(h hook, p *ebpf.Program) error {
	qdisc := &netlink.Clsact{QdiscAttrs: netlink.QdiscAttrs{
		LinkIndex: h.ifindex, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_CLSACT,
	}}
	if err := netlink.QdiscAdd(qdisc); err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("clsact qdisc: %w", err)
	}
	f := a.filter(h)
	f.Fd = p.FD()
	if err := netlink.FilterReplace(f); err != nil {
		return fmt.Errorf("bpf filter: %w", err)
	}
	return nil
}

func (a clsact) detach(h hook) error { return netlink.FilterDel(a.filter(h)) }

// attached looks at the interfaces with a clsact qdisc.
func (a clsact) attached() (map[hook]*ebpf.ProgramInfo, error) {
	qdiscs, err := dump(func() ([]netlink.Qdisc, error) { return netlink.QdiscList(nil) })
	if err != nil {
		return nil, fmt.Errorf("qdiscs: %w", errKernel(err))
	}
	has := map[hook]*ebpf.ProgramInfo{}
	for _, q := range qdiscs {
		if q.Type() != "clsact" {
			continue
		}
		for dir := range clsactParents {
			h := hook{q.Attrs().LinkIndex, dir}
			p, err := a.program(h)
			if err != nil {
				return nil, fmt.Errorf("interface %d: filters: %w", h.ifindex, errKernel(err))
			}
			if p != nil {
				has[h] = p
			}
		}
	}
	return has, nil
}

// program finds our filter's on a hook; nil if there is none.
func (clsact) program(h hook) (*ebpf.ProgramInfo, error) {
	link := &netlink.Dummy{LinkAttrs: netlink.LinkAttrs{Index: h.ifindex}}
	filters, err := netlink.FilterList(link, clsactParents[h.dir])
	if errors.Is(err, unix.ENODEV) {
		return nil, nil // gone meanwhile
	}
	for _, f := range filters {
		if b, is := f.(*netlink.BpfFilter); is && strings.HasPrefix(b.Name, filterName) {
			return programInfo(ebpf.ProgramID(b.Id))
		}
	}
	return nil, err
}
