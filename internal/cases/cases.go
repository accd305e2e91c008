// Package cases is the rulesets and packets that every engine has to agree on: ruleset.Eval, the compiled programs, and where the
// rules can be said in its language the kernel's own iptables.
package cases

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/bpfwall/bpfwall/ruleset"
)

// Case is a ruleset and what becomes of packets. The packets are literals as package packet reads them.
type Case struct {
	Name string
	// Accept is short for Chains: one base chain on Hook that accepts what these matches hold for, and drops the rest.
	Accept []ruleset.Match
	Hook   ruleset.Hook   // for Accept; HookInput if none
	Family ruleset.Family // for Accept; and of the packets that IPTables can judge: FamilyAny for iptables and ip6tables alike
	Chains []*ruleset.Chain
	Sets   []*ruleset.Set

	Allowed []string // accepted
	Dropped []string
	Others  []Expect // rejected packets, marks, notrack
	// Sequence is packets one after another at one time, on the same token buckets; new ones at its start.
	Sequence []Expect

	// IPTables is the same rules as iptables-save has them, policies included as ":INPUT DROP"; empty if they cannot be said so.
	IPTables []string
	Table    string // of IPTables; "" is filter
	// LegacyOnly: iptables-nft reads some of the packets differently, we follow iptables-legacy.
	LegacyOnly bool
}

// Expect is a packet and what becomes of it.
type Expect struct {
	Packet  string
	Verdict ruleset.Verdict
	Mark    uint32 // on accepted packets, after the rules
	NoTrack bool

	SynProxy bool
}

// Expects is every packet of the case outside of Sequence.
func (c *Case) Expects() []Expect {
	var out []Expect
	for _, p := range c.Allowed {
		out = append(out, Expect{Packet: p, Verdict: ruleset.Verdict{Kind: ruleset.Accept}})
	}
	for _, p := range c.Dropped {
		out = append(out, Expect{Packet: p, Verdict: ruleset.Verdict{Kind: ruleset.Drop}})
	}
	return append(out, c.Others...)
}

// Ruleset builds the case's rules, checked and with IDs; the caller may change them.
func (c *Case) Ruleset() (*ruleset.Ruleset, error) {
	rs := &ruleset.Ruleset{Name: c.Name}
	for _, s := range c.Sets {
		set := *s
		rs.Sets = append(rs.Sets, &set)
	}
	for _, from := range c.chains() {
		to := *from
		to.Rules = nil
		for _, r := range from.Rules {
			rule := *r
			rule.Matches = slices.Clone(r.Matches)
			to.Rules = append(to.Rules, &rule)
		}
		rs.Chains = append(rs.Chains, &to)
	}
	if err := rs.Check(); err != nil {
		return nil, fmt.Errorf("case %q: %w", c.Name, err)
	}
	rs.AssignIDs()
	return rs, nil
}

// chains is Chains, or what Accept is short for.
func (c *Case) chains() []*ruleset.Chain {
	if c.Chains != nil {
		return c.Chains
	}
	b := base(c.hook(), ruleset.Drop, rule(accept, c.Accept...))
	b.Family = c.Family
	return []*ruleset.Chain{b}
}

func (c *Case) hook() ruleset.Hook {
	if c.Hook == ruleset.HookNone {
		return ruleset.HookInput
	}
	return c.Hook
}

// IPTablesSave is a file for iptables-restore with the case's rules; "" if they cannot be said so. For Accept the policy is added.
func (c *Case) IPTablesSave() string {
	if len(c.IPTables) == 0 {
		return ""
	}
	lines := []string{"*" + c.table()}
	if c.Chains == nil {
		lines = append(lines, ":"+chainNames[c.hook()]+" DROP")
	}
	lines = append(lines, c.IPTables...)
	return strings.Join(append(lines, "COMMIT"), "\n") + "\n"
}

func (c *Case) table() string {
	if c.Table == "" {
		return "filter"
	}
	return c.Table
}

// All is every case.
func All() []Case {
	return slices.Concat(metaCases, ownerCases, addrCases, transportCases, ipCases, flowCases, statementCases, setCases, tupleCases, limitCases, sampleCases, recentCases, flowCountCases)
}

// chainNames are the base chains' names in iptables.
var chainNames = map[ruleset.Hook]string{
	ruleset.HookPrerouting: "PREROUTING", ruleset.HookRawOutput: "RAWOUT",
	ruleset.HookInput: "INPUT", ruleset.HookForward: "FORWARD", ruleset.HookOutput: "OUTPUT", ruleset.HookListen: "LISTEN",
}

var (
	accept = ruleset.Verdict{Kind: ruleset.Accept}
	drop   = ruleset.Verdict{Kind: ruleset.Drop}
	back   = ruleset.Verdict{Kind: ruleset.Return}
	goOn   = ruleset.Verdict{}
)

func jump(chain string) ruleset.Verdict { return ruleset.Verdict{Kind: ruleset.Jump, Chain: chain} }

func goTo(chain string) ruleset.Verdict { return ruleset.Verdict{Kind: ruleset.Goto, Chain: chain} }

func reject(with ruleset.RejectWith) ruleset.Verdict {
	return ruleset.Verdict{Kind: ruleset.Reject, With: with}
}

func base(h ruleset.Hook, policy ruleset.VerdictKind, rules ...*ruleset.Rule) *ruleset.Chain {
	return &ruleset.Chain{Name: chainNames[h], Hook: h, Policy: policy, Rules: rules}
}

func chain(name string, rules ...*ruleset.Rule) *ruleset.Chain {
	return &ruleset.Chain{Name: name, Rules: rules}
}

func rule(v ruleset.Verdict, matches ...ruleset.Match) *ruleset.Rule {
	return &ruleset.Rule{Matches: matches, Verdict: v}
}

// do is a rule with statements.
func do(v ruleset.Verdict, s []ruleset.Statement, matches ...ruleset.Match) *ruleset.Rule {
	return &ruleset.Rule{Matches: matches, Statements: s, Verdict: v}
}

func all(m ...ruleset.Match) []ruleset.Match { return m }

func not(m ruleset.Match) ruleset.Match {
	m.Not = true
	return m
}

// is matches any of some numbers.
func is(f ruleset.FieldID, values ...uint64) ruleset.Match {
	m := ruleset.Match{Field: f}
	for _, v := range values {
		m.Ranges = append(m.Ranges, ruleset.Range{From: v, To: v})
	}
	return m
}

// within matches numbers from..to.
func within(f ruleset.FieldID, from, to uint64) ruleset.Match {
	return ruleset.Match{Field: f, Ranges: []ruleset.Range{{From: from, To: to}}}
}

// masked matches numbers n with n & mask == value.
func masked(f ruleset.FieldID, value, mask uint64) ruleset.Match {
	return ruleset.Match{Field: f, Masked: []ruleset.Masked{{Value: value, Mask: mask}}}
}

// bits matches any of some bits.
func bits(f ruleset.FieldID, v uint64) ruleset.Match { return masked(f, v, v) }

// or joins the operands of two matches of one field.
func or(a, b ruleset.Match) ruleset.Match {
	a.Ranges = slices.Concat(a.Ranges, b.Ranges)
	a.Masked = slices.Concat(a.Masked, b.Masked)
	a.Addrs = slices.Concat(a.Addrs, b.Addrs)
	return a
}

func ifaces(f ruleset.FieldID, names ...string) ruleset.Match {
	return ruleset.Match{Field: f, Names: names}
}

// addrs matches addresses written as a, a/bits, a/mask or a-b.
func addrs(f ruleset.FieldID, list ...string) ruleset.Match {
	return ruleset.Match{Field: f, Addrs: ranges(list...)}
}

func members(name string, list ...string) *ruleset.Set {
	return &ruleset.Set{Name: name, Members: ranges(list...)}
}

func ranges(list ...string) []ruleset.AddrRange {
	var out []ruleset.AddrRange
	for _, s := range list {
		from, to, isRange := strings.Cut(s, "-")
		a, mask, isMask := strings.Cut(s, "/")
		switch p, err := netip.ParsePrefix(s); {
		case isRange:
			out = append(out, ruleset.AddrRange{From: netip.MustParseAddr(from), To: netip.MustParseAddr(to)})
		case err == nil:
			out = append(out, ruleset.Prefix(p))
		case isMask:
			out = append(out, ruleset.MaskedAddr(netip.MustParseAddr(a), netip.MustParseAddr(mask)))
		default:
			out = append(out, ruleset.AddrRange{From: netip.MustParseAddr(s), To: netip.MustParseAddr(s)})
		}
	}
	return out
}
