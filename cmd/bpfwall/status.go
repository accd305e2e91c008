package main

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/bpfwall/bpfwall/dataplane"
)

// statusAnswer is the answer of status.
type statusAnswer struct {
	schema
	On         bool              `json:"on"`
	Generation *generation       `json:"generation"`
	Hooks      []hookAnswer      `json:"hooks"`
	Idle       []string          `json:"idle,omitempty"` // directions of tc that are not attached, for there is nothing to decide
	Missing    []string          `json:"missing_interfaces,omitempty"`
	Connect    string            `json:"connect,omitempty"`
	Send       string            `json:"send,omitempty"`
	Flows      int               `json:"flows"`
	Stats      map[string]uint64 `json:"stats"`
	Warnings   []string          `json:"warnings,omitempty"`
}

func (a *app) status() *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "One screen: on or off, generation, hooks, connections, what is wrong",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			fw, err := a.firewall()
			if err != nil {
				return err
			}
			s, err := fw.Status()
			if errors.Is(err, dataplane.ErrNotLoaded) {
				off := statusAnswer{schema: schemaOf("status"), Hooks: []hookAnswer{}}
				return a.emit(off, func() { a.printf("bpfwall OFF: every packet passes\n") })
			}
			if errors.Is(err, dataplane.ErrPinsGone) {
				return fail(exitFailed, "%w", err).withHelp("`bpfwall apply` or `bpfwall boot` loads rules again; `bpfwall disable` lets every packet pass")
			}
			if err != nil {
				return err
			}
			return a.emit(answerOf(s), func() { a.printStatus(s) })
		},
	}
}

func answerOf(s *dataplane.Status) statusAnswer {
	g := s.Generation
	return statusAnswer{
		schemaOf("status"), true, &generation{g.Number, true, g.Time, g.User, g.Confirmed, g.RollbackTo, fileNames(g), g.Note},
		hookAnswers(s.Hooks), s.Idle, s.Missing, s.Connect, s.Send, s.Flows, s.Stats, s.Warnings,
	}
}

func (a *app) printStatus(s *dataplane.Status) {
	p, g := paint(a.colours(a.color, 1)), s.Generation
	confirmed := "not confirmed"
	if g.Confirmed {
		confirmed = "confirmed"
	}
	if !g.Time.IsZero() { // zero: the disk does not know this generation
		confirmed += ", " + age(time.Since(g.Time)) + " old"
	}
	a.printf("bpfwall %s   generation %d, %s   %s\n", p.wrap("32", "ON"), g.Number, confirmed, escape(strings.Join(fileNames(g), " ")))
	rows := [][]string{{"  hook", "mode", "state"}}
	for _, h := range s.Hooks {
		state := "attached"
		if h.Why != "" {
			state = "not in XDP: " + escape(h.Why)
		}
		if !h.Attached {
			state = p.error("NOT ATTACHED: packets pass unjudged; run bpfwall refresh")
		}
		rows = append(rows, []string{"  " + strings.TrimSpace(escape(h.Interface)+" "+h.Direction), string(h.Mode), state})
	}
	for _, dir := range s.Idle {
		rows = append(rows, []string{"  " + dir, "-", "not attached: there is nothing to decide"})
	}
	for _, name := range s.Missing {
		rows = append(rows, []string{"  " + escape(name), "-", "no such interface now"})
	}
	if s.Connect != "" {
		rows = append(rows, []string{"  connect()", "cgroup", escape(connectState(s.Connect))}, []string{"  sendto()", "cgroup", escape(connectState(s.Send))})
	}
	a.printf("%s", columns(rows))
	a.printf("%s tracked", count(s.Flows, "connection"))
	for _, name := range slices.Sorted(maps.Keys(s.Stats)) {
		if n := s.Stats[name]; n > 0 {
			a.printf("   %s %s", name, grouped(n))
		}
	}
	a.printf("\n")
	if !g.Confirmed {
		a.printf("not confirmed: `bpfwall confirm` keeps these rules, `bpfwall rollback` goes back; the next boot does without them\n")
	}
	for _, w := range s.Warnings {
		a.printf("%s %s\n", p.warning("warning:"), escape(w))
	}
}

// connectState says who tells a process that its connection is refused.
func connectState(connect string) string {
	if connect == dataplane.ConnectAttached {
		return connect
	}
	return "left to tc: " + connect
}

// age is a time span in one unit.
func age(d time.Duration) string {
	switch {
	case d < time.Minute:
		return d.Round(time.Second).String()
	case d < time.Hour:
		return count(int(d/time.Minute), "minute")
	case d < 48*time.Hour:
		return count(int(d/time.Hour), "hour")
	}
	return count(int(d/(24*time.Hour)), "day")
}
