package ruleset

import "slices"

// Ruleset is everything one generation of the firewall decides with.
type Ruleset struct {
	Name   string   `json:"name,omitempty"`
	Chains []*Chain `json:"chains"`
	Sets   []*Set   `json:"sets,omitempty"`

	Conntrack *Conntrack `json:"conntrack,omitempty"` // nil: as the kernel does by default

	// PublishedAsInput: what DNAT of the kernel sends on from a port of this host (containers') is judged by the input chains with the
	// address and port that were asked for, and its answers by the output chains. Else both are forwarded packets, as to iptables.
	PublishedAsInput bool `json:"published_as_input,omitempty"`
}

// Hook is a place in the packet's way where base chains run.
type Hook uint8

// The hooks, in the order in which a packet meets them.
const (
	HookNone       Hook = iota // a user chain: runs only where a rule jumps to it
	HookPrerouting             // every received packet, before conntrack: raw PREROUTING, `guard`
	HookRawOutput              // every locally made packet, before conntrack: raw OUTPUT
	HookInput                  // received packets that the routing table calls local
	HookForward                // packets on their way from one interface to another
	HookOutput                 // locally made packets
	HookListen                 // no packet: a socket of TCP or UDP that is bound to a port, which is its destination
	hookCount
)

// Hooks are the hooks that a base chain can have.
var Hooks = []Hook{HookPrerouting, HookRawOutput, HookInput, HookForward, HookOutput, HookListen}

func (h Hook) String() string {
	return nth(h, "none", "prerouting", "raw-output", "input", "forward", "output", "listen")
}

// Family is an address family; a chain or packet of FamilyAny covers both.
type Family uint8

// The families. The numbers are the version nibble of the IP header.
const (
	FamilyAny  Family = 0
	FamilyIPv4 Family = 4
	FamilyIPv6 Family = 6
)

func (f Family) String() string {
	return nth(f, "any", "family-1", "family-2", "family-3", "ipv4", "family-5", "ipv6")
}

// Covers reports whether a chain of family f judges packets of family p.
func (f Family) Covers(p Family) bool { return f == FamilyAny || f == p }

// Chain is an ordered list of rules. A base chain has a hook and a policy; a user chain has neither and is named by jumps.
// Names are unique per family: an iptables-save and an ip6tables-save file imported together give INPUT/ipv4 and INPUT/ipv6.
// A jump goes to the chain of that name with the family of the jumping chain.
type Chain struct {
	Name   string      `json:"name"`
	Family Family      `json:"family,omitempty"`
	Hook   Hook        `json:"hook,omitempty"`
	Policy VerdictKind `json:"policy,omitempty"` // base chains only: Accept or Drop
	Rules  []*Rule     `json:"rules,omitempty"`
	Pos    Pos         `json:"pos,omitzero"`
}

// Rule is: if every match holds, do the statements in order, then the verdict.
type Rule struct {
	// ID is the rule's identity: counters and limits follow it from generation to generation. AssignIDs fills it in.
	ID         string      `json:"id,omitempty"`
	Name       string      `json:"name,omitempty"` // unique, given by the author; "" if none
	Note       string      `json:"note,omitempty"` // iptables -m comment, TOML note
	Matches    []Match     `json:"matches,omitempty"`
	Statements []Statement `json:"statements,omitempty"`
	Verdict    Verdict     `json:"verdict"`
	Pos        Pos         `json:"pos,omitzero"`
	Text       string      `json:"text,omitempty"` // the rule as its author wrote it, one line
}

// VerdictKind is what happens to the packet when a rule has matched.
type VerdictKind uint8

// The verdicts. The zero value goes on with the next rule.
const (
	Continue VerdictKind = iota
	Accept
	Drop
	Reject // drop and answer, see Verdict.With
	Return // to the rule after the jump; in a base chain: its policy
	Jump   // to Verdict.Chain, and come back
	Goto   // to Verdict.Chain, and come back to where this chain was jumped to from
	verdictCount
)

func (k VerdictKind) String() string {
	return nth(k, "continue", "accept", "drop", "reject", "return", "jump", "goto")
}

// Verdict ends a rule.
type Verdict struct {
	Kind  VerdictKind `json:"kind,omitempty"`
	Chain string      `json:"chain,omitempty"` // Jump, Goto
	With  RejectWith  `json:"with,omitempty"`  // Reject
}

// RejectWith is the answer that a rejected packet gets.
type RejectWith uint8

// The answers. For the other family than the one named the nearest equivalent is sent; a TCP reset answers TCP only,
// and other protocols get the port-unreachable error. RejectDefault is what a closed port would do: reset for TCP, else port-unreachable.
const (
	RejectDefault     RejectWith = iota
	RejectTCPReset               // tcp-reset
	RejectPort                   // ICMP 3/3, ICMPv6 1/4
	RejectHost                   // ICMP 3/1, ICMPv6 1/3 (addr-unreach)
	RejectNet                    // ICMP 3/0, ICMPv6 1/0 (no-route)
	RejectProto                  // ICMP 3/2, ICMPv6 1/4
	RejectNetProhib              // ICMP 3/9, ICMPv6 1/1
	RejectHostProhib             // ICMP 3/10, ICMPv6 1/1
	RejectAdminProhib            // ICMP 3/13, ICMPv6 1/1 (adm-prohibited)
	RejectPolicyFail             // ICMPv6 1/5, ICMP 3/13
	RejectRoute                  // ICMPv6 1/6 (reject-route), ICMP 3/13
	rejectCount
)

func (w RejectWith) String() string {
	return nth(w, "default", "tcp-reset", "port-unreachable", "host-unreachable", "net-unreachable", "proto-unreachable",
		"net-prohibited", "host-prohibited", "admin-prohibited", "policy-fail", "reject-route")
}

// Statement is something a rule does besides its verdict; exactly one pointer is set.
type Statement struct {
	Log     *Log     `json:"log,omitempty"`
	SetMark *SetMark `json:"set_mark,omitempty"`
	NoTrack *NoTrack `json:"notrack,omitempty"`

	SynProxy *SynProxy `json:"synproxy,omitempty"`

	Change *SetChange `json:"change,omitempty"`
}

// Log reports the packet to whoever watches.
type Log struct {
	Prefix string `json:"prefix,omitempty"`
	Level  uint8  `json:"level,omitempty"` // syslog severity 0..7; iptables' default is 4 (warning)
	Group  int    `json:"group,omitempty"` // NFLOG group + 1; 0 for the kernel log
}

// SetMark sets mark = (mark &^ Mask) ^ Value (xt_MARK), so that --set-xmark, --or-mark, --and-mark and --xor-mark are all one.
type SetMark struct {
	Value uint32 `json:"value"`
	Mask  uint32 `json:"mask"`
}

// NoTrack keeps the packet out of conntrack: its state is UNTRACKED. Prerouting and raw-output chains only.
type NoTrack struct{}

// SynProxy has SYNs to listening sockets of this host, if the prerouting rules accept them, answered with cookies; they go no further. What
// belongs to no connection goes on if it answers a cookie. Prerouting chains only; what is not TCP is left alone.
type SynProxy struct{}

// UsesSynProxy reports whether a rule has a SYN proxy.
func (rs *Ruleset) UsesSynProxy() bool {
	for _, c := range rs.Chains {
		for _, r := range c.Rules {
			for _, s := range r.Statements {
				if s.SynProxy != nil {
					return true
				}
			}
		}
	}
	return false
}

// Decides reports whether a base chain does anything but accept.
func (c *Chain) Decides() bool { return len(c.Rules) > 0 || c.Policy != Accept }

// Decides reports whether packets of a hook meet a chain that does.
func (rs *Ruleset) Decides(h Hook) bool {
	return slices.ContainsFunc(rs.Chains, func(c *Chain) bool { return c.Hook == h && c.Decides() })
}

// Chain finds a chain by name, as a jump from a chain of family f does; nil if there is none.
func (rs *Ruleset) Chain(name string, f Family) *Chain {
	for _, c := range rs.Chains {
		if c.Name == name && c.Family == f {
			return c
		}
	}
	return nil
}

// Base lists the base chains of a hook that judge packets of a family, in order; every one of them must accept.
func (rs *Ruleset) Base(h Hook, f Family) []*Chain {
	var out []*Chain
	for _, c := range rs.Chains {
		if c.Hook == h && h != HookNone && c.Family.Covers(f) {
			out = append(out, c)
		}
	}
	return out
}
