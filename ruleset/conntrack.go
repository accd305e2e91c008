package ruleset

import (
	"fmt"
	"strings"
	"time"
)

// Conntrack is how connections are tracked, where a ruleset does not want what the kernel does by default.
type Conntrack struct {
	Max      uint32            `json:"max,omitempty"`       // flows that have proved to be answered; 0: as many as usual
	HalfOpen uint32            `json:"half_open,omitempty"` // flows that have not; 0: as many as usual
	Timeouts map[string]uint32 `json:"timeouts,omitempty"`  // seconds, by a name of ConntrackTimeouts
	Strict   bool              `json:"strict,omitempty"`    // connections are not picked up in the middle (nf_conntrack_tcp_loose = 0)
	Liberal  bool              `json:"liberal,omitempty"`   // TCP windows are no reason to call a segment invalid (nf_conntrack_tcp_be_liberal = 1)

	PerSource  uint32 `json:"per_source,omitempty"`  // flows that one source may have at a time; 0: any number
	SourceIPv4 uint8  `json:"source_ipv4,omitempty"` // bits of an address that make a source; 0: DefaultSourceIPv4
	SourceIPv6 uint8  `json:"source_ipv6,omitempty"` // 0: DefaultSourceIPv6

	Pos Pos `json:"pos,omitzero"`
}

// Who is one source to Conntrack.PerSource, if the ruleset does not say: an address, or a network of hosts with IPv6.
const (
	DefaultSourceIPv4 = 32
	DefaultSourceIPv6 = 64
)

// The number of flows that a ruleset may ask for.
const (
	MinFlows = 16
	MaxFlows = 1 << 24
)

// maxTimeout is in seconds, a year.
const maxTimeout = 365 * 24 * 3600

// Timeout is how long a flow stays without a packet.
type Timeout struct {
	Name    string
	Default uint32 // seconds
}

// ConntrackTimeouts are all of them, with the kernel's defaults; the place is that in cfg_ct_timeouts (bpf/switches.h).
var ConntrackTimeouts = [...]Timeout{
	{}, {"tcp_syn_sent", 120}, {"tcp_syn_recv", 60}, {"tcp_established", 432000}, {"tcp_fin_wait", 120}, {"tcp_close_wait", 60},
	{"tcp_last_ack", 30}, {"tcp_time_wait", 120}, {"tcp_close", 10}, {"tcp_syn_sent2", 120}, {"tcp_max_retrans", 300},
	{"tcp_unacknowledged", 300}, {"udp", 30}, {"udp_stream", 120}, {"icmp", 30}, {"generic", 600}, {"gre", 30}, {"gre_stream", 180},
	{"fragment_ipv4", 30}, {"fragment_ipv6", 60}, {"sctp_closed", 10}, {"sctp_cookie_wait", 3}, {"sctp_cookie_echoed", 3},
	{"sctp_established", 210}, {"sctp_shutdown_sent", 3}, {"sctp_shutdown_recd", 3}, {"sctp_shutdown_ack_sent", 3}, {"sctp_heartbeat_sent", 30},
}

// check finds what the kernel would not take.
func (ct *Conntrack) check(errs *ErrorList) {
	if ct == nil {
		return
	}
	for _, size := range []struct {
		name string
		n    uint32
	}{{"max", ct.Max}, {"half_open", ct.HalfOpen}} {
		if size.n != 0 && (size.n < MinFlows || size.n > MaxFlows) {
			errs.Add(ct.Pos, "conntrack: %s %d: not from %d to %d", size.name, size.n, MinFlows, MaxFlows)
		}
	}
	if ct.PerSource > MaxFlows {
		errs.Add(ct.Pos, "conntrack: per_source %d: not from 1 to %d", ct.PerSource, MaxFlows)
	}
	if ct.SourceIPv4 > 32 || ct.SourceIPv6 > 128 {
		errs.Add(ct.Pos, "conntrack: a source of %d and %d bits: not up to 32 and 128", ct.SourceIPv4, ct.SourceIPv6)
	}
	known := map[string]bool{}
	for _, t := range ConntrackTimeouts[1:] {
		known[t.Name] = true
	}
	for name, s := range ct.Timeouts {
		if !known[name] {
			errs.Add(ct.Pos, "conntrack: unknown timeout %q", name)
		} else if s == 0 || s > maxTimeout {
			errs.Add(ct.Pos, "conntrack: timeout %s: not from 1 second to a year", name)
		}
	}
}

// String is the settings in one line.
func (ct *Conntrack) String() string {
	var words []string
	if ct.Max != 0 {
		words = append(words, fmt.Sprintf("max %d", ct.Max))
	}
	if ct.HalfOpen != 0 {
		words = append(words, fmt.Sprintf("half open %d", ct.HalfOpen))
	}
	if ct.PerSource != 0 {
		words = append(words, fmt.Sprintf("%d per source", ct.PerSource))
	}
	if ct.SourceIPv4 != 0 {
		words = append(words, fmt.Sprintf("source ipv4/%d", ct.SourceIPv4))
	}
	if ct.SourceIPv6 != 0 {
		words = append(words, fmt.Sprintf("source ipv6/%d", ct.SourceIPv6))
	}
	if ct.Strict {
		words = append(words, "strict")
	}
	if ct.Liberal {
		words = append(words, "liberal")
	}
	for _, t := range ConntrackTimeouts[1:] {
		if s, ok := ct.Timeouts[t.Name]; ok {
			words = append(words, fmt.Sprintf("%s %s", t.Name, time.Duration(s)*time.Second))
		}
	}
	return "conntrack " + strings.Join(words, ", ")
}
