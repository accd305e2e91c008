package iptables

import "github.com/bpfwall/bpfwall/ruleset"

// recents is the row of -m recent.
func recents() extension {
	e := known("recent", 0, 0, "", "?!set@1 ?!rcheck@1 ?!update@1 ?!remove@1 seconds=u32from1 reap&seconds hitcount=u16 rttl name=text rsource rdest mask=host")
	e.lower = recent
	return e
}

var recentOps = map[string]ruleset.RecentOp{"set": ruleset.RecentSet, "rcheck": ruleset.RecentCheck, "update": ruleset.RecentUpdate, "remove": ruleset.RecentRemove}

// recent asks a list of addresses. The kernel keeps lists by name; the first rule of a name says which bits of an address count.
func recent(l *lowering, m *module) ([]alternative, string) {
	first := l.recents[recentName(m)]
	if first == nil {
		first = m
	}
	mask, ok := l.recentBits(first)
	if !ok {
		return nil, "-m recent --mask: the mask has holes"
	}
	if own, _ := l.recentBits(m); own != mask {
		l.notes = append(l.notes, "with the mask of the first rule for "+quote(recentName(m))+" (line "+itoa(uint64(first.pos.Line))+"), as the kernel does")
	}
	r := &ruleset.Recent{List: recentName(m) + "/" + l.family.String(), Bits: mask}
	match := ruleset.Match{Field: ruleset.FieldRecent, Recent: r, Pos: m.pos}
	for _, u := range m.uses {
		switch name := u.opt.name(); name {
		case "seconds":
			r.Within = uint32(u.val.num)
		case "hitcount":
			r.Hits = uint32(u.val.num)
		case "rttl":
			r.TTL = true
		case "reap":
			r.Reap = true
		case "rsource", "rdest":
			r.Dest = name == "rdest"
		case "set", "rcheck", "update", "remove":
			r.Op, match.Not = recentOps[name], u.not
		}
	}
	return one(match), recentProblem(r)
}

// recentProblem is why the kernel, or the ruleset, would not take a match.
func recentProblem(r *ruleset.Recent) string {
	switch {
	case r.Hits > ruleset.MaxRecentHits:
		return "-m recent --hitcount: no more than " + itoa(ruleset.MaxRecentHits) + " packets of an address are remembered"
	case (r.Op == ruleset.RecentSet || r.Op == ruleset.RecentRemove) && (r.Within != 0 || r.Hits != 0 || r.TTL || r.Reap):
		return "-m recent --" + r.Op.String() + ": the kernel takes no --seconds, --hitcount, --rttl or --reap with it"
	case r.List[0] == '/':
		return "-m recent --name: the kernel wants one"
	}
	return ""
}

// recentName is the name of a list: DEFAULT if the rule gives none (libxt_recent.c).
func recentName(m *module) string {
	if u := m.get("name"); u != nil {
		return u.val.text
	}
	return "DEFAULT"
}

// recentBits is the first bits of an address that a rule's mask keeps.
func (l *lowering) recentBits(m *module) (ruleset.KeyBits, bool) {
	all := ruleset.KeyBits{IPv4: 32, IPv6: 128}
	u := m.get("mask")
	if u == nil || len(u.val.addrs) == 0 {
		return all, u == nil
	}
	mask := u.val.addrs[0].From
	for n := range mask.BitLen() + 1 {
		switch {
		case ones(n, mask.BitLen()) != mask:
		case l.family == ruleset.FamilyIPv4:
			all.IPv4 = uint8(n)
			return all, true
		default:
			all.IPv6 = uint8(n)
			return all, true
		}
	}
	return all, false
}

// firstOf finds the first match of an extension in a file by the name of what it keeps.
func firstOf(f *file, ext string, name func(*module) string) map[string]*module {
	first := map[string]*module{}
	for _, t := range f.tables {
		if baseChains[t.name] == nil {
			continue
		}
		for _, c := range t.chains {
			for _, r := range c.rules {
				for _, m := range r.matches {
					if m.ext.name != ext {
						continue
					}
					if was := first[name(m)]; was == nil || m.pos.Line < was.pos.Line {
						first[name(m)] = m
					}
				}
			}
		}
	}
	return first
}
