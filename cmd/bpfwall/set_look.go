package main

import (
	"cmp"
	"errors"
	"io/fs"
	"net/netip"
	"time"

	"github.com/spf13/cobra"

	"github.com/bpfwall/bpfwall/dataplane"
	"github.com/bpfwall/bpfwall/ruleset"
)

// setAnswer is a set in force.
type setAnswer struct {
	Name      string          `json:"name"`
	Entries   int             `json:"entries"`         // that the rules list
	Parts     []ruleset.Part  `json:"parts,omitempty"` // of elements that are more than addresses
	Dynamic   bool            `json:"dynamic"`
	Elements  int             `json:"elements"`              // that were added at run time
	Max       uint32          `json:"max,omitempty"`         // of elements, or of the feed's list
	Feed      string          `json:"feed,omitempty"`        // file or url
	FeedSize  int             `json:"feed_entries"`          // of the last list
	FeedAgeNS int64           `json:"feed_age_ns,omitempty"` // 0: never fetched
	Members   []string        `json:"members,omitempty"`     // of sets that were asked for by name
	Added     []elementAnswer `json:"added,omitempty"`       // the same
	Pos       *ruleset.Pos    `json:"pos,omitempty"`
}

// elementAnswer is an element that was added at run time.
type elementAnswer struct {
	Prefix   string `json:"prefix,omitempty"`
	Element  string `json:"element,omitempty"` // instead, in sets of several parts
	AgeNS    int64  `json:"age_ns"`
	ExpiryNS int64  `json:"expires_in_ns,omitempty"` // 0: never
	Packets  uint64 `json:"packets"`
	Bytes    uint64 `json:"bytes"`
	Comment  string `json:"comment,omitempty"`
}

func (a *app) setList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "The sets in force",
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return a.printSets("set-list", nil) },
	}
}

func (a *app) setShow() *cobra.Command {
	return &cobra.Command{
		Use: "show NAME...", Short: "All that is in sets: what the rules list, and what was added at run time",
		Args: cobra.MinimumNArgs(1),
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return a.setNames(), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(_ *cobra.Command, names []string) error { return a.printSets("set-show", names) },
	}
}

// printSets answers with all sets, or with those named and what is in them.
func (a *app) printSets(verb string, names []string) error {
	fw, err := a.firewall()
	if err != nil {
		return err
	}
	sets, err := fw.Sets()
	if err != nil {
		return err
	}
	list := []setAnswer{}
	for _, s := range sets {
		if len(names) == 0 {
			answer, err := setAnswerOf(fw, s)
			if err != nil {
				return err
			}
			answer.Added = nil
			list = append(list, answer)
		}
	}
	for _, name := range names {
		answer, err := fullSet(fw, sets, name)
		if err != nil {
			return err
		}
		list = append(list, answer)
	}
	return a.emit(struct {
		schema
		Sets []setAnswer `json:"sets"`
	}{schemaOf(verb), list}, func() { a.printSetRows(list, len(names) > 0) })
}

// fullSet is a set with all that is in it.
func fullSet(fw *dataplane.Dataplane, sets []*ruleset.Set, name string) (setAnswer, error) {
	for _, s := range sets {
		if s.Name != name {
			continue
		}
		answer, err := setAnswerOf(fw, s)
		for _, m := range s.Members {
			answer.Members = append(answer.Members, m.String())
		}
		for _, t := range s.Tuples {
			answer.Members = append(answer.Members, t.Text(s.Parts))
		}
		if s.Live != nil && s.Live.Feed != nil && err == nil {
			list, _, _ := fw.Feed(name)
			for _, p := range list {
				answer.Members = append(answer.Members, prefixText(p))
			}
		}
		return answer, err
	}
	return setAnswer{}, fail(exitFailed, "set %q: not loaded", name)
}

func setAnswerOf(fw *dataplane.Dataplane, s *ruleset.Set) (setAnswer, error) {
	answer := setAnswer{Name: s.Name, Entries: len(s.Members) + len(s.Tuples), Parts: s.Parts}
	if s.Pos.Line > 0 {
		answer.Pos = &s.Pos
	}
	if s.Live == nil {
		return answer, nil
	}
	answer.Dynamic, answer.Max = s.Live.Dynamic, s.Live.Size()
	if f := s.Live.Feed; f != nil {
		answer.Feed = f.URL + f.File
		list, since, err := fw.Feed(s.Name)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return answer, err
		}
		if err == nil {
			answer.FeedSize, answer.FeedAgeNS = len(list), time.Since(since).Nanoseconds()
		}
	}
	elements, err := fw.Elements(s.Name)
	for _, e := range elements {
		one := elementAnswer{AgeNS: e.Age.Nanoseconds(), ExpiryNS: e.Left.Nanoseconds(), Packets: e.Packets, Bytes: e.Bytes, Comment: e.Comment}
		if len(s.Parts) > 0 {
			one.Element = e.Tuple.Text(s.Parts)
		} else {
			one.Prefix = prefixText(e.Prefix)
		}
		answer.Added = append(answer.Added, one)
	}
	answer.Elements = len(elements)
	return answer, err
}

// partsOf are the parts of a set's elements; nil for addresses, and for a set that is not there, which the change itself reports.
func partsOf(fw *dataplane.Dataplane, name string) ([]ruleset.Part, error) {
	sets, err := fw.Sets()
	for _, s := range sets {
		if s.Name == name {
			return s.Parts, nil
		}
	}
	return nil, err
}

func prefixText(p netip.Prefix) string {
	if p.IsSingleIP() {
		return p.Addr().String()
	}
	return p.String()
}

func (a *app) printSetRows(list []setAnswer, full bool) {
	var rows [][]string
	for _, s := range list {
		if !full {
			rows = append(rows, s.row())
			continue
		}
		for _, m := range s.Members {
			rows = append(rows, []string{m})
		}
		for _, e := range s.Added {
			rows = append(rows, e.row())
		}
	}
	a.printf("%s", columns(rows))
}

// row is a set in one line.
func (s setAnswer) row() []string {
	kind, entries := "", grouped(uint64(s.Entries))
	switch {
	case s.Feed != "" && s.FeedAgeNS == 0:
		kind = "never fetched"
	case s.Feed != "":
		kind = "list of " + grouped(uint64(s.FeedSize)) + ", " + agoText(s.FeedAgeNS) + " old"
	}
	if s.Dynamic {
		kind += " dynamic"
		entries += " + " + grouped(uint64(s.Elements)) + " of " + grouped(uint64(s.Max))
	}
	return []string{escape(s.Name), entries, kind, place(s.Pos)}
}

func (e elementAnswer) row() []string {
	row := []string{e.Prefix + e.Element, "added " + agoText(e.AgeNS) + " ago", "", "", escape(e.Comment)}
	if e.ExpiryNS != 0 {
		row[2] = "expires in " + agoText(e.ExpiryNS)
	}
	if e.Packets > 0 {
		row[3] = count(int(e.Packets), "packet") + " " + amount(e.Bytes)
	}
	return row
}

func agoText(ns int64) string { return time.Duration(ns).Round(time.Second).String() }

func (a *app) setTest() *cobra.Command {
	return &cobra.Command{
		Use: "test NAME ELEMENT", Short: "Say whether an address, or an element such as 192.0.2.1,tcp/80, is in a set; exit with 7 if not",
		Args: cobra.ExactArgs(2), ValidArgsFunction: a.completeSet,
		RunE: func(_ *cobra.Command, args []string) error {
			fw, err := a.firewall()
			if err != nil {
				return err
			}
			parts, err := partsOf(fw, args[0])
			if err != nil {
				return err
			}
			element, problem := ruleset.ParseTuple(parts, args[1])
			if problem != "" || !element.Single() {
				return fail(exitUsage, "element %q: not one that a packet has: %s", args[1], cmp.Or(problem, "a network"))
			}
			where, by, err := fw.FindElement(args[0], element)
			if err != nil {
				return setError(args[0], err)
			}
			answer := struct {
				schema
				Set     string `json:"set"`
				Address string `json:"address"`
				In      bool   `json:"in"`
				Where   string `json:"where,omitempty"` // members, feed or elements
				By      string `json:"by,omitempty"`    // the prefix that has it
			}{schema: schemaOf("set-test"), Set: args[0], Address: element.Text(parts), In: where != "", Where: where}
			if by != (ruleset.Tuple{}) {
				answer.By = by.Text(parts)
			}
			if err := a.emit(answer, func() { a.printFound(answer.Address, answer.Set, where, answer.By) }); err != nil || answer.In {
				return err
			}
			return &codeError{code: exitTest, err: errors.New(answer.Address + " is not in @" + answer.Set), said: true}
		},
	}
}

func (a *app) printFound(addr, set, where, by string) {
	switch {
	case where == "":
		a.printf("%s is not in @%s\n", addr, escape(set))
	case by != "" && by != addr:
		a.printf("%s is in @%s, by %s (%s)\n", addr, escape(set), by, where)
	default:
		a.printf("%s is in @%s (%s)\n", addr, escape(set), where)
	}
}
