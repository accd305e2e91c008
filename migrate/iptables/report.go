package iptables

import (
	"slices"

	"github.com/bpfwall/bpfwall/ruleset"
)

// Status is what became of a rule.
type Status string

// The statuses.
const (
	Exact     Status = "exact"     // the same rule
	Rewritten Status = "rewritten" // another form of it, with the same meaning; Why says how
	NotDone   Status = "not done"  // left out; Why says why
	InKernel  Status = "kernel"    // of a table that is left to the kernel, where it stays loaded
)

// Effect is what leaving a rule out does to access.
type Effect string

// The effects.
const (
	Widens  Effect = "widens"  // packets may pass that were stopped
	Narrows Effect = "narrows" // packets may be stopped that passed
	Either  Effect = "either"  // both
	Neither Effect = "neither" // every packet has the same verdict
)

// Entry is what became of one rule.
type Entry struct {
	Status Status      `json:"status"`
	Table  string      `json:"table"`
	Chain  string      `json:"chain"`
	Pos    ruleset.Pos `json:"pos"`
	Text   string      `json:"text"`
	Why    string      `json:"why,omitempty"`
	Effect Effect      `json:"effect,omitempty"` // of a rule that is not done
	Mark   ruleset.Pos `json:"mark,omitzero"`    // the part of the rule that Why is about
}

// FileInfo is one imported file.
type FileInfo struct {
	Name   string `json:"name"`
	Family string `json:"family"`
	Rules  int    `json:"rules"` // of all tables
}

// Summary counts the rules of each status.
type Summary struct {
	Exact     int            `json:"exact"`
	Rewritten int            `json:"rewritten"`
	NotDone   int            `json:"not_done"`
	Kernel    map[string]int `json:"kernel,omitempty"` // by table
}

// Report says of every rule what became of it.
type Report struct {
	Schema  string     `json:"schema"` // bpfwall.import/v1
	Files   []FileInfo `json:"files"`
	Summary Summary    `json:"summary"`
	Rules   []Entry    `json:"rules"`
	Notes   []string   `json:"notes,omitempty"` // what else is worth knowing, each with its place
}

func newReport() *Report {
	return &Report{Schema: "bpfwall.import/v1", Summary: Summary{Kernel: map[string]int{}}}
}

// Lost is how many rules are left out that have an effect in the tables that are imported.
func (r *Report) Lost() int { return r.Summary.NotDone }

func (r *Report) addFile(f *file) {
	info := FileInfo{Name: f.name, Family: f.family.String()}
	for _, t := range f.tables {
		for _, c := range t.chains {
			info.Rules += len(c.rules)
		}
	}
	r.Rules = slices.Grow(r.Rules, info.Rules)
	r.Files = append(r.Files, info)
	r.Notes = append(r.Notes, f.notes...)
}

func (r *Report) add(e Entry) {
	r.Rules = append(r.Rules, e)
	r.count(e)
}

// room is n entries that are to be filled in and counted.
func (r *Report) room(n int) []Entry {
	r.Rules = append(r.Rules, make([]Entry, n)...)
	return r.Rules[len(r.Rules)-n:]
}

func (r *Report) count(e Entry) {
	switch e.Status {
	case Exact:
		r.Summary.Exact++
	case Rewritten:
		r.Summary.Rewritten++
	case NotDone:
		r.Summary.NotDone++
	case InKernel:
		r.Summary.Kernel[e.Table]++
	}
}

// leave notes the rules of a table that stays with the kernel.
func (r *Report) leave(t *table) {
	for _, c := range t.chains {
		for _, rule := range c.rules {
			r.add(Entry{Status: InKernel, Table: t.name, Chain: c.name, Pos: rule.pos, Text: rule.text,
				Why: "left to the kernel, where it stays loaded"})
		}
	}
}

// note adds something worth knowing that is about no rule.
func (r *Report) note(pos ruleset.Pos, text string) {
	r.Notes = append(r.Notes, pos.String()+": "+text)
}
