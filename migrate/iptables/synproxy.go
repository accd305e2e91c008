package iptables

import (
	"fmt"
	"slices"
	"strings"

	"github.com/bpfwall/bpfwall/ruleset"
)

// proxies finds the pairs of rules that make a SYN proxy: one of raw PREROUTING that takes SYNs out of connection tracking, and one of INPUT
// with SYNPROXY for the same packets, which have no connection then. The first becomes the proxy, which answers there already; the
// second lets in the connections that come of it.
func (f *file) proxies() {
	filter, raw := f.table("filter"), f.table("raw")
	if filter == nil {
		return
	}
	for _, c := range filter.chains {
		for _, r := range c.rules {
			if r.target != nil && r.target.ext.name == "SYNPROXY" {
				r.does = proxyOf(raw, c, r)
			}
		}
	}
}

// proxyOf is what becomes of a rule with SYNPROXY.
func proxyOf(raw *table, c *chain, r *rule) *action {
	lost := func(why string) *action {
		return &action{lost: "-j SYNPROXY: " + why + `; or write synproxy = "tcp/PORT" under [[guard]]`}
	}
	state := r.one("state", "ctstate")
	switch {
	case c.name == "FORWARD" && c.builtin():
		return lost("connections to sockets of this host have a SYN proxy, forwarded ones have none")
	case c.name != "INPUT" || !c.builtin():
		return lost("it is imported in INPUT itself, not in other chains")
	case state == nil || state.not || state.val.num != ruleset.StateInvalid|ruleset.StateUntracked:
		return lost("it is imported with -m state --state INVALID,UNTRACKED")
	}
	syns := untracks(raw, r.signature(state))
	if syns == nil {
		return lost("needs a rule of raw for the same packets: -t raw -A PREROUTING … --syn -j CT --notrack")
	}
	flags := syns.one("syn", "tcp-flags")
	syns.drop(flags)
	syns.does = &action{statement: &ruleset.Statement{SynProxy: &ruleset.SynProxy{}}, note: "the SYN proxy answers here, instead of in INPUT"}
	state.val.num = ruleset.StateNew
	return &action{verdict: ruleset.Verdict{Kind: ruleset.Accept},
		note: "accepts the connections that the SYN proxy of raw PREROUTING lets through; what it offers is read from this host"}
}

// untracks is the rule of raw PREROUTING that takes the SYNs of these packets out of connection tracking; nil if there is none, or it is
// taken.
func untracks(raw *table, packets string) *rule {
	if raw == nil || raw.chain("PREROUTING") == nil {
		return nil
	}
	for _, r := range raw.chain("PREROUTING").rules {
		if r.target == nil || r.does != nil {
			continue
		}
		plain := r.target.ext.name == "NOTRACK" || r.target.ext.name == "CT" && len(r.target.uses) == 1 && r.target.get("notrack") != nil
		flags := r.one("syn", "tcp-flags")
		syn, _ := readSyn(nil, "")
		if plain && flags != nil && !flags.not && flags.val.num == syn.num && flags.val.mask == syn.mask && r.signature(flags) == packets {
			return r
		}
	}
	return nil
}

// one is the use of options of these names, nil if there is none or more than one.
func (r *rule) one(names ...string) (found *use) {
	for _, m := range r.matches {
		for _, u := range m.uses {
			if !slices.Contains(names, u.opt.name()) {
				continue
			}
			if found != nil {
				return nil
			}
			found = u
		}
	}
	return found
}

// drop takes a use out of a rule.
func (r *rule) drop(gone *use) {
	for _, m := range r.matches {
		m.uses = slices.DeleteFunc(m.uses, func(u *use) bool { return u == gone })
	}
}

// signature is what the rule matches, apart from one option and comments, so that rules for the same packets have the same.
func (r *rule) signature(but *use) string {
	var all []string
	add := func(what string, u *use) {
		if u != nil && u != but {
			v := u.val
			all = append(all, fmt.Sprint(what, " ", u.not, " ", v.text, v.num, v.mask, v.parts, v.addrs, v.sides))
		}
	}
	for what, u := range map[string]*use{"source": r.src, "destination": r.dst, "in": r.in, "out": r.out, "protocol": r.proto, "fragment": r.frag} {
		add(what, u)
	}
	for _, m := range r.matches {
		if m.ext.name == "comment" {
			continue
		}
		for _, u := range m.uses {
			add(m.ext.name+" "+u.opt.name(), u)
		}
	}
	slices.Sort(all)
	return strings.Join(all, "\n")
}
