package dataplane

import (
	"bufio"
	"encoding/gob"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/bpfwall/bpfwall/ruleset"
	"github.com/bpfwall/bpfwall/translator"
)

// The files of a generation. What there is one of for every rule is on a tape in gob's format: an apply writes the rules and reads those in force
// to tell what changes. Of 10,000, gob alone takes 30 ms, JSON 250.
const (
	metaFile  = "meta.json" // Generation, but for what rules have
	rulesFile = "rules.gob" // savedHead and savedRules
	slotsFile = "slots.gob" // savedSlots

	// Of older versions.
	gobRulesFile = "ruleset.gob"  // ruleset.Ruleset
	oldRulesFile = "ruleset.json" // where meta.json had the slots too
)

// savedSlots is what rules have in the maps.
type savedSlots struct {
	Slots translator.Slots
	Logs  []translator.LogPoint
	Tape  []byte // Slots.Counters. Of older versions: nothing
}

// write writes it.
func (s savedSlots) write(w io.Writer) error {
	t := &tape{to: make([]byte, 0, 32*len(s.Slots.Counters))}
	t.counters(&s.Slots.Counters)
	s.Tape, s.Slots.Counters = t.to, nil
	return gob.NewEncoder(w).Encode(s)
}

// readSlots reads what was written so.
func readSlots(r io.Reader, v any) error {
	s := v.(*savedSlots)
	if err := gob.NewDecoder(r).Decode(s); err != nil || len(s.Tape) == 0 {
		return err
	}
	t := &tape{reading: true, from: string(s.Tape)}
	if t.counters(&s.Slots.Counters); t.bad || t.from != "" {
		return errTape
	}
	return nil
}

func (l layout) sourceFile(n uint32, i int) string {
	return filepath.Join(l.generation(n), "sources", strconv.Itoa(i))
}

// readMeta reads a generation without what its rules have.
func (l layout) readMeta(n uint32) (*Generation, error) {
	g := new(Generation)
	return g, l.read(n, metaFile, g, func(r io.Reader, v any) error { return json.NewDecoder(r).Decode(v) })
}

func (l layout) readGeneration(n uint32) (*Generation, error) {
	g, err := l.readMeta(n)
	if err != nil || len(g.Slots.Counters) > 0 {
		return g, err
	}
	var s savedSlots
	if err = l.read(n, slotsFile, &s, readSlots); errors.Is(err, ErrNoGeneration) {
		return g, nil // of an older version, without any rule
	}
	g.Slots, g.Logs = s.Slots, s.Logs
	return g, err
}

func (l layout) readRuleset(n uint32) (*ruleset.Ruleset, error) {
	rs := new(ruleset.Ruleset)
	err := l.read(n, rulesFile, rs, func(r io.Reader, _ any) error { return readRules(r, rs) })
	if errors.Is(err, ErrNoGeneration) {
		err = l.read(n, gobRulesFile, rs, readGob)
	}
	if errors.Is(err, ErrNoGeneration) {
		err = l.read(n, oldRulesFile, rs, func(r io.Reader, v any) error { return json.NewDecoder(r).Decode(v) })
	}
	return rs, err
}

func readGob(r io.Reader, v any) error { return gob.NewDecoder(r).Decode(v) }

func (l layout) read(n uint32, name string, v any, decode func(io.Reader, any) error) error {
	f, err := os.Open(filepath.Join(l.generation(n), name))
	switch {
	case errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("generation %d: %w", n, ErrNoGeneration)
	case err != nil:
		return fmt.Errorf("generation %d: %w", n, errDisk(err))
	}
	defer f.Close()
	size := 1 << 12
	if name != metaFile {
		size = 1 << 16
	}
	if err := decode(bufio.NewReaderSize(f, size), v); err != nil {
		return fmt.Errorf("generation %d: %s: %s", n, name, err)
	}
	return nil
}

// draft is a generation that is being written: its directory appears in full or not at all, also after a loss of power.
type draft struct {
	at      layout
	dir     string
	writing sync.WaitGroup
	mu      sync.Mutex
	err     error // of what was written so far
}

// beginGeneration begins to write a generation: first its rules, which have their identities, while they are compiled.
func (l layout) beginGeneration(n uint32, sources []Source, rs *ruleset.Ruleset) *draft {
	d := &draft{at: l, dir: filepath.Join(l.generations, tmpPrefix+filepath.Base(l.generation(n)))}
	if d.err = os.MkdirAll(filepath.Join(d.dir, "sources"), 0o700); d.err != nil {
		return d
	}
	d.begin(func() error { return d.writeSources(sources) })
	d.begin(func() error {
		return writeSynced(filepath.Join(d.dir, rulesFile), func(w io.Writer) error { return writeRules(w, rs) })
	})
	return d
}

// begin begins to write something.
func (d *draft) begin(write func() error) {
	d.writing.Go(func() {
		err := write()
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.err == nil {
			d.err = err
		}
	})
}

func (d *draft) writeSources(sources []Source) error {
	folder := filepath.Join(d.dir, "sources")
	for i, s := range sources {
		if err := writeSynced(filepath.Join(folder, strconv.Itoa(i)), text(s.Text)); err != nil {
			return err
		}
	}
	return syncDir(folder)
}

// slots begins to write what rules have in the maps, while the kernel verifies the programs.
func (d *draft) slots(g *Generation) {
	slots := savedSlots{Slots: g.Slots, Logs: g.Logs} // g may change
	d.begin(func() error { return writeSynced(filepath.Join(d.dir, slotsFile), slots.write) })
}

// finish writes what was left, and has the directory appear.
func (d *draft) finish(g *Generation) error {
	d.writing.Wait()
	err := d.err
	if err == nil {
		err = errors.Join(writeMeta(filepath.Join(d.dir, metaFile), g), syncDir(d.dir))
	}
	if err == nil {
		err = os.Rename(d.dir, d.at.generation(g.Number))
	}
	if err == nil {
		err = syncDir(d.at.generations)
	}
	if err != nil {
		_ = os.RemoveAll(d.dir)
		return fmt.Errorf("%s: %w", d.at.generation(g.Number), errDisk(err))
	}
	return nil
}

// drop gives up.
func (d *draft) drop() {
	d.writing.Wait()
	_ = os.RemoveAll(d.dir)
}

// rewriteMeta changes what is remembered of a generation.
func (l layout) rewriteMeta(g *Generation) error {
	path := filepath.Join(l.generation(g.Number), metaFile)
	err := writeMeta(path+".tmp", g)
	if err == nil {
		err = os.Rename(path+".tmp", path)
	}
	if err != nil {
		return fmt.Errorf("generation %d: %w", g.Number, errDisk(err))
	}
	return syncDir(filepath.Dir(path))
}

// writeMeta writes a generation, without what rules have: of a generation of an older version with, as it has no other file for it.
func writeMeta(path string, g *Generation) error {
	few := *g
	if _, err := os.Stat(filepath.Join(filepath.Dir(path), slotsFile)); err == nil {
		few.Slots, few.Logs = translator.Slots{}, nil
	}
	return writeSynced(path, func(w io.Writer) error {
		e := json.NewEncoder(w)
		e.SetIndent("", " ")
		return e.Encode(few)
	})
}

func writeSynced(path string, write func(io.Writer) error) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(f, 1<<16)
	return errors.Join(write(w), w.Flush(), f.Sync(), f.Close())
}

// text writes what is there already.
func text(b []byte) func(io.Writer) error {
	return func(w io.Writer) error { _, err := w.Write(b); return err }
}

func syncDir(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
