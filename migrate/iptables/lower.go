package iptables

import (
	"runtime"
	"slices"
	"strings"

	"github.com/bpfwall/bpfwall/ruleset"
)

// lowering makes a ruleset of parsed files.
type lowering struct {
	ruleset *ruleset.Ruleset
	report  *Report
	sets    map[string]*ipset

	wants     *setChain        // of the rule at hand
	setChains []*ruleset.Chain // made of sets
	notes     []string         // of what is different in the rule at hand
	workbench

	hashes  map[string]*module // of -m hashlimit, the first by name
	recents map[string]*module // of -m recent

	family ruleset.Family
	table  *table
	names  map[string]string // the chains of the table, by the names that they get
	hooks  uint32            // from which the chain at hand is reached
	marked bool              // the kernel's table mangle sets marks on received packets
}

// workbench is where rules are put together.
type workbench struct {
	rules     slab[ruleset.Rule]
	matches   slab[ruleset.Match]
	condition alternative     // room for that of the rule at hand
	place     alternative     // and for its addresses
	out       []*ruleset.Rule // and for what becomes of it
}

// usualMatches is how many matches rules rarely have more of.
const usualMatches = 8

func newWorkbench() workbench {
	return workbench{condition: make(alternative, 0, usualMatches), place: make(alternative, 0, 2)}
}

// baseChain is where a built-in chain runs and what it is called.
type baseChain struct {
	name string
	hook ruleset.Hook
}

// baseChains are the built-in chains of the tables that are imported.
var baseChains = map[string]map[string]baseChain{
	"filter": {"INPUT": {"INPUT", ruleset.HookInput}, "FORWARD": {"FORWARD", ruleset.HookForward}, "OUTPUT": {"OUTPUT", ruleset.HookOutput}},
	"raw":    {"PREROUTING": {"PREROUTING", ruleset.HookPrerouting}, "OUTPUT": {"raw OUTPUT", ruleset.HookRawOutput}},
}

// file lowers the tables of a file, raw before filter, as packets meet them.
func (l *lowering) file(f *file) {
	l.family = f.family
	f.proxies()
	taken := map[string]bool{}
	if t := f.table("filter"); t != nil {
		for _, c := range t.chains {
			taken[c.name] = true
		}
	}
	l.report.addFile(f)
	l.hashes, l.recents = firstOf(f, "hashlimit", hashName), firstOf(f, "recent", recentName)
	l.marked = setsMarks(f.table("mangle"))
	for _, name := range []string{"raw", "filter"} {
		if t := f.table(name); t != nil {
			l.lowerTable(t, taken)
		}
	}
	for _, t := range f.tables {
		if baseChains[t.name] == nil {
			l.report.leave(t)
		}
	}
}

// lowerTable lowers the chains of a table. Chains of raw whose name is taken by one of filter are called raw/NAME.
func (l *lowering) lowerTable(t *table, taken map[string]bool) {
	l.table, l.names = t, map[string]string{}
	for _, c := range t.chains {
		name := c.name
		if c.builtin() {
			name = baseChains[t.name][c.name].name
		}
		for t.name == "raw" && taken[name] {
			name = "raw/" + name
		}
		taken[name] = taken[name] || t.name == "raw"
		l.names[c.name] = name
	}
	e := newEffects(t)
	for _, c := range t.chains {
		out := l.chain(c, e)
		if t.name == "raw" && c.builtin() && len(out.Rules) == 0 && out.Policy == ruleset.Accept {
			continue
		}
		l.ruleset.Chains = append(l.ruleset.Chains, out)
		l.ruleset.Chains = append(l.ruleset.Chains, l.setChains...)
		l.setChains = nil
	}
}

func (l *lowering) chain(c *chain, e *effects) *ruleset.Chain {
	out := &ruleset.Chain{Name: l.names[c.name], Family: l.family, Policy: c.policy, Pos: c.pos}
	if c.builtin() {
		out.Hook = baseChains[l.table.name][c.name].hook
	}
	l.hooks = l.table.hooks[c]
	entries := l.report.room(len(c.rules))
	workers := l.workers(len(c.rules))
	parts := make([][]*ruleset.Rule, len(workers))
	inParts(len(c.rules), len(workers), func(part, from, to int) {
		for i, r := range c.rules[from:to] {
			rules, entry := workers[part].rule(r)
			entry.Table, entry.Chain, entry.Pos, entry.Text = l.table.name, c.name, r.pos, r.text
			entries[from+i] = entry
			r.forget()
			parts[part] = append(parts[part], rules...)
		}
	})
	for i := range entries {
		if entries[i].Status == NotDone {
			entries[i].Effect = e.ofLosing(c, i)
		}
		l.report.count(entries[i])
	}
	out.Rules = slices.Concat(parts...)
	return out
}

// workers are for the rules of a chain. Sets are taken into the ruleset by one after the other.
func (l *lowering) workers(rules int) []*lowering {
	out := []*lowering{l}
	if len(l.sets) > 0 || rules < fewLines {
		return out
	}
	for range runtime.GOMAXPROCS(0) - 1 {
		w := *l
		w.workbench = newWorkbench()
		out = append(out, &w)
	}
	return out
}

// rule lowers one rule: several rules where one cannot say it, none and the reason where none can.
func (l *lowering) rule(r *rule) ([]*ruleset.Rule, Entry) {
	l.wants, l.notes = nil, nil
	conditions, note, lost := l.conditions(r)
	a := l.action(r)
	if a.lost == "" {
		a.lost = l.changedSet(a)
	}
	if lost == nil {
		lost = loss(r, conditions, a)
	}
	if lost != nil {
		lost.Status = NotDone
		return nil, *lost
	}
	places := l.places(r)
	out := l.out[:0]
	for _, place := range places {
		for _, condition := range conditions {
			rule := l.rules.one()
			*rule = ruleset.Rule{Note: note, Verdict: a.verdict, Pos: r.pos, Text: r.text, Matches: l.matches.take(len(place) + len(condition))}
			copy(rule.Matches[copy(rule.Matches, place):], condition)
			if a.statement != nil {
				rule.Statements = []ruleset.Statement{*a.statement}
			}
			out = append(out, rule)
		}
	}
	l.out = out
	if l.wants != nil {
		if why := l.chainOf(l.wants, out); why != "" {
			return nil, Entry{Status: NotDone, Why: why, Mark: r.pos}
		}
		return out, Entry{Status: Rewritten, Why: "a chain of rules for the " + itoa(uint64(len(l.wants.each))) + " elements of the set"}
	}
	if how := l.changes(r, len(conditions), len(places), a); how != "" {
		return out, Entry{Status: Rewritten, Why: how}
	}
	return out, Entry{Status: Exact}
}

// loss is why a rule whose conditions can be told cannot be imported; nil if it can.
func loss(r *rule, conditions []alternative, a action) *Entry {
	switch u := r.hostName(); {
	case u != nil:
		return &Entry{Why: u.val.todo, Mark: span(u.pos, u.arg)}
	case a.lost != "":
		return &Entry{Why: a.lost, Mark: span(r.jump.pos, r.target.mark())}
	case len(conditions) > 1 && countsTwice(conditions):
		return &Entry{Why: "the condition takes two rules, which would count packets apart, or twice", Mark: r.pos}
	case r.src.count()*r.dst.count() > maxPlaces:
		return &Entry{Why: "the addresses make more than " + itoa(maxPlaces) + " rules", Mark: r.pos}
	}
	return nil
}

// changes says in which form a rule is imported, "" if in its own.
func (l *lowering) changes(r *rule, conditions, places int, a action) string {
	notes := l.notes
	if conditions > 1 {
		notes = append(notes, "made "+itoa(uint64(conditions))+" rules that exclude each other")
	}
	if note := l.blindInterface(r); note != "" {
		notes = append(notes, note)
	}
	if r.old {
		notes = append(notes, "! before the value, as old versions wrote it")
	}
	if a.note != "" {
		notes = append(notes, a.note)
	}
	if places > 1 {
		notes = append(notes, "one rule for each of "+itoa(uint64(places))+" addresses, as iptables does")
	}
	return strings.Join(notes, "; ")
}

// A rule becomes at most maxAlternatives rules because of its conditions, and maxPlaces because of its addresses.
const maxAlternatives, maxPlaces = 64, 4096

// count is the number of addresses of an option, 1 if it is not there.
func (u *use) count() int {
	if u == nil {
		return 1
	}
	return len(u.val.addrs)
}

// hostName is the address option that names a host, nil if none does.
func (r *rule) hostName() *use {
	for _, u := range []*use{r.src, r.dst} {
		if u != nil && u.val.todo != "" {
			return u
		}
	}
	return nil
}

// countsTwice reports whether alternatives of a rule remember packets each for itself, or are asked about a packet that another one has
// remembered already. What stands behind all in which they differ, and counts by name, is asked once.
func countsTwice(all []alternative) bool {
	if countsItself(all[0]) {
		return true
	}
	first := slices.IndexFunc(all[0], remembers)
	if first < 0 {
		return false
	}
	rest := matchesText(all[0][first:])
	return slices.ContainsFunc(all, func(a alternative) bool {
		i := slices.IndexFunc(a, remembers)
		return i < 0 || matchesText(a[i:]) != rest
	})
}

// countsItself reports whether the condition remembers packets for the rule alone.
func countsItself(a alternative) bool {
	return slices.ContainsFunc(a, func(m ruleset.Match) bool {
		return remembers(m) && m.Recent == nil && (m.Limit == nil || m.Limit.Table == "")
	})
}

func remembers(m ruleset.Match) bool { return m.Field.Remembers() }

func matchesText(a alternative) string { return (&ruleset.Rule{Matches: a}).String() }

// places is the rule's addresses: one alternative for each pair of a source and a destination, at least one.
func (l *lowering) places(r *rule) []alternative {
	all := []alternative{l.place[:0]}
	all = eachAddress(all, r.src, ruleset.FieldSrcAddr)
	return eachAddress(all, r.dst, ruleset.FieldDstAddr)
}

// eachAddress is what holds if all and one of the addresses of an option do.
func eachAddress(all []alternative, u *use, f ruleset.FieldID) []alternative {
	if u == nil || !u.not && slices.ContainsFunc(u.val.addrs, everyAddress) {
		return all
	}
	if len(u.val.addrs) == 1 {
		for i := range all {
			all[i] = append(all[i], u.address(f, 0))
		}
		return all
	}
	var each []alternative
	for i := range u.val.addrs {
		each = append(each, alternative{u.address(f, i)})
	}
	return product(all, each)
}

// address is the match of the address i of an option.
func (u *use) address(f ruleset.FieldID, i int) ruleset.Match {
	return ruleset.Match{Field: f, Not: u.not, Addrs: u.val.addrs[i : i+1 : i+1], Pos: u.pos}
}

func everyAddress(a ruleset.AddrRange) bool {
	p, ok := a.Prefix()
	return ok && p.Bits() == 0
}
