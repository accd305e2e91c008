package conntrack

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
)

// setting is what a conntrack is told beside the defaults: the kernel by sysctl, bpfwall by the switches of its programs.
type setting struct {
	sysctls  []string // below net.netfilter.nf_conntrack_
	switches map[string]uint8
	seconds  map[int]uint32 // bpfwall's cfg_ct_timeouts
}

func (s setting) kernel(t *testing.T, k *kernel) {
	t.Helper()
	for _, line := range s.sysctls {
		if err := k.world.DUT.Sysctl("net.netfilter.nf_conntrack_" + line); err != nil {
			t.Fatal(err)
		}
	}
}

func (s setting) bpfwall(t *testing.T, spec *ebpf.CollectionSpec) {
	t.Helper()
	for name, value := range s.switches {
		if err := spec.Variables[name].Set(value); err != nil {
			t.Fatalf("%s: %s", name, err)
		}
	}
	v := spec.Variables["cfg_ct_timeouts"]
	var times [32]uint32
	if err := v.Get(&times); err != nil {
		t.Fatal(err)
	}
	for i, n := range s.seconds {
		times[i] = n
	}
	if err := v.Set(times); err != nil {
		t.Fatal(err)
	}
}

// timeouts are short times: index in cfg_ct_timeouts, sysctls, seconds. None is a multiple of what a script waits.
var timeouts = []struct {
	index   int
	sysctls string
	seconds uint32
}{
	{1, "tcp_timeout_syn_sent", 2}, {2, "tcp_timeout_syn_recv", 4}, {3, "tcp_timeout_established", 6}, {4, "tcp_timeout_fin_wait", 4},
	{5, "tcp_timeout_close_wait", 2}, {6, "tcp_timeout_last_ack", 6}, {7, "tcp_timeout_time_wait", 4}, {8, "tcp_timeout_close", 2},
	{10, "tcp_timeout_max_retrans", 4}, {11, "tcp_timeout_unacknowledged", 4}, {12, "udp_timeout", 4}, {13, "udp_timeout_stream", 6},
	{14, "icmp_timeout icmpv6_timeout", 2}, {15, "generic_timeout", 4}, {16, "gre_timeout", 2}, {17, "gre_timeout_stream", 6},
}

const scriptWait = 2600 // ms

// slack is how late a packet may come: less than what lies between any number of waits and any timeout.
const slack = 500 * time.Millisecond

func shortTimes() setting {
	s := setting{seconds: map[int]uint32{}}
	for _, t := range timeouts {
		s.seconds[t.index] = t.seconds
		for _, name := range strings.Fields(t.sysctls) {
			s.sysctls = append(s.sysctls, fmt.Sprintf("%s=%d", name, t.seconds))
		}
	}
	return s
}

var waiting = flag.Int("waiting", 400, "random scripts that TestStatefulSettings compares with short timeouts; 900 take 8 s")

// The two agree under other settings, too.
func TestStatefulSettings(t *testing.T) {
	needRoot(t)
	for _, c := range []struct {
		name    string
		set     setting
		scripts int
		waits   []int // before these packets
	}{
		{"not loose", setting{sysctls: []string{"tcp_loose=0"}, switches: map[string]uint8{"cfg_tcp_loose": 0}}, batchSize, nil},
		{"liberal", setting{sysctls: []string{"tcp_be_liberal=1"}, switches: map[string]uint8{"cfg_tcp_liberal": 1}}, batchSize, nil},
		{"short times", shortTimes(), *waiting, []int{5, 11, 19}},
	} {
		t.Run(c.name, func(t *testing.T) { compareRandom(t, newRig(t, forwarded, c.set), c.scripts, c.waits) })
	}
}

// What one of them is told and the other is not shows.
func TestRigNotices(t *testing.T) {
	needRoot(t)
	for _, c := range []struct {
		name string
		set  setting
	}{
		{"not loose", setting{switches: map[string]uint8{"cfg_tcp_loose": 0}}},
		{"liberal", setting{switches: map[string]uint8{"cfg_tcp_liberal": 1}}},
		{"a UDP timeout", setting{seconds: map[int]uint32{12: 32}}},
		{"a retransmission timeout", setting{seconds: map[int]uint32{10: 303}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, forwarded, c.set)
			found := newFindings()
			found.run(t, r, randomScripts(*seed, 0, 2*batchSize, nil))
			if len(found.classes) == 0 {
				t.Error("no disagreement")
			}
		})
	}
}

// compareRandom plays random scripts and fails for what the two see differently.
func compareRandom(t *testing.T, r *rig, scripts int, waits []int) {
	t.Helper()
	found := newFindings()
	for n := 0; n < scripts; n += batchSize {
		found.run(t, r, r.kernel.place.change(randomScripts(*seed, n, min(batchSize, scripts-n), waits)))
	}
	t.Logf("%d scripts, %d packets, %d entries in %.1f s", scripts, r.packets, r.entries, r.spent.Seconds())
	found.logMix(t)
	found.report(t, r)
}

// randomScripts are scripts number from and on of a seed.
func randomScripts(seed uint64, from, n int, waits []int) []*script {
	var out []*script
	for i := from; i < from+n; i++ {
		g := &generator{rng: rand.New(rand.NewPCG(seed, uint64(i))), all: *everyKind}
		s := g.script()
		s.name = fmt.Sprintf("seed %d script %d", seed, i)
		for _, w := range waits {
			if w < len(s.packets) {
				s.packets[w].wait = scriptWait
			}
		}
		out = append(out, s)
	}
	return out
}
