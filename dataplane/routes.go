package dataplane

import (
	"fmt"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// plainRoutes finds out whether a packet of this host leaves by lo if and only if its destination is in the kernel's table "local": no rule
// of policy routing sends it elsewhere, and no other route goes by lo. The error says why not.
func plainRoutes() error {
	for _, family := range []int{unix.AF_INET, unix.AF_INET6} {
		rules, err := dump(func() ([]netlink.Rule, error) { return netlink.RuleList(family) })
		if err != nil {
			return fmt.Errorf("routing rules: %s", err)
		}
		for _, r := range rules {
			if r.Table != unix.RT_TABLE_LOCAL && r.Table != unix.RT_TABLE_MAIN && r.Table != unix.RT_TABLE_DEFAULT {
				return fmt.Errorf("there is policy routing (%s)", r)
			}
		}
		routes, err := dump(func() ([]netlink.Route, error) { return netlink.RouteList(nil, family) })
		if err != nil {
			return fmt.Errorf("routes: %s", err)
		}
		for _, r := range routes {
			if r.LinkIndex == loopbackIndex && r.Type == unix.RTN_UNICAST && !isLoopbackHost(r) {
				return fmt.Errorf("a route goes by lo (%s)", r)
			}
		}
	}
	return nil
}

// loopbackIndex is the index of lo in every network namespace.
const loopbackIndex = 1

// isLoopbackHost reports whether a route is the kernel's own for ::1, which is local besides.
func isLoopbackHost(r netlink.Route) bool { return r.Dst != nil && r.Dst.IP.IsLoopback() }
