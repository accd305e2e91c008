package dataplane

import (
	"bytes"
	"os"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/features"
	"golang.org/x/sys/unix"

	"github.com/bpfwall/bpfwall/ruleset"
)

// kernel is what the running kernel, and the host, are asked.
type kernel struct {
	has          func(need) error // ebpf.ErrNotSupported: it has not
	hasKfunc     func(name string) bool
	netfilter    func() error // programs at netfilter's hooks
	mountinfo    func() (string, error)
	capabilities func() (has func(uint) bool, err error)
	load         func(object string) error  // before one that can be done without is loaded
	attach       func(attacher, hook) error // before a dispatcher is attached
	mount        func(dir string) error
}

// running is the kernel; tests put one in its place that lacks something.
var running = kernel{
	has: func(n need) error { return n.probe() }, hasKfunc: hasKfunc, capabilities: capabilities, mount: mountBPF,
	netfilter: func() error { return features.HaveProgramType(ebpf.Netfilter) },
	load:      func(string) error { return nil }, attach: func(attacher, hook) error { return nil },
	mountinfo: func() (string, error) { b, err := os.ReadFile("/proc/self/mountinfo"); return string(b), err },
}

// need is something that a kernel must have, with the first version that does.
type need struct {
	feature, kernel string
	probe           func() error
}

var needs = []need{
	{"tc programs", "4.1", func() error { return features.HaveProgramType(ebpf.SchedCLS) }},
	{"bounded loops", "5.3", features.HaveBoundedLoops},
	{"LRU hash maps", "4.10", func() error { return features.HaveMapType(ebpf.LRUHash) }},
	{"ring buffers", "5.8", func() error { return features.HaveMapType(ebpf.RingBuf) }},
	{"spin locks in maps", "5.1", func() error { return features.HaveProgramHelper(ebpf.SchedCLS, asm.FnSpinLock) }},
	{"route lookups", "4.18", func() error { return features.HaveProgramHelper(ebpf.SchedCLS, asm.FnFibLookup) }},
}

// probe returns ErrUnsupported, with the feature, if the kernel cannot run the programs. Probes that could not tell count as passed:
// loading has the last word.
func probe() error {
	for _, n := range needs {
		if err := n.missing(ruleset.Pos{}); err != nil {
			return err
		}
	}
	return nil
}

// missing returns ErrUnsupported if the kernel lacks it. at: what asks for it; the zero Pos: everything does.
func (n need) missing(at ruleset.Pos) error {
	if !lacks(n) {
		return nil
	}
	return &UnsupportedError{Feature: n.feature, Kernel: n.kernel, Running: kernelRelease(), Pos: at}
}

func kernelRelease() string {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return "unknown"
	}
	return string(bytes.TrimRight(u.Release[:], "\x00"))
}

// Capabilities that everything here needs; CAP_SYS_ADMIN stands in for CAP_BPF (capabilities(7)).
const (
	capNetAdmin = 12
	capSysAdmin = 21
	capPerfmon  = 38
	capBPF      = 39
)

// checkPermitted returns ErrNotPermitted, with what is missing.
func checkPermitted() error {
	has, err := running.capabilities()
	if err != nil {
		return nil // the system calls will tell
	}
	var missing []string
	if !has(capBPF) && !has(capSysAdmin) {
		missing = append(missing, "CAP_BPF")
	}
	if !has(capPerfmon) && !has(capSysAdmin) {
		missing = append(missing, "CAP_PERFMON")
	}
	if !has(capNetAdmin) {
		missing = append(missing, "CAP_NET_ADMIN")
	}
	if missing == nil {
		return nil
	}
	return &NotPermittedError{For: "the kernel's firewall hooks", Missing: missing}
}

// capabilities tells which capabilities are in effect.
func capabilities() (has func(uint) bool, err error) {
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&hdr, &data[0]); err != nil {
		return nil, err
	}
	return func(c uint) bool { return data[c/32].Effective&(1<<(c%32)) != 0 }, nil
}
