package main

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/bpfwall/bpfwall/dataplane"
	"github.com/bpfwall/bpfwall/ruleset"
)

// ruleAnswer is a rule or policy in force, with what it has counted.
type ruleAnswer struct {
	Chain   string       `json:"chain"`
	Hook    string       `json:"hook,omitempty"` // of base chains
	ID      string       `json:"id"`
	Name    string       `json:"name,omitempty"`
	Rule    string       `json:"rule"` // what it does
	Note    string       `json:"note,omitempty"`
	Verdict string       `json:"verdict"`
	Packets uint64       `json:"packets"`
	Bytes   uint64       `json:"bytes"`
	Idle    bool         `json:"not_counted,omitempty"` // a policy at a hook where there is nothing to decide
	Pos     *ruleset.Pos `json:"pos,omitempty"`

	hook ruleset.Hook
}

func (a *app) showRules() *cobra.Command {
	var unused bool
	var sort string
	cmd := &cobra.Command{
		Use:   "rules [CHAIN]...",
		Short: "The rules in force, with what they have counted, their names and places",
		RunE: func(_ *cobra.Command, chains []string) error {
			fw, err := a.firewall()
			if err != nil {
				return err
			}
			counters, err := fw.Counters()
			if err != nil {
				return err
			}
			list, err := ruleAnswers(counters, chains, unused, sort)
			if err != nil {
				return err
			}
			if sort == "" {
				slices.SortStableFunc(list, func(x, y ruleAnswer) int { return compareHooks(x.hook, y.hook) })
			}
			gen, _, err := fw.Live()
			if err != nil {
				return err
			}
			return a.emit(struct {
				schema
				Rules []ruleAnswer `json:"rules"`
				XDP   []string     `json:"xdp,omitempty"` // interfaces where it judges those of the prerouting hook
			}{schemaOf("show-rules"), list, gen.InXDP()}, func() { a.printRules(list, sort == "", places{gen}) })
		},
	}
	cmd.Flags().BoolVar(&unused, "unused", false, "only rules that never matched")
	cmd.Flags().StringVar(&sort, "sort", "", "packets or bytes: the busiest first (default: in the order of the rules)")
	complete(cmd, "sort", "packets", "bytes")
	return cmd
}

func ruleAnswers(counters []dataplane.Counter, chains []string, unused bool, sort string) ([]ruleAnswer, error) {
	list := []ruleAnswer{}
	for _, c := range counters {
		key := c.Chain.Key()
		wanted := len(chains) == 0 || slices.Contains(chains, key) || slices.Contains(chains, c.Chain.Name)
		if wanted && (!unused || c.Packets == 0 && c.Rule != nil) {
			list = append(list, ruleAnswerOf(c))
		}
	}
	switch sort {
	case "":
	case "packets":
		slices.SortStableFunc(list, func(x, y ruleAnswer) int { return cmp.Compare(y.Packets, x.Packets) })
	case "bytes":
		slices.SortStableFunc(list, func(x, y ruleAnswer) int { return cmp.Compare(y.Bytes, x.Bytes) })
	default:
		return nil, fail(exitUsage, "--sort %q: want packets or bytes", sort)
	}
	if len(chains) > 0 && len(list) == 0 && !unused {
		return nil, fail(exitFailed, "%q: no such chain is loaded", chains[0]).withHelp("`bpfwall show rules` shows all of them")
	}
	return list, nil
}

func ruleAnswerOf(c dataplane.Counter) ruleAnswer {
	answer := ruleAnswer{hook: c.Chain.Hook, Chain: c.Chain.Key(), ID: c.ID, Packets: c.Packets, Bytes: c.Bytes, Idle: c.Idle}
	if c.Chain.Hook != ruleset.HookNone {
		answer.Hook = c.Chain.Hook.String()
	}
	pos := c.Chain.Pos
	if r := c.Rule; r != nil {
		answer.Name, answer.Rule, answer.Note, answer.Verdict, pos = r.Name, r.String(), r.Note, r.Verdict.String(), r.Pos
	} else {
		answer.Name, answer.Rule, answer.Verdict = "policy", "", c.Chain.Policy.String()
	}
	if pos.Line > 0 {
		answer.Pos = &pos
	}
	return answer
}

// printRules prints a table; with heads, a line before each chain's rules.
func (a *app) printRules(list []ruleAnswer, heads bool, at places) {
	p := paint(a.colours(a.color, 1))
	var rows [][]string
	for _, r := range list {
		where := ""
		if !heads {
			where = r.Chain
		}
		packets, bytes := grouped(r.Packets), amount(r.Bytes)
		if r.Idle {
			packets, bytes = "-", "-"
		}
		rows = append(rows, []string{
			fmt.Sprintf("%12s", packets), fmt.Sprintf("%10s", bytes), escape(where),
			p.bold(escape(r.Name)), escape(ruleText(r)), p.dim(place(r.Pos)),
		})
	}
	lines := splitLines(columns(rows))
	for i, line := range lines {
		if heads && (i == 0 || list[i].Chain != list[i-1].Chain) {
			a.printf("%s%s\n", p.bold(escape(list[i].Chain)), hookNote(list[i].hook, at))
		}
		a.printf("%s\n", line)
	}
}

func ruleText(r ruleAnswer) string {
	if r.Rule == "" {
		return r.Verdict
	}
	return r.Rule
}

func hookNote(h ruleset.Hook, at places) string {
	if h == ruleset.HookNone {
		return ""
	}
	return "  on " + h.String() + ", " + escape(at.all(h))
}
