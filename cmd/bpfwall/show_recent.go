package main

import (
	"slices"

	"github.com/spf13/cobra"
)

// notedAnswer is an address on a list of recent addresses.
type notedAnswer struct {
	List   string `json:"list"` // "" if no rule has it any more
	Addr   string `json:"address"`
	LastNS int64  `json:"last_ns"` // ago
	Times  uint64 `json:"times"`
	TTL    uint8  `json:"ttl"`
}

func (a *app) showRecent() *cobra.Command {
	return &cobra.Command{
		Use:   "recent [LIST]...",
		Short: "The addresses on lists of recent ones, with the times that they were noted",
		RunE: func(_ *cobra.Command, lists []string) error {
			fw, err := a.firewall()
			if err != nil {
				return err
			}
			all, err := fw.Recent()
			if err != nil {
				return err
			}
			list := []notedAnswer{}
			for _, n := range all {
				if len(lists) == 0 || slices.Contains(lists, n.List) {
					list = append(list, notedAnswer{n.List, n.Addr.String(), n.Last.Nanoseconds(), n.Times, n.TTL})
				}
			}
			return a.emit(struct {
				schema
				Recent []notedAnswer `json:"recent"`
			}{schemaOf("show-recent"), list}, func() { a.printNoted(list) })
		},
	}
}

func (a *app) printNoted(list []notedAnswer) {
	var rows [][]string
	for _, n := range list {
		rows = append(rows, []string{escape(n.List), n.Addr, "last " + agoText(n.LastNS) + " ago", count(int(n.Times), "time")})
	}
	a.printf("%s", columns(rows))
	if len(list) == 0 {
		a.printf("no address is noted\n")
	}
}
