package main

import (
	"errors"
	"fmt"
)

// check fails if a ratio is far from what it should be: so far that no busy machine explains it.
func (r *Report) check() error {
	var errs []error
	expect := func(ok bool, format string, v ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, v...))
		}
	}
	program := func(set string, rules int, hook string) float64 {
		for _, p := range r.Programs {
			if p.Set == set && p.Rules == rules && p.Hook == hook && p.State == "" && p.Traffic == "hot" {
				return p.Nanoseconds
			}
		}
		return 0
	}
	frames := func(rules int, contender string) float64 {
		for _, f := range r.Frames {
			if f.Scenario == "misses" && f.Rules == rules && f.Contender == contender {
				return f.Nanoseconds
			}
		}
		return 0
	}
	if few, many := program("ruleset-size", 10, "tc"), program("ruleset-size", 1000, "tc"); few > 0 && many > 0 {
		expect(many < 3*few+200, "1,000 rules cost %.0f ns in the program, 10 rules %.0f: more than three times", many, few)
	}
	bpfwall, iptables, none := frames(1000, ours), frames(1000, legacy), frames(1000, nothing)
	if bpfwall > 0 && iptables > 0 {
		expect(bpfwall < iptables, "1,000 rules that frames miss: bpfwall takes %.0f ns a frame, iptables-legacy %.0f", bpfwall, iptables)
		expect(bpfwall < 3*none, "1,000 rules that frames miss: bpfwall takes %.0f ns a frame, no firewall %.0f", bpfwall, none)
	}
	for _, f := range r.Frames {
		expect(f.Not != "" || f.Proved > 0, "%s in %s was not proved", f.Contender, f.Scenario)
	}
	r.checkBlocklists(expect)
	return errors.Join(errs...)
}

// checkBlocklists: long lists cost about what short ones do, and less than netfilter's.
func (r *Report) checkBlocklists(expect func(ok bool, format string, v ...any)) {
	const kind = "IPv4, listed"
	program, frames := map[int]float64{}, map[string]float64{}
	for _, b := range r.Blocklists {
		if b.Not == "" {
			program[b.IPv4+b.IPv6] = max(program[b.IPv4+b.IPv6], b.Program[kind])
			frames[b.Contender] = b.Frames[kind]
		}
	}
	for n, ns := range program {
		expect(ns < 1000, "a list of %d prefixes costs %.0f ns in the program", n, ns)
	}
	if ours, theirs := frames["bpfwall, dynamic"], frames["ipset"]; ours > 0 && theirs > 0 {
		expect(ours < theirs, "dropping by a list takes bpfwall %.0f ns a frame, ipset %.0f", ours, theirs)
	}
}
