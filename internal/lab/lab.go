// Package lab builds small networks out of network namespaces, to test and to show the firewall with real packets:
//
//	client eth0 ── lan0 dut wan0 ── eth0 server          (dut: the device under test, a router and a host)
//	                    dmz0 ── eth0 third               (on request)
//
// Everything is made in namespaces of its own, never on the machine's own interfaces, and Close removes all of it. Names carry
// the process id, so that New can clear away what a killed process left behind.
package lab

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/vishvananda/netns"
)

// runDir is where named namespaces live (ip-netns(8)).
const runDir = "/var/run/netns"

// Options is what differs between worlds. The zero value is two hosts with an IP stack, joined by a router without rp_filter.
type Options struct {
	Wires    bool // client, server and third have no IP stack: frames are injected and read raw
	Third    bool // a third leg: dmz0 of the dut
	RPFilter int  // net.ipv4.conf.*.rp_filter of the dut
	MTU      int  // of the server's link; 0: 1500
	Offloads bool // leave TSO, GSO, GRO and checksum offload on
}

// World is one network. Third is nil unless asked for.
type World struct {
	Client, DUT, Server, Third *NS

	spaces []*NS
	prefix string // of their names
	ports  int    // of bridges
}

var worlds atomic.Int32

var nameRE = regexp.MustCompile(`^bw(\d+)x\d+-`)

// New builds a world. It needs root.
func New(o Options) (*World, error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("lab: needs root to make network namespaces")
	}
	sweep()
	w := &World{prefix: fmt.Sprintf("bw%dx%d-", os.Getpid(), worlds.Add(1))}
	for _, place := range []struct {
		role string
		ns   **NS
		want bool
	}{{"client", &w.Client, true}, {"dut", &w.DUT, true}, {"server", &w.Server, true}, {"third", &w.Third, o.Third}} {
		if !place.want {
			continue
		}
		ns, err := newNS(w.prefix + place.role)
		if err != nil {
			return nil, errors.Join(err, w.Close())
		}
		*place.ns = ns
		w.spaces = append(w.spaces, ns)
	}
	if err := w.wire(o); err != nil {
		return nil, errors.Join(err, w.Close())
	}
	return w, nil
}

// Close ends the processes started in the world, undoes the firewall and removes the namespaces.
func (w *World) Close() error {
	var errs []error
	for _, ns := range w.spaces {
		errs = append(errs, ns.close())
	}
	return errors.Join(errs...)
}

// sweep removes what processes that are gone have left: namespaces, and traces of firewalls in them.
func sweep() {
	for _, pattern := range append([]string{filepath.Join(runDir, "%s")}, traces...) {
		found, _ := filepath.Glob(fmt.Sprintf(pattern, "bw*"))
		for _, path := range found {
			name, _, _ := strings.Cut(filepath.Base(path), ".")
			m := nameRE.FindStringSubmatch(name)
			if m == nil {
				continue
			}
			if _, err := os.Stat("/proc/" + m[1]); os.IsNotExist(err) {
				forget(name)
				_ = netns.DeleteNamed(name)
			}
		}
	}
}

// Stale lists the namespaces of this package that the process pid has, for tests of the clean-up.
func Stale(pid int) []string {
	found, _ := filepath.Glob(filepath.Join(runDir, "bw"+strconv.Itoa(pid)+"x*"))
	return found
}
