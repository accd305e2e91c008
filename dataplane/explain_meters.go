package dataplane

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"

	"github.com/bpfwall/bpfwall/bpf"
)

// remembered are the maps of what rules remember of packets, with how their contents are copied.
var remembered = []struct {
	name string
	copy func(to, from *ebpf.Map) error
}{{"meters", copyMeters}, {"recents", copyRecents}}

// copyRemembered takes over what rules remember of packets.
func (t *Twin) copyRemembered(d *Dataplane) error {
	for _, m := range remembered {
		from, err := d.openPinned(m.name)
		if err == nil {
			err = m.copy(t.coll.Maps[m.name], from)
			_ = from.Close()
		}
		if err != nil {
			t.Close()
			return fmt.Errorf("map %s: %w", m.name, errKernel(err))
		}
	}
	return nil
}

func copyMeters(to, from *ebpf.Map) error {
	keys, values := make([]bpf.MeterKey, batchSize), make([]bpf.MeterState, batchSize)
	var cursor ebpf.MapBatchCursor
	for {
		n, err := from.BatchLookup(&cursor, keys, values, nil)
		last := errors.Is(err, ebpf.ErrKeyNotExist)
		if err != nil && !last {
			return err
		}
		for i := range n {
			if err := to.Put(keys[i], values[i]); err != nil {
				return err
			}
		}
		if last {
			return nil
		}
	}
}
