package main

import (
	"fmt"
	"strings"
)

// readme is the report as a page.
func (r *Report) readme() string {
	var b strings.Builder
	fmt.Fprintf(&b, `# Benchmarks

Written by `+"`make bench`"+`, which anybody can run on a machine of their own; do not edit. The figures as JSON: [results.json](results.json).
Compare the ratios: the times are of one machine.

%s, %s, in %.0f s, %d rounds of each measurement, frames for %g s a round.
%s.
Mitigations that are on: %s.

How it is measured:

- Programs alone: what is attached to an interface is called by a program that first writes the next of many frames over the packet. The
  time of the same program calling one that does nothing is taken off. *hot* is one frame again and again, *zipf* 20,000 frames some of which
  come often, *uniform* %d different frames that each meet a rule (or the traffic of the scenario), *mixed* frames made of parts of several
  rules, most of which meet none. "new" packets are of a flow that nobody has answered, "established" ones of flows that were.
- Frames: %d bytes, written by an XDP program into a veth (live frames), through a router in a network namespace, to an XDP program that counts
  and drops them; all of it on one CPU. Firewalls take turns in each round; the median of the rounds counts, and the median of the router
  without a firewall is taken off. Noise of some ten ns is normal.
- Before it is measured, each contender is sent frames one by one, and what it lets pass must be what the rules say.
- nft's rules have counters, as those of bpfwall and iptables have; sets by hand have one for each set.
- The scenarios ruleset-size, rule-complexity, enterprise-public-servers and ddos-mitigator are those of Miano et al., "Securing Linux with a
  faster and scalable iptables" (SIGCOMM CCR 2019), with other sizes beside theirs. The filter sets acl, fw and ipc are made by
  internal/classbench after ClassBench's families; `+"`-classbench FILES`"+` measures real ones too.
`, r.Machine, r.Began.Format("2 January 2006 15:04 UTC"), r.Took, *rounds, *seconds, strings.Join(r.Machine.Versions, "; "),
		strings.Join(r.Machine.Mitigations, "; "), headersOfPrograms, frameLength)
	for _, p := range r.plots() {
		fmt.Fprintf(&b, "\n![%s](%s)\n", p.title, p.file)
	}
	return b.String() + r.frameTables() + r.programTable() + r.classificationTable() + r.changeTable() + r.blocklistTables()
}
