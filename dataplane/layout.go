package dataplane

import (
	"fmt"
	"path/filepath"
	"strings"
)

// layout is where things are. Below the BPF file system:
//
//	bpfwall/                    or bpfwall/netns/NAME/
//	  maps/NAME                 shared by all generations
//	  links/IFINDEX-ingress     what keeps the dispatchers attached
//	  links/IFINDEX-xdp         the same in XDP, or IFINDEX-xdp-generic
//	  links/input-ipv4          and those of netfilter's hooks
//	  progs/gen-42/PROGRAM      the live and the previous generation's
//	  progs/gen-42/sum-PROGRAM  a link whose text says what it was made of
//	  progs/spare/…             the same of no generation (standby.go)
//
// and on disk:
//
//	/var/lib/bpfwall/           or /var/lib/bpfwall/netns/NAME/
//	  generations/0042/         rules.gob, slots.gob, meta.json, sources/
//	  current -> generations/0042
//	/run/bpfwall/lock           or /run/bpfwall/NAME.lock
type layout struct {
	pins, maps, links, progs    string
	state, generations, current string
	lock, eventsLock            string
}

func newLayout(cfg Config) layout {
	pins, state, lockName := filepath.Join(cfg.BPFFS, "bpfwall"), cfg.StateDir, ""
	if cfg.Netns != "" {
		pins, state = filepath.Join(pins, "netns", pinName.Replace(cfg.Netns)), filepath.Join(state, "netns", cfg.Netns)
		lockName = cfg.Netns + "."
	}
	return layout{
		pins:        pins,
		maps:        filepath.Join(pins, "maps"),
		links:       filepath.Join(pins, "links"),
		progs:       filepath.Join(pins, "progs"),
		state:       state,
		generations: filepath.Join(state, "generations"),
		current:     filepath.Join(state, "current"),
		lock:        filepath.Join(cfg.RunDir, lockName+"lock"),
		eventsLock:  filepath.Join(cfg.RunDir, lockName+"events.lock"),
	}
}

// pinName makes a name fit for the BPF file system, which has no dots in names.
var pinName = strings.NewReplacer("%", "%25", ".", "%2E")

func (l layout) mapPin(name string) string { return filepath.Join(l.maps, name) }

func (l layout) linkPin(h hook) string {
	return filepath.Join(l.links, fmt.Sprintf("%d-%s", h.ifindex, h.dir))
}

func (l layout) programs(n uint32) string { return filepath.Join(l.progs, fmt.Sprintf("gen-%d", n)) }

func (l layout) generation(n uint32) string {
	return filepath.Join(l.generations, fmt.Sprintf("%04d", n))
}
