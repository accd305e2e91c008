package dataplane

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/ringbuf"

	"github.com/bpfwall/bpfwall/bpf"
	"github.com/bpfwall/bpfwall/ruleset"
	"github.com/bpfwall/bpfwall/translator"
)

// Event is a packet that a log statement reported.
type Event struct {
	Time       time.Time
	Generation uint32 // whose programs reported it: Generation.Loaded
	Hook       ruleset.Hook
	Packet     ruleset.Packet
	Program    string              // that opened the socket of a packet of this host; "" if it is not known
	Point      translator.LogPoint // Rule nil if the disk does not remember the generation, or for a notice
	Notice     string              // what happened that is no rule's doing, as its counter in Status.Stats is called; "" if a rule logged
}

// notices are the numbers of events that no rule asked for.
var notices = map[uint32]string{
	uint32(bpf.ClassifierFwNoticeFW_NOTICE_SOURCE_FULL): "source-full",
	uint32(bpf.ClassifierFwNoticeFW_NOTICE_CT_FULL):     "ct-full",
}

// Events calls fn for each event from now on, until ctx is done or fn returns an error, which is then returned. An event has one
// reader: a second one gets ErrBusy. Returns ErrNotLoaded.
func (d *Dataplane) Events(ctx context.Context, fn func(Event) error) error {
	if err := checkPermitted(); err != nil {
		return err
	}
	unlock, err := lock(ctx, d.at.eventsLock, 0)
	if err != nil {
		return err
	}
	defer unlock()
	m, err := ebpf.LoadPinnedMap(d.at.mapPin("events"), nil)
	if errors.Is(err, os.ErrNotExist) {
		return ErrNotLoaded
	}
	if err != nil {
		return fmt.Errorf("map events: %w", errKernel(err))
	}
	defer m.Close()
	rd, err := ringbuf.NewReader(m)
	if err != nil {
		return fmt.Errorf("map events: %w", errKernel(err))
	}
	stop := context.AfterFunc(ctx, func() { _ = rd.Close() })
	defer func() { stop(); _ = rd.Close() }()
	return d.readEvents(rd, fn)
}

func (d *Dataplane) readEvents(rd *ringbuf.Reader, fn func(Event) error) error {
	decode := eventDecoder{at: d.at, boot: time.Now().Add(-time.Duration(bootTime())), points: map[uint32][]translator.LogPoint{}}
	for {
		rec, err := rd.Read()
		if errors.Is(err, ringbuf.ErrClosed) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("map events: %w", err)
		}
		e, err := decode.event(rec.RawSample)
		if err != nil {
			return err
		}
		if err := fn(e); err != nil {
			return err
		}
	}
}

// eventDecoder knows the log statements of generations.
type eventDecoder struct {
	at     layout
	boot   time.Time // when the clock of events was 0
	points map[uint32][]translator.LogPoint
}

func (x *eventDecoder) event(raw []byte) (Event, error) {
	var e bpf.Event
	if err := binary.Read(bytes.NewReader(raw), binary.NativeEndian, &e); err != nil {
		return Event{}, fmt.Errorf("event of %d bytes: %s", len(raw), err)
	}
	return Event{
		Time: x.boot.Add(time.Duration(e.Ts)), Generation: e.Generation, Hook: ruleset.Hook(e.Pkt.Hook),
		Packet: decodePacket(&e.Pkt), Program: name(e.Pkt.Comm), Point: x.point(e.Generation, e.LogId), Notice: notices[e.LogId],
	}, nil
}

func (x *eventDecoder) point(generation, id uint32) translator.LogPoint {
	points, ok := x.points[generation]
	if !ok {
		if g, err := x.at.readGeneration(generation); err == nil {
			points = g.Logs
		}
		x.points[generation] = points
	}
	if int(id) >= len(points) {
		return translator.LogPoint{}
	}
	return points[id]
}
