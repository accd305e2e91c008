package main

import (
	"time"

	"github.com/bpfwall/bpfwall/dataplane"
	"github.com/bpfwall/bpfwall/ruleset"
)

// result is the answer of apply and rollback.
type result struct {
	schema
	Generation   uint32           `json:"generation"`
	Previous     uint32           `json:"previous"` // 0: none
	Hooks        []hookAnswer     `json:"hooks"`
	Counters     int              `json:"counters"`
	CountersKept int              `json:"counters_kept"`
	TookNS       int64            `json:"took_ns"`
	SwitchNS     int64            `json:"switch_ns"`
	Warnings     []string         `json:"warnings,omitempty"`
	Changes      []ruleset.Change `json:"changes,omitempty"`
}

// hookAnswer is a place where packets are judged.
type hookAnswer struct {
	Interface string `json:"interface"`
	Direction string `json:"direction"`
	Mode      string `json:"mode"`
	Attached  bool   `json:"attached"`
	Why       string `json:"why,omitempty"` // guard: why not in XDP
}

func hookAnswers(hooks []dataplane.Hook) []hookAnswer {
	out := []hookAnswer{}
	for _, h := range hooks {
		out = append(out, hookAnswer{h.Interface, h.Direction, string(h.Mode), h.Attached, h.Why})
	}
	return out
}

// printResult says what an apply or a rollback did, also to connections and counters, which is what people fear for.
func (a *app) printResult(verb string, res *dataplane.Result, changes []ruleset.Change) error {
	return a.emit(a.resultOf(verb, res, changes), func() {
		a.printf("generation %d is live on %s; ready in %s, switched in %s\n",
			res.Generation, count(len(res.Hooks), "hook"), round(res.Took), round(res.Flip))
		a.printf("connections: all kept. counters: %d of %d carried over\n", res.Kept, res.Rules)
	})
}

// resultOf is the answer in JSON; its warnings are printed.
func (a *app) resultOf(verb string, res *dataplane.Result, changes []ruleset.Change) result {
	for _, w := range res.Warnings {
		a.warn("%s", w)
	}
	return result{
		schemaOf(verb), res.Generation, res.Previous, hookAnswers(res.Hooks), res.Rules, res.Kept,
		res.Took.Nanoseconds(), res.Flip.Nanoseconds(), res.Warnings, changes,
	}
}

// round leaves three digits of a time.
func round(d time.Duration) time.Duration {
	unit := time.Duration(1)
	for d/unit >= 1000 {
		unit *= 10
	}
	return d.Round(unit)
}
