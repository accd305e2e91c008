package main

import (
	"net/netip"
	"slices"

	"github.com/spf13/cobra"

	"github.com/bpfwall/bpfwall/dataplane"
)

// forgetAnswer is the answer of forget.
type forgetAnswer struct {
	schema
	Forgotten int `json:"forgotten"`
}

func (a *app) forget() *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use:   "forget ADDRESS...",
		Short: "Forget connections of some addresses: the rules judge their next packet as that of a new one",
		Long: `Forget the connections that have an end in one of these addresses or prefixes. The rules judge their next packet as they would judge
that of a new connection: what they do not let in any more ends. "bpfwall show flows" lists connections.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			nets, err := prefixes(args)
			if err != nil {
				return err
			}
			if all == (len(nets) > 0) {
				return fail(exitUsage, "connections: name addresses, or --all of them")
			}
			fw, err := a.firewall()
			if err != nil {
				return err
			}
			n, err := fw.Forget(cmd.Context(), func(f dataplane.Flow) bool { return all || touches(f, nets) })
			if err != nil {
				return err
			}
			return a.emit(forgetAnswer{schemaOf("forget"), n}, func() { a.printf("%s forgotten\n", count(n, "connection")) })
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "forget every connection")
	return cmd
}

// prefixes reads addresses and prefixes.
func prefixes(args []string) (nets []netip.Prefix, err error) {
	for _, arg := range args {
		p, err := netip.ParsePrefix(arg)
		if addr, e := netip.ParseAddr(arg); e == nil {
			p, err = addr.Prefix(addr.BitLen())
		}
		if err != nil {
			return nil, fail(exitUsage, "%q: not an address or prefix", arg)
		}
		nets = append(nets, p.Masked())
	}
	return nets, nil
}

// touches reports whether an end of a connection is in one of some networks.
func touches(f dataplane.Flow, nets []netip.Prefix) bool {
	return slices.ContainsFunc(nets, func(p netip.Prefix) bool { return p.Contains(f.Orig.Addr()) || p.Contains(f.Reply.Addr()) })
}
