package stateless

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
)

// shrink makes a disagreement as small as it can, and returns it as a row for known.
func (d *disagreement) shrink(rigs [2]*rig) string {
	which := 0
	if d.probe.pkt.Src.Is6() {
		which = 1
	}
	if !d.holds(rigs, which, d.rules[which].text) {
		return "alone it fares the same"
	}
	lines := strings.SplitAfter(d.rules[which].text, "\n")
	for size := len(lines) / 2; size > 0; size /= 2 {
		for from := 0; from < len(lines); {
			smaller := without(lines, from, from+size)
			if len(smaller) < len(lines) && d.holds(rigs, which, strings.Join(smaller, "")) {
				lines = smaller
			} else {
				from += size
			}
		}
	}
	text := strings.Join(lines, "")
	for _, drop := range []string{":INPUT DROP", ":FORWARD DROP", ":OUTPUT DROP"} {
		if accept := strings.Replace(text, drop, strings.Replace(drop, "DROP", "ACCEPT", 1), 1); accept != text && d.holds(rigs, which, accept) {
			text = accept
		}
	}
	d.holds(rigs, which, text) // leaves this one loaded
	d.shrinkProbe(rigs)
	var frames []string
	for _, f := range d.probe.frames {
		frames = append(frames, fmt.Sprintf("%q", hex.EncodeToString(f)))
	}
	return fmt.Sprintf("as a row of known (%s: %s; bpfwall: %s):\n\t{%q, %t, %d, []string{%s}, `%s`, %q},", d.engine, d.want, d.got, d.engine, which == 1, d.probe.at, strings.Join(frames, ", "), text, d.want)
}

// without is the lines but for the rules and user chains among some of them.
func without(lines []string, from, to int) (out []string) {
	for i, l := range lines {
		isUser := strings.HasPrefix(l, ":") && strings.HasSuffix(l, " - [0:0]\n")
		isOwn := strings.Contains(l, "l-eq 64") || strings.Contains(l, "l-gt 253") || strings.Contains(l, " -i lo -j ACCEPT")
		if i < from || i >= to || isOwn || !strings.HasPrefix(l, "-A ") && !isUser {
			out = append(out, l)
		}
	}
	return out
}

// holds reports whether the worlds still disagree under a file of one family.
func (d *disagreement) holds(rigs [2]*rig, which int, text string) bool {
	var files [2]string
	files[which], files[1-which] = text, nothing[1-which]
	err := both(func(i int) error { return rigs[i].load(rigs[i], files, d.ipsets) })
	return err == nil && d.again(rigs, d.probe)
}

func (d *disagreement) again(rigs [2]*rig, p *probe) bool {
	results, err := playBoth(rigs, newRound([]*probe{p}))
	if err != nil {
		return false
	}
	a, b := results[0].of(p), results[1].of(p)
	if a == b {
		return false
	}
	d.want, d.got = a, b
	return true
}

// shrinkProbe takes away what the packet does not need.
func (d *disagreement) shrinkProbe(rigs [2]*rig) {
	for _, change := range []func(p *probe){
		func(p *probe) { p.options = nil }, func(p *probe) { p.mss = 0 }, func(p *probe) { p.tags = 0 }, func(p *probe) { p.pkt.IPOptions = nil },
		func(p *probe) { p.pkt.Extensions = nil }, func(p *probe) { p.pkt.TOS = 0 }, func(p *probe) { p.length = 0 }, func(p *probe) { p.fragment = whole },
		func(p *probe) { p.pkt.Malform.BadChecksum = false }, func(p *probe) { p.pkt.Malform.Cut = 0 }, func(p *probe) { p.pkt.Malform.DataOffset = 0 },
		func(p *probe) { p.pkt.Malform.UDPLength = 0 }, func(p *probe) { p.pkt.TTL = 77 }, func(p *probe) { p.pkt.Code = 0 }, func(p *probe) { p.pkt.Flags = 2 },
		func(p *probe) { p.pkt.SrcPort = 1 }, func(p *probe) { p.pkt.DstPort = 1 },
	} {
		p := *d.probe
		p.options = slices.Clone(p.options)
		change(&p)
		p.frames = (&generator{}).build(&p)
		if d.again(rigs, &p) {
			*d.probe = p
		}
	}
}
