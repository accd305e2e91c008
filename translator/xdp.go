package translator

import (
	"fmt"
	"strings"

	"github.com/bpfwall/bpfwall/bpf"
	"github.com/bpfwall/bpfwall/ruleset"
)

// addXDP puts the prerouting rules into the XDP program too, if there are any and none asks for what XDP does not have.
func (o *Output) addXDP() error {
	rs := o.plan.rs
	chains := rs.ReachedFrom(ruleset.HookPrerouting)
	if len(chains) == 0 {
		return nil
	}
	if o.NoXDP = needsSkb(chains); o.NoXDP != "" {
		return nil
	}
	spec, err := bpf.LoadXdp()
	if err != nil {
		return fmt.Errorf("xdp object: %s", err)
	}
	obj, err := newObject(spec)
	if err != nil {
		return err
	}
	if err := obj.replace(o.code); err != nil {
		return err
	}
	o.XDP = spec
	return nil
}

// shareMaps gives the XDP program the maps of the others.
func (o *Output) shareMaps() {
	if o.XDP == nil {
		return
	}
	for name, m := range o.Spec.Maps {
		if _, has := o.XDP.Maps[name]; has && !strings.HasPrefix(name, ".") { // variables are each program's own
			o.XDP.Maps[name] = m
		}
	}
	if m := o.Spec.Maps[classifierMap]; m != nil {
		o.XDP.Maps[classifierMap] = m
	}
	for _, s := range o.Sets {
		o.XDP.Maps[s.Name] = o.Spec.Maps[s.Name]
	}
	for _, s := range o.Live {
		for _, m := range s.specs() {
			o.XDP.Maps[m.ref] = o.Spec.Maps[m.ref]
		}
	}
}

// needsSkb names the first rule that asks for what only an skb has: XDP comes before the packet has a mark.
func needsSkb(chains []*ruleset.Chain) string {
	for _, c := range chains {
		for _, r := range c.Rules {
			if touchesMark(r) {
				return fmt.Sprintf("%s: a packet has no mark yet in XDP", r.Pos)
			}
		}
	}
	return ""
}

func touchesMark(r *ruleset.Rule) bool {
	for i := range r.Matches {
		if r.Matches[i].Field == ruleset.FieldMark {
			return true
		}
	}
	for _, s := range r.Statements {
		if s.SetMark != nil {
			return true
		}
	}
	return false
}
