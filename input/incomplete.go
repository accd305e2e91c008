package input

import (
	"fmt"
	"maps"
	"slices"

	"github.com/bpfwall/bpfwall/migrate/iptables"
	"github.com/bpfwall/bpfwall/ruleset"
)

// IncompleteError says that rules of iptables-save files have no equivalent.
type IncompleteError struct {
	Report *iptables.Report
}

func (e *IncompleteError) Error() string {
	n := e.Report.Lost()
	if n == 1 {
		return "1 rule would be lost"
	}
	return fmt.Sprintf("%d rules would be lost", n)
}

// effects say what leaving a rule out does.
var effects = map[iptables.Effect]string{
	iptables.Widens:  "left out: WIDENS ACCESS (packets that it stopped may pass)",
	iptables.Narrows: "left out: narrows access (packets that it let pass may be stopped)",
	iptables.Either:  "left out: MAY WIDEN OR NARROW ACCESS",
	iptables.Neither: "left out: no packet gets another verdict",
}

// Lost lists the rules that would be lost, each with its place.
func (e *IncompleteError) Lost() ruleset.ErrorList { return lost(e.Report) }

func lost(r *iptables.Report) ruleset.ErrorList {
	var list ruleset.ErrorList
	for _, entry := range r.Rules {
		if entry.Status == iptables.NotDone {
			list = append(list, &ruleset.Error{Pos: entry.Mark, Msg: entry.Why, Hint: effects[entry.Effect]})
		}
	}
	return list
}

// left are the warnings about what was left out with the user's consent, what stays with the kernel, and what nobody judges.
func left(r *iptables.Report) ruleset.ErrorList {
	if r == nil {
		return nil
	}
	list := lost(r)
	for _, table := range slices.Sorted(maps.Keys(r.Summary.Kernel)) {
		list.Add(ruleset.Pos{}, "table %q (%d rules): left to the kernel, where it stays loaded", table, r.Summary.Kernel[table])
	}
	return append(list, unjudged(r)...)
}

// unjudged warns of a family that no file is about.
func unjudged(r *iptables.Report) ruleset.ErrorList {
	var list ruleset.ErrorList
	for _, family := range []ruleset.Family{ruleset.FamilyIPv4, ruleset.FamilyIPv6} {
		if !slices.ContainsFunc(r.Files, func(f iptables.FileInfo) bool { return f.Family == family.String() }) {
			list.Add(ruleset.Pos{}, "no %s rules: every %s packet passes", family, family).Help = "name the file of the other family too"
		}
	}
	return list
}
