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

func (clsact) attached() (map[hook]bool, error) {
	ifaces, err := interfaces()
	if err != nil {
		return nil, err
	}
	has := map[hook]bool{}
	for h, i := range hooks(ifaces) {
		filters, err := netlink.FilterList(linkOf(i), clsactParents[h.dir])
		if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENODEV) {
			continue // no clsact qdisc, or gone meanwhile
		}
		if err != nil {
			return nil, fmt.Errorf("interface %q: filters: %w", i.name, errKernel(err))
		}
		for _, f := range filters {
			if b, ok := f.(*netlink.BpfFilter); ok && strings.HasPrefix(b.Name, filterName) {
				has[h] = true
			}
		}
	}
	return has, nil
}

func linkOf(i iface) netlink.Link {
	return &netlink.Dummy{LinkAttrs: netlink.LinkAttrs{Index: i.index, Name: i.name}}
}
