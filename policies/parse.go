package policies

import (
	"os"
	"slices"
	"time"

	"github.com/bpfwall/bpfwall/ruleset"
)

// Options are what a policy may need besides its text.
type Options struct {
	ReadFile func(path string) ([]byte, error) // for sets with a file; nil is os.ReadFile
	Now      time.Time                         // for expires; zero is the present
}

// Policy is a policy file's meaning.
type Policy struct {
	Name     string
	Ruleset  *ruleset.Ruleset
	Tests    []Test
	Confirm  time.Duration // how long apply waits for a confirmation; 0 if the policy does not say
	Warnings ruleset.ErrorList
}

// Parse reads a policy. The error is a ruleset.ErrorList with every problem of the file, each with its place.
func Parse(name string, src []byte, opts Options) (*Policy, error) {
	if opts.ReadFile == nil {
		opts.ReadFile = os.ReadFile
	}
	if opts.Now.IsZero() {
		opts.Now = time.Now()
	}
	p := newParser(newSource(name, src), opts)
	data, ok := p.decode()
	if !ok {
		return nil, p.problems()
	}
	top := table{p: p, m: data}
	top.check(inTop)
	p.policy(top)
	if len(p.errs) == 0 {
		p.checkRuleset()
	}
	if len(p.errs) == 0 {
		p.lint(top)
	}
	if err := p.problems(); err != nil {
		return nil, err
	}
	_ = p.pol.Warnings.Err() // sorts
	return p.pol, nil
}

// parser turns one file into a policy. It goes on after an error, to find the others.
type parser struct {
	src      *source
	opts     Options
	errs     ruleset.ErrorList
	pol      *Policy
	zones    map[string]*zone
	own      map[string][]text // services of the policy's own
	declared map[string]*setSource
	sets     map[string]*ruleset.Set
	groups   map[string]table
	names    map[string]ruleset.Pos // of rules, which are unique
	used     map[string]bool        // "set x", "zone x" …, for lint
	defaults defaults
}

func newParser(src *source, opts Options) *parser {
	return &parser{
		src: src, opts: opts, pol: &Policy{Ruleset: &ruleset.Ruleset{}},
		zones: map[string]*zone{}, own: map[string][]text{}, declared: map[string]*setSource{}, sets: map[string]*ruleset.Set{},
		groups: map[string]table{}, names: map[string]ruleset.Pos{}, used: map[string]bool{},
	}
}

// policy reads the whole file, names before what uses them.
func (p *parser) policy(top table) {
	p.version(top)
	name, _ := top.text("name")
	p.pol.Name, p.pol.Ruleset.Name = name.s, name.s
	p.readSets(top.table("sets"))
	p.readZones(top.table("zones"))
	p.ownServices(top.table("services"))
	p.readGroups(top.table("groups"))
	p.readDefaults(top)
	p.readConntrack(top.table("conntrack"))
	p.confirm(top.table("safety"))
	p.directions(top)
	p.lowerGroups(top.table("groups"))
	p.readTests(top)
}

func (p *parser) version(top table) {
	v, ok := top.m["version"].(int64)
	switch {
	case !top.has("version"):
		p.fail(p.src.pos(span{}), "version: missing").Help = "begin the file with version = 1"
	case ok && v != 1:
		p.fail(top.pos("version"), "version %d: this bpfwall reads version 1", v)
	}
}

func (p *parser) confirm(safety table) {
	v, ok := safety.text("confirm")
	if !ok {
		return
	}
	d, err := time.ParseDuration(v.s)
	if err != nil || d <= 0 {
		p.fail(v.pos, "confirm %q: not a time such as 60s or 2m", v.s)
	}
	p.pol.Confirm = d
}

// problems is the errors in order, each once: what is lowered for several chains is found several times.
func (p *parser) problems() error {
	err := p.errs.Err()
	p.errs = slices.CompactFunc(p.errs, func(a, b *ruleset.Error) bool { return a.Pos == b.Pos && a.Msg == b.Msg })
	if err == nil {
		return nil
	}
	return p.errs
}

// checkRuleset adds what the ruleset's own check finds, such as groups that use each other in a circle.
func (p *parser) checkRuleset() {
	if list, ok := p.pol.Ruleset.Check().(ruleset.ErrorList); ok {
		p.errs = append(p.errs, list...)
	}
}

// warn reports something that is allowed and probably not meant.
func (p *parser) warn(pos ruleset.Pos, format string, args ...any) *ruleset.Error {
	return p.pol.Warnings.Add(pos, format, args...)
}
