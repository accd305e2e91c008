package bpf

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"regexp"
	"testing"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/features"
	"github.com/cilium/ebpf/rlimit"

	"github.com/bpfwall/bpfwall/bpf/prune"
)

// needRoot skips a test that loads programs.
func needRoot(tb testing.TB) {
	tb.Helper()
	if os.Geteuid() != 0 {
		tb.Skip("loading BPF programs needs root")
	}
	if err := rlimit.RemoveMemlock(); err != nil {
		tb.Fatal(err)
	}
}

// load puts a spec into the kernel and closes it with the test.
func load(tb testing.TB, spec *ebpf.CollectionSpec) *ebpf.Collection {
	tb.Helper()
	needRoot(tb)
	fit(spec)
	coll, err := ebpf.NewCollection(spec)
	if err != nil {
		if isOld() && lackingRE.MatchString(fmt.Sprintf("%+v", err)) {
			tb.Skipf("this kernel lacks what the program needs: %s", err)
		}
		var v *ebpf.VerifierError
		if errors.As(err, &v) {
			tb.Fatalf("%-40v", v)
		}
		tb.Fatal(err)
	}
	tb.Cleanup(coll.Close)
	return coll
}

// isOld reports whether the kernel has no netfilter programs (before Linux 6.4).
func isOld() bool { return errors.Is(features.HaveProgramType(ebpf.Netfilter), ebpf.ErrNotSupported) }

// lackingRE is what verifiers say of functions of the kernel, and before Linux 5.12 of ours and of numbers that are exchanged.
var lackingRE = regexp.MustCompile(`unknown kfunc|type PTR in .* is not supported yet|BPF_STX uses reserved fields`)

// fit leaves out of a spec what an old kernel does not take, as the data plane does.
func fit(spec *ebpf.CollectionSpec) {
	if !isOld() {
		return
	}
	maps.DeleteFunc(spec.Programs, func(_ string, p *ebpf.ProgramSpec) bool { return p.Type == ebpf.Netfilter })
	prune.Spec(spec)
}

// classifier is the spec of a generation with some switches on.
func classifier(tb testing.TB, on ...string) *ebpf.CollectionSpec {
	tb.Helper()
	spec, err := LoadClassifier()
	if err != nil {
		tb.Fatal(err)
	}
	for _, name := range on {
		if err := spec.Variables[name].Set(uint8(1)); err != nil {
			tb.Fatalf("%s: %s", name, err)
		}
	}
	return spec
}

// withLimit limits the flows of a source, too.
func withLimit(tb testing.TB, spec *ebpf.CollectionSpec) *ebpf.CollectionSpec {
	tb.Helper()
	if err := spec.Variables["cfg_ct_per_source"].Set(uint32(100)); err != nil {
		tb.Fatal(err)
	}
	return spec
}

var everySwitch = []string{"cfg_conntrack", "cfg_forwarding", "cfg_prerouting", "cfg_raw_output", "cfg_ifnames", "cfg_addrtypes",
	"cfg_tcp_options", "cfg_mac", "cfg_reads_transport", "cfg_checksums", "cfg_route_notes"}

func TestObjectsLoad(t *testing.T) {
	dispatcher, err := LoadDispatcher()
	if err != nil {
		t.Fatal(err)
	}
	for name, spec := range map[string]*ebpf.CollectionSpec{
		"classifier, nothing on":    classifier(t),
		"classifier, everything on": withLimit(t, classifier(t, everySwitch...)),
		"xdp, nothing on":           xdp(t),
		"xdp, everything on":        xdp(t, xdpSwitches...),
		"dispatcher":                dispatcher,
	} {
		t.Run(name, func(t *testing.T) {
			for _, p := range load(t, spec).Programs {
				info, err := p.Info()
				if err != nil {
					t.Fatal(err)
				}
				n, _ := info.VerifiedInstructions()
				t.Logf("%s: %d instructions verified", info.Name, n)
			}
		})
	}
}

// xdp is the spec of a generation's XDP program with some switches on.
func xdp(tb testing.TB, on ...string) *ebpf.CollectionSpec {
	tb.Helper()
	spec, err := LoadXdp()
	if err != nil {
		tb.Fatal(err)
	}
	for _, name := range on {
		if err := spec.Variables[name].Set(uint8(1)); err != nil {
			tb.Fatalf("%s: %s", name, err)
		}
	}
	return spec
}

var xdpSwitches = []string{"cfg_ifnames", "cfg_addrtypes", "cfg_tcp_options", "cfg_mac"}

// loops are the functions that bpf_loop calls.
var loops = map[string]bool{"crc_chunk": true, "conncount_try": true, "flows_take": true, "flows_find": true, "flows_free": true}

func TestStubsAreFunctions(t *testing.T) {
	spec := classifier(t)
	for prog, want := range map[string][]string{
		"tc_ingress": {"fw_prerouting", "fw_input", "fw_log", "fw_limit", "fw_meter"},
		"tc_egress":  {"fw_raw_output", "fw_output", "fw_forward", "fw_log", "fw_limit", "fw_meter"},
		"fw_judge":   {"fw_prerouting", "fw_raw_output", "fw_input", "fw_forward", "fw_output", "fw_log", "fw_limit", "fw_meter"},
	} {
		found := map[string]bool{}
		for _, ins := range spec.Programs[prog].Instructions {
			if f := btf.FuncMetadata(&ins); f != nil {
				found[f.Name] = true
				if f.Linkage != btf.GlobalFunc && !loops[f.Name] {
					t.Errorf("%s: %s is not a global function", prog, f.Name)
				}
			}
		}
		for _, name := range want {
			if !found[name] {
				t.Errorf("%s: no function %s", prog, name)
			}
		}
	}
}

func TestLayout(t *testing.T) {
	for _, c := range []struct {
		name      string
		got, want uintptr
	}{
		{"fw_pkt", unsafe.Sizeof(Pkt{}), 248},
		{"fw_counter", unsafe.Sizeof(Counter{}), 16},
		{"fw_event", unsafe.Sizeof(Event{}), 264},
		{"iface", unsafe.Sizeof(Iface{}), 32},
		{"addr_key", unsafe.Sizeof(AddrKey{}), 24},
		{"ct_key", unsafe.Sizeof(CtKey{}), 40},
		{"ct_flow", unsafe.Sizeof(CtFlow{}), 120},
		{"ct_assured", unsafe.Sizeof(CtAssured{}), 128},
	} {
		if c.got != c.want {
			t.Errorf("%s: %d bytes, want %d", c.name, c.got, c.want)
		}
	}
}
