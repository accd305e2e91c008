// Package iptables reads the rules of iptables, as iptables-save and ip6tables-save write them, and makes a ruleset of them.
// It accepts and refuses what iptables-restore 1.8.9 (nf_tables) does, and reports on every rule what became of it.
package iptables

import "github.com/bpfwall/bpfwall/ruleset"

// Source is a file to import.
type Source struct {
	Name   string
	Text   []byte
	Family ruleset.Family // FamilyAny: told from the header and the addresses, IPv4 if nothing tells
}

// Options are what an import needs besides the rules.
type Options struct {
	// IPSets are files written by `ipset save`: the sets that -m set names.
	IPSets []Source
}

// Import makes one ruleset of an IPv4 file, an IPv6 file or both, and a report of every rule. Rules that have no equivalent are
// left out and in the report: see Report.Lost. The error is a ruleset.ErrorList of every line that iptables-restore would refuse;
// the ruleset and the report are nil then.
func Import(sources []Source, opts Options) (*ruleset.Ruleset, *Report, error) {
	var errs ruleset.ErrorList
	var files []*file
	for _, s := range sources {
		f, bad := parse(s)
		errs = append(errs, bad...)
		for _, other := range files {
			if other.family == f.family {
				errs.Add(ruleset.Pos{File: s.Name}, "file %q: %s rules, as %q has", s.Name, f.family, other.name).Help = "give one file for each family"
			}
		}
		files = append(files, f)
	}
	sets, bad := readIPSets(opts.IPSets)
	errs = append(errs, bad...)
	if err := errs.Err(); err != nil {
		return nil, nil, err
	}
	l := &lowering{ruleset: &ruleset.Ruleset{}, report: newReport(), sets: sets, workbench: newWorkbench()}
	for _, f := range files {
		l.file(f)
	}
	return l.ruleset, l.report, nil
}
