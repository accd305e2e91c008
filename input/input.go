// Package input reads the files that hold rules, in whatever language, into one ruleset.
package input

import (
	"fmt"
	"io"

	"github.com/bpfwall/bpfwall/migrate/iptables"
	"github.com/bpfwall/bpfwall/policies"
	"github.com/bpfwall/bpfwall/ruleset"
)

// Options are what Load needs besides the names.
type Options struct {
	Stdin   io.Reader
	Partial bool     // leave out what has no equivalent, instead of an error
	IPSets  []string // files that `ipset save` printed
}

// Input is what the files say.
type Input struct {
	Ruleset *ruleset.Ruleset // checked, its rules with IDs; nil with an error
	Policy  *policies.Policy // nil unless a policy was read
	Report  *iptables.Report // nil unless iptables-save files were read
	Sources Sources
	Files   []string // the names of the rule files, as in Sources
}

// Load reads the files: one policy, or any number of iptables-save files that add up. It never returns a nil Input: with an error,
// Sources still has what was read. Errors that are about a file's content are ruleset.ErrorLists.
func Load(files []string, opt Options) (*Input, error) {
	in := &Input{Sources: Sources{}}
	formats := map[Format][]string{}
	for _, name := range files {
		if err := in.Sources.read(name, opt.Stdin); err != nil {
			return in, err
		}
		if err := refuseEmpty(name, in.Sources[displayName(name)]); err != nil {
			return in, err
		}
		f := Detect(name, in.Sources[displayName(name)])
		formats[f] = append(formats[f], displayName(name))
		in.Files = append(in.Files, displayName(name))
	}
	if len(formats[TOML]) > 1 || len(formats[TOML]) > 0 && len(formats[Iptables]) > 0 {
		return in, fmt.Errorf("%s: a policy stands alone; only iptables-save files add up", formats[TOML][len(formats[TOML])-1])
	}
	if len(formats[TOML]) == 1 {
		return in, in.policy(formats[TOML][0])
	}
	return in, in.iptables(formats[Iptables], opt)
}

func (in *Input) policy(name string) error {
	pol, err := policies.Parse(name, in.Sources[name], policies.Options{ReadFile: in.readSet})
	if err != nil {
		return err
	}
	in.Policy, in.Ruleset = pol, pol.Ruleset // Parse has checked it
	in.Ruleset.AssignIDs()
	return nil
}

// readSet reads a file with addresses, and keeps it for error messages.
func (in *Input) readSet(name string) ([]byte, error) {
	text, err := ReadFile(name)
	if err == nil {
		in.Sources[name] = text
	}
	return text, err
}

// iptables reads iptables-save files. Without Partial, a rule that has no equivalent is an *IncompleteError.
func (in *Input) iptables(names []string, opt Options) error {
	var sources []iptables.Source
	for _, name := range names {
		sources = append(sources, iptables.Source{Name: name, Text: in.Sources[name]})
	}
	var sets []iptables.Source
	for _, name := range opt.IPSets {
		if err := in.Sources.read(name, opt.Stdin); err != nil {
			return err
		}
		sets = append(sets, iptables.Source{Name: displayName(name), Text: in.Sources[displayName(name)]})
	}
	rs, report, err := iptables.Import(sources, iptables.Options{IPSets: sets})
	if err != nil {
		return err
	}
	in.Report = report
	if report.Lost() > 0 && !opt.Partial {
		return &IncompleteError{report}
	}
	named := make(chan struct{})
	go func() {
		rs.AssignIDs()
		close(named)
	}()
	err = rs.Check()
	<-named
	if err == nil {
		in.Ruleset = rs
	}
	return err
}

// Warnings are about what is allowed and probably not meant.
func (in *Input) Warnings() ruleset.ErrorList {
	if in.Policy == nil {
		return left(in.Report)
	}
	return in.Policy.Warnings
}

// Unjudged are those of the warnings that are about an address family without rules; the import's report has the others.
func (in *Input) Unjudged() ruleset.ErrorList {
	if in.Report == nil {
		return nil
	}
	return unjudged(in.Report)
}

// Tests are the tests that the policy carries.
func (in *Input) Tests() []policies.Test {
	if in.Policy == nil {
		return nil
	}
	return in.Policy.Tests
}

// Rules is the number of rules.
func (in *Input) Rules() int {
	n := 0
	for _, c := range in.Ruleset.Chains {
		n += len(c.Rules)
	}
	return n
}
