package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/bpfwall/bpfwall/dataplane"
)

// generation is a line of the history.
type generation struct {
	Generation uint32    `json:"generation"`
	Live       bool      `json:"live"`
	Time       time.Time `json:"time"`
	User       string    `json:"user"`
	Confirmed  bool      `json:"confirmed"`
	RollbackTo uint32    `json:"rollback_to,omitempty"`
	Files      []string  `json:"files"`
	Note       string    `json:"note,omitempty"`
}

func (a *app) history() *cobra.Command {
	return &cobra.Command{
		Use:   "history",
		Short: "The generations that can be gone back to",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			fw, err := a.firewall()
			if err != nil {
				return err
			}
			all, err := fw.History()
			if err != nil {
				return err
			}
			list := generations(fw, all)
			return a.emit(struct {
				schema
				Generations []generation `json:"generations"`
			}{schemaOf("history"), list}, func() { a.printHistory(list) })
		},
	}
}

// generations are the answer, the newest first.
func generations(fw *dataplane.Dataplane, all []*dataplane.Generation) []generation {
	now := uint32(0)
	if status, err := fw.Status(); err == nil { // without the rights to look, none is marked
		now = status.Generation.Number
	}
	list := []generation{}
	for _, g := range slices.Backward(all) {
		list = append(list, generation{g.Number, g.Number == now, g.Time, g.User, g.Confirmed, g.RollbackTo, fileNames(g), g.Note})
	}
	return list
}

func fileNames(g *dataplane.Generation) []string {
	out := []string{}
	for _, s := range g.Sources {
		out = append(out, s.Name)
	}
	return out
}

func (a *app) printHistory(list []generation) {
	rows := [][]string{{"  gen", "when", "by", "confirmed", "what"}}
	for _, g := range list {
		mark, confirmed := " ", "no"
		if g.Live {
			mark = "*"
		}
		if g.Confirmed {
			confirmed = "yes"
		}
		what := strings.Join(g.Files, " ")
		if g.RollbackTo != 0 {
			what = fmt.Sprintf("again %d", g.RollbackTo)
		}
		if g.Note != "" {
			what += fmt.Sprintf("  %q", g.Note)
		}
		rows = append(rows, []string{mark + pad(int(g.Generation)), when(g.Time), escape(g.User), confirmed, escape(what)})
	}
	a.printf("%s", columns(rows))
}

// when is a time as people say it in a table.
func when(t time.Time) string { return t.Local().Format("2006-01-02 15:04:05") }
