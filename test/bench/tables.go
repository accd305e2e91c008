package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/bpfwall/bpfwall/internal/classbench"
)

// table is a table of the report: Markdown whose columns are also even on a terminal.
type table struct {
	title, text string // text says what the figures are
	head        []string
	rows        [][]string
}

func (t table) String() string {
	width := make([]int, len(t.head))
	all := append([][]string{t.head}, t.rows...)
	for _, row := range all {
		for i, cell := range row {
			width[i] = max(width[i], len([]rune(cell)))
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "\n### %s\n\n%s\n\n", t.title, t.text)
	for n, row := range all {
		for i, cell := range row {
			pad := strings.Repeat(" ", width[i]-len([]rune(cell)))
			if i == 0 {
				cell += pad
			} else {
				cell = pad + cell
			}
			fmt.Fprintf(&b, "| %s ", cell)
		}
		b.WriteString("|\n")
		if n == 0 {
			for i, w := range width {
				dashes := strings.Repeat("-", w)
				if i > 0 {
					dashes = dashes[1:] + ":"
				}
				fmt.Fprintf(&b, "| %s ", dashes)
			}
			b.WriteString("|\n")
		}
	}
	return b.String()
}

// programTable is a row for every ruleset at every hook, a column for every kind of traffic.
func (r *Report) programTable() string {
	if len(r.Programs) == 0 {
		return ""
	}
	t := table{title: "Programs alone", text: "ns a run of what is attached, over a program that does nothing (`BPF_PROG_TEST_RUN`).",
		head: []string{"rules", "number", "hook", "packets"}}
	for _, k := range classbench.Kinds {
		t.head = append(t.head, string(k))
	}
	type key struct {
		set   string
		rules int
		hook  string
		state string
	}
	rows := map[key][]string{}
	var keys []key
	for _, p := range r.Programs {
		k := key{p.Set, p.Rules, p.Hook, p.State}
		if rows[k] == nil {
			keys = append(keys, k)
			state := p.State
			if state == "" {
				state = "no state"
			}
			rows[k] = append([]string{p.Set, fmt.Sprint(p.Rules), p.Hook, state}, make([]string, len(classbench.Kinds))...)
		}
		rows[k][4+slices.Index(classbench.Kinds, p.Traffic)] = fmt.Sprintf("%.0f", p.Nanoseconds)
	}
	for _, k := range keys {
		t.rows = append(t.rows, rows[k])
	}
	return t.String()
}

// scenarios are the names of those whose frames were measured, in order.
func (r *Report) scenarios() (names []string) {
	for _, f := range r.Frames {
		if !slices.Contains(names, f.Scenario) {
			names = append(names, f.Scenario)
		}
	}
	return names
}

// frameTables are a table for every scenario: a row for every contender, a column for every size.
func (r *Report) frameTables() string {
	var b strings.Builder
	for _, name := range r.scenarios() {
		t := table{title: "Frames: " + name, head: []string{"ns a frame over no firewall"}}
		var not []string
		column := map[int]int{}
		row := map[string]int{}
		for _, f := range r.Frames {
			if f.Scenario != name {
				continue
			}
			if column[f.Rules] == 0 {
				column[f.Rules] = len(t.head)
				t.head = append(t.head, fmt.Sprintf("%d rules", f.Rules))
			}
			if f.Not != "" {
				if text := f.Contender + ": " + f.Not; !slices.Contains(not, text) {
					not = append(not, text)
				}
				continue
			}
			if _, ok := row[f.Contender]; !ok {
				row[f.Contender] = len(t.rows)
				t.rows = append(t.rows, []string{f.Contender})
			}
			if f.Floor {
				t.head[0] = "ns a frame over dropping all in XDP"
			}
			cells := &t.rows[row[f.Contender]]
			for len(*cells) <= column[f.Rules] {
				*cells = append(*cells, "")
			}
			text := fmt.Sprintf("%+.0f", f.Added)
			if f.Contender == nothing && !f.Floor || f.Contender == dropAll {
				text = fmt.Sprintf("(%.0f)", f.Nanoseconds)
			}
			(*cells)[column[f.Rules]] = text
		}
		for i := range t.rows {
			t.rows[i] = append(t.rows[i], make([]string, len(t.head)-len(t.rows[i]))...)
		}
		t.text = scenarioTexts[strings.SplitN(name, ",", 2)[0]] + " In brackets: all of a frame, its sender and receiver included."
		for _, n := range not {
			t.text += " Not measured: " + n + "."
		}
		b.WriteString(t.String())
	}
	return b.String()
}

var scenarioTexts = map[string]string{
	"ruleset-size":              "Every frame meets one rule of five fields, all equally often.",
	"rule-complexity":           "1,000 rules of one to five fields; every frame meets one.",
	"enterprise-public-servers": "Established flows are accepted by the first rule; some of the frames are for closed ports and are dropped.",
	"ddos-mitigator":            "Every frame is of the listed sources and is dropped, in INPUT or (raw, guard) before connection tracking.",
	"misses":                    "Frames that no rule means, accepted by the policy: the whole list for whoever goes through it.",
}

// changeTable is a row for every contender and size.
func (r *Report) changeTable() string {
	if len(r.Changes) == 0 {
		return ""
	}
	t := table{title: "Changes of rules", text: "Commands as an operator gives them (a file of iptables rules, an nft script), ms; RSS is the command's. " +
		"Of these, for bpfwall, seen from inside: parsing, translating, a whole apply until the rules are live, the same for one rule more and " +
		"(in brackets) the programs that had to be verified for it, and the store that switches. " +
		"Memory of maps: those of one generation, connection tables included, and in brackets what the rules take of it.",
		head: []string{"firewall", "rules", "load", "replace", "one rule more", "RSS, MB", "parse", "translate", "apply", "one more live", "flip, µs", "maps, MB"}}
	for _, c := range r.Changes {
		row := []string{c.Contender, fmt.Sprint(c.Rules), ms(c.Load), ms(c.Replace), ms(c.OneRule), fmt.Sprintf("%.0f", c.RSS), "", "", "", "", "", ""}
		if c.Maps > 0 {
			copy(row[6:], []string{ms(c.Parse), ms(c.Translate), ms(c.Apply), fmt.Sprintf("%s (%d)", ms(c.OneLive), c.Verified), fmt.Sprintf("%.1f", c.Flip), fmt.Sprintf("%.1f (%.1f)", c.Maps, c.Tables)})
		}
		t.rows = append(t.rows, row)
	}
	return t.String()
}

func ms(v float64) string {
	if v < 10 {
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.0f", v)
}
