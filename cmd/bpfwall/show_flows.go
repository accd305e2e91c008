package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/bpfwall/bpfwall/dataplane"
	"github.com/bpfwall/bpfwall/ruleset"
)

// flowAnswer is a tracked connection. Counts are of the original direction and of the reply.
type flowAnswer struct {
	Proto    string    `json:"proto"`
	From     string    `json:"from"`
	To       string    `json:"to"`
	State    string    `json:"state"`
	Assured  bool      `json:"assured"`
	Packets  [2]uint64 `json:"packets"`
	Bytes    [2]uint64 `json:"bytes"`
	AgeNS    int64     `json:"age_ns"`
	ExpiryNS int64     `json:"expires_in_ns"`
}

func (a *app) showFlows() *cobra.Command {
	return &cobra.Command{
		Use:   "flows [TEXT]...",
		Short: "The connections that are tracked; with texts, those whose line has all of them",
		RunE: func(_ *cobra.Command, words []string) error {
			fw, err := a.firewall()
			if err != nil {
				return err
			}
			flows, err := fw.Flows()
			if err != nil {
				return err
			}
			list := []flowAnswer{}
			for _, f := range flows {
				if answer := flowAnswerOf(f); answer.has(words) {
					list = append(list, answer)
				}
			}
			return a.emit(struct {
				schema
				Flows []flowAnswer `json:"flows"`
			}{schemaOf("show-flows"), list}, func() { a.printFlows(list) })
		},
	}
}

func flowAnswerOf(f dataplane.Flow) flowAnswer {
	proto, ok := ruleset.ProtoNames[f.Proto]
	if !ok {
		proto = fmt.Sprintf("proto %d", f.Proto)
	}
	state := f.State
	if state == "" && !f.Replied {
		state = "unreplied"
	}
	return flowAnswer{
		Proto: proto, From: f.Orig.String(), To: f.Reply.String(), State: state, Assured: f.Assured,
		Packets: f.Packets, Bytes: f.Bytes, AgeNS: f.Age.Nanoseconds(), ExpiryNS: f.Timeout.Nanoseconds(),
	}
}

func (f flowAnswer) has(words []string) bool {
	line := strings.Join([]string{f.Proto, f.From, f.To, f.State}, " ")
	for _, w := range words {
		if !strings.Contains(line, w) {
			return false
		}
	}
	return true
}

func (a *app) printFlows(list []flowAnswer) {
	var rows [][]string
	for _, f := range list {
		rows = append(rows, []string{
			f.Proto, f.From + " → " + f.To, f.State, fmt.Sprintf("%s/%s packets", grouped(f.Packets[0]), grouped(f.Packets[1])),
			amount(f.Bytes[0] + f.Bytes[1]), "age " + time.Duration(f.AgeNS).Round(time.Second).String(),
			"expires in " + time.Duration(f.ExpiryNS).Round(time.Second).String(),
		})
	}
	a.printf("%s%s\n", columns(rows), count(len(list), "connection"))
}
