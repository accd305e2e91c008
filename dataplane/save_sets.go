package dataplane

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/cilium/ebpf"

	"github.com/bpfwall/bpfwall/ruleset"
	"github.com/bpfwall/bpfwall/translator"
)

// savedFile is the elements of a set as they were saved last: an element and the time when it is over, or "-", a line.
func (l layout) savedFile(set string) string {
	return filepath.Join(l.state, "sets", escapeName(set)+".elements")
}

// SaveSets writes the elements of all dynamic sets to disk, from where they are brought back when their maps are made anew: after a boot,
// or when the firewall was turned off. It returns how many elements were written. Returns ErrNotLoaded.
func (d *Dataplane) SaveSets(ctx context.Context) (saved int, err error) {
	err = d.change(ctx, func() error {
		saved, err = d.saveSets()
		return err
	})
	return saved, err
}

func (d *Dataplane) saveSets() (saved int, err error) {
	n, err := d.liveNumber()
	if err != nil {
		return 0, err
	}
	rs, err := d.at.readRuleset(n)
	if err != nil {
		return 0, err
	}
	for _, s := range rs.Sets {
		if s.Live == nil || !s.Live.Dynamic {
			continue
		}
		err := d.withSet(s.Name, func(l *liveMaps) error {
			text, n, err := l.saved()
			saved += n
			if err != nil {
				return err
			}
			return writeWhole(d.at.savedFile(s.Name), text)
		})
		if err != nil {
			return saved, err
		}
	}
	return saved, nil
}

// saved is the elements as a file's text.
func (l *liveMaps) saved() (text []byte, n int, err error) {
	var b bytes.Buffer
	now, wall := monotonic(), time.Now()
	err = eachElement(l.elements, func(k []byte, e translator.Element) error {
		until := "-"
		switch {
		case over(e, now):
			return nil
		case e.Expires != 0:
			until = wall.Add(time.Duration(e.Expires - now)).UTC().Format(time.RFC3339Nano)
		}
		n++
		fmt.Fprintf(&b, "%s %s\n", l.tuple(k).Text(l.set.Parts), until)
		return nil
	})
	return b.Bytes(), n, err
}

// restoreSet brings back the elements of a set whose maps are new. A damaged file is said and left.
func (t *transaction) restoreSet(s *ruleset.Set, elements *ebpf.Map) {
	text, err := os.ReadFile(t.d.at.savedFile(s.Name))
	if errors.Is(err, os.ErrNotExist) {
		return
	}
	list, parseErr := parseSaved(s.Parts, text, time.Now())
	err = errors.Join(err, parseErr)
	l := &liveMaps{set: s, elements: elements}
	now := monotonic()
	for _, n := range list {
		if err == nil {
			err = l.store(l.key(n.Tuple), n.element(now, s.Live))
		}
	}
	if err != nil {
		t.warn("set %q: its saved elements: %s", s.Name, err)
	}
}

// parseSaved reads what saved wrote, without what is over.
func parseSaved(parts []ruleset.Part, text []byte, now time.Time) (list []NewElement, err error) {
	lines := bufio.NewScanner(bytes.NewReader(text))
	for n := 1; lines.Scan(); n++ {
		element, until, _ := strings.Cut(lines.Text(), " ")
		t, problem := ruleset.ParseTuple(parts, element)
		if problem != "" {
			return list, fmt.Errorf("line %d: %s", n, problem)
		}
		e := NewElement{Tuple: t, Timeout: -1}
		if until != "-" {
			end, err := time.Parse(time.RFC3339Nano, until)
			if err != nil {
				return list, fmt.Errorf("line %d: %s", n, err)
			}
			if e.Timeout = end.Sub(now); e.Timeout <= 0 {
				continue
			}
		}
		list = append(list, e)
	}
	return list, lines.Err()
}
