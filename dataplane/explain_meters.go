package dataplane

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"

	"github.com/bpfwall/bpfwall/bpf"
)

// copyMeters takes over the token buckets of keys.
func (t *Twin) copyMeters(d *Dataplane) error {
	from, err := d.openPinned("meters")
	if err == nil {
		err = copyMeters(t.coll.Maps["meters"], from)
		_ = from.Close()
	}
	if err != nil {
		t.Close()
		return fmt.Errorf("limits of keys: %w", errKernel(err))
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
