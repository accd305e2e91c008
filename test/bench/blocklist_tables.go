package main

import (
	"fmt"
	"slices"
)

// lists are the lengths of the lists that were measured, in order.
func (r *Report) lists() (out []int) {
	for _, b := range r.Blocklists {
		if n := b.IPv4 + b.IPv6; !slices.Contains(out, n) {
			out = append(out, n)
		}
	}
	return out
}

// baseOf is what a frame costs with whom a kind of frame is compared, for a length of list: dropping all in XDP, or no firewall.
func (r *Report) baseOf(n int, k kindOfFrame) float64 {
	for _, b := range r.Blocklists {
		if b.IPv4+b.IPv6 == n && (k.listed && b.Contender == dropAll || !k.listed && b.Contender == nothing) {
			return b.Frames[k.name]
		}
	}
	return 0
}

// blocklistTables are two tables for every length of list: what it takes to load and to change, and what frames cost.
func (r *Report) blocklistTables() (out string) {
	for _, n := range r.lists() {
		out += r.loadOfList(n).String() + r.framesOfList(n).String()
	}
	return out
}

func (r *Report) loadOfList(n int) table {
	t := table{title: fmt.Sprintf("Blocklist of %s prefixes: loading", thousands(float64(n))),
		text: "ms of the commands that load it, and of the one that adds a prefix more; MB of the largest command, and in the kernel. " +
			"*file* is a set that the policy lists, *dynamic* one that is filled with `bpfwall set add`. " +
			"Memory of bpfwall: all its maps, tables of connections included; of ipset what it says; of others how the kernel grew. " +
			"The command nft reads all of a set before it adds to it, which takes minutes with a million: there it is left out.",
		head: []string{"firewall", "IPv4", "IPv6", "load, ms", "add one, ms", "RSS, MB", "kernel, MB"}}
	for _, b := range r.Blocklists {
		if b.IPv4+b.IPv6 != n || b.Load == 0 && b.Not == "" {
			continue
		}
		row := []string{b.Contender, fmt.Sprint(b.IPv4), fmt.Sprint(b.IPv6), ms(b.Load), "", fmt.Sprintf("%.0f", b.RSS), fmt.Sprintf("%.1f", b.Memory)}
		if b.AddOne > 0 {
			row[4] = ms(b.AddOne)
		}
		if b.Not != "" {
			copy(row[3:], []string{"not measured", "", "", ""})
		}
		t.rows = append(t.rows, row)
	}
	return t
}

func (r *Report) framesOfList(n int) table {
	t := table{title: fmt.Sprintf("Blocklist of %s prefixes: frames", thousands(float64(n))),
		text: "Million frames a second of what is dropped (*listed*), sender included, all on one CPU; and in brackets ns a frame over an XDP program that drops all. " +
			"Of what passes (*not listed*) ns over no firewall. Senders are random, or always the same one (*hot*). " +
			"*program*: ns of bpfwall's program in XDP alone, over one that does nothing.",
		head: []string{"firewall"}}
	for _, k := range plan.kinds() {
		t.head = append(t.head, k.name)
	}
	for _, b := range r.Blocklists {
		if b.IPv4+b.IPv6 != n || b.Not != "" {
			continue
		}
		row, alone := []string{b.Contender}, []string{b.Contender + ", program"}
		for _, k := range plan.kinds() {
			added := b.Frames[k.name] - r.baseOf(n, k)
			text := fmt.Sprintf("%+.0f", added)
			if k.listed {
				text = fmt.Sprintf("%.2f (%+.0f)", 1e3/b.Frames[k.name], added)
			}
			row, alone = append(row, text), append(alone, fmt.Sprintf("%.0f", b.Program[k.name]))
		}
		t.rows = append(t.rows, row)
		if b.Program != nil {
			t.rows = append(t.rows, alone)
		}
	}
	return t
}

// blocklistPlots are what dropping costs and what adding does, over the length of the list.
func (r *Report) blocklistPlots() []*plot {
	drops := &plot{file: "blocklist-drops.svg", title: "Dropping by a list, senders random, IPv4", x: "prefixes", y: "ns a frame over dropping all in XDP"}
	adds := &plot{file: "blocklist-add.svg", title: "Adding one prefix to a list", x: "prefixes", y: "ms, the command"}
	k := kindsOfFrames[0]
	for _, b := range r.Blocklists {
		n := b.IPv4 + b.IPv6
		if b.Not == "" && b.Contender != nothing && b.Contender != dropAll {
			drops.add(b.Contender, float64(n), b.Frames[k.name]-r.baseOf(n, k))
		}
		if b.AddOne > 0 {
			adds.add(b.Contender, float64(n), b.AddOne)
		}
	}
	return []*plot{drops, adds}
}
