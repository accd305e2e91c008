package dataplane

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"time"

	"github.com/cilium/ebpf"

	"github.com/bpfwall/bpfwall/ruleset"
	"github.com/bpfwall/bpfwall/settable"
	"github.com/bpfwall/bpfwall/translator"
)

// What changes of sets may return.
var (
	ErrNoSet      = errors.New("no such set")
	ErrNotDynamic = errors.New("the set is not dynamic")
	ErrNoFeed     = errors.New("the set has no feed")
	ErrSetFull    = errors.New("the set is full")
)

// NewElement is an element to be added to a set.
type NewElement struct {
	Prefix  netip.Prefix
	Tuple   ruleset.Tuple // instead of Prefix, for sets of several parts
	Timeout time.Duration // 0: the set's; below 0: for good
	Comment string        // for readers; "" leaves what was said before
}

func (n NewElement) tuple() ruleset.Tuple {
	if n.Prefix.IsValid() {
		return ruleset.Tuple{Net: n.Prefix.Masked()}
	}
	return n.Tuple
}

func (n NewElement) element(now uint64, l *ruleset.Live) translator.Element {
	e := translator.Element{Added: now}
	stay := n.Timeout
	if stay == 0 {
		stay = time.Duration(l.Timeout) * time.Second
	}
	if stay > 0 {
		e.Expires = now + uint64(stay)
	}
	return e
}

// Element is an element of a set that was added at run time.
type Element struct {
	Prefix         netip.Prefix
	Tuple          ruleset.Tuple // all of it, in sets of several parts
	Age            time.Duration
	Left           time.Duration // 0: it stays for good
	Packets, Bytes uint64        // of sets that count
	Comment        string
}

// AddElements adds elements to a dynamic set, or gives those that are there their new time, and returns how many are new. Packets meet the
// new elements at once. Returns ErrNotLoaded, ErrNoSet, ErrNotDynamic, ErrSetFull.
func (d *Dataplane) AddElements(ctx context.Context, set string, list []NewElement) (added int, err error) {
	err = d.changeSet(ctx, set, func(l *liveMaps) error {
		if added, err = l.put(list); err != nil {
			return err
		}
		return d.comment(l, list)
	})
	return added, err
}

// DeleteElements takes elements out of a dynamic set and returns how many were there. It returns what AddElements does.
func (d *Dataplane) DeleteElements(ctx context.Context, set string, list []ruleset.Tuple) (removed int, err error) {
	err = d.changeSet(ctx, set, func(l *liveMaps) error {
		removed, err = l.remove(list)
		return err
	})
	return removed, err
}

// FlushSet takes all elements out of a dynamic set. It returns what AddElements does.
func (d *Dataplane) FlushSet(ctx context.Context, set string) (removed int, err error) {
	err = d.changeSet(ctx, set, func(l *liveMaps) error {
		var all []ruleset.Tuple
		err := eachElement(l.elements, func(k []byte, _ translator.Element) error {
			all = append(all, l.tuple(k))
			return nil
		})
		if err == nil {
			removed, err = l.remove(all)
		}
		return err
	})
	return removed, err
}

// changeSet runs fn on the maps of a dynamic set, as the only one that changes something.
func (d *Dataplane) changeSet(ctx context.Context, set string, fn func(*liveMaps) error) error {
	return d.change(ctx, func() error {
		return d.withSet(set, func(l *liveMaps) error {
			if l.elements == nil {
				return ErrNotDynamic
			}
			return fn(l)
		})
	})
}

// withSet opens the maps of a set of the generation in force.
func (d *Dataplane) withSet(set string, fn func(*liveMaps) error) error {
	n, err := d.liveNumber()
	if err != nil {
		return err
	}
	rs, err := d.at.readRuleset(n)
	if err != nil {
		return err
	}
	s := rs.Set(set)
	if s == nil {
		return fmt.Errorf("set %q: %w", set, ErrNoSet)
	}
	if s.Live == nil {
		return fmt.Errorf("set %q: %w", set, ErrNotDynamic)
	}
	l, err := d.openLive(s)
	if err == nil {
		defer l.close()
		err = fn(l)
	}
	if err != nil {
		return fmt.Errorf("set %q: %w", set, errKernel(err))
	}
	return nil
}

func (d *Dataplane) openLive(s *ruleset.Set) (l *liveMaps, err error) {
	l = &liveMaps{set: s}
	if l.table, err = ebpf.LoadPinnedMap(d.at.setPin(s.Name, tableMap), nil); err != nil {
		return nil, err
	}
	if s.Live.Dynamic {
		if l.elements, err = ebpf.LoadPinnedMap(d.at.setPin(s.Name, elementsMap), nil); err != nil {
			l.close()
			return nil, err
		}
	}
	return l, nil
}

func (l *liveMaps) close() {
	_ = l.table.Close()
	if l.elements != nil {
		_ = l.elements.Close()
	}
}

// Elements lists what was added to a set at run time and is not over, in order. It returns what AddElements does.
func (d *Dataplane) Elements(set string) ([]Element, error) {
	var all []Element
	err := d.look(func() error {
		return d.withSet(set, func(l *liveMaps) error {
			if l.elements == nil {
				return nil
			}
			now := monotonic()
			return eachElement(l.elements, func(k []byte, e translator.Element) error {
				if !over(e, now) {
					all = append(all, elementOf(l.tuple(k), e, now))
				}
				return nil
			})
		})
	})
	slices.SortFunc(all, compareElements)
	said, commentErr := d.at.readComments(set)
	for i := range all {
		all[i].Comment = said.of(all[i].Tuple)
	}
	return all, errors.Join(err, commentErr)
}

func compareElements(a, b Element) int {
	x, y := a.Tuple, b.Tuple
	return cmp.Or(x.First.Compare(y.First), x.Net.Compare(y.Net), cmp.Compare(x.Proto, y.Proto), cmp.Compare(x.Port, y.Port),
		cmp.Compare(x.Mark, y.Mark), cmp.Compare(x.MAC, y.MAC), cmp.Compare(x.Iface, y.Iface))
}

func elementOf(t ruleset.Tuple, e translator.Element, now uint64) Element {
	out := Element{Prefix: t.Net, Tuple: t, Age: time.Duration(now - min(e.Added, now)), Packets: e.Packets, Bytes: e.Bytes}
	if e.Expires != 0 {
		out.Left = time.Duration(e.Expires - now)
	}
	return out
}

// Where an address was found in a set.
const (
	InMembers  = "members"  // what the rules list
	InFeed     = "feed"     // the feed's list
	InElements = "elements" // what was added at run time
)

// FindElement says where in a set a packet's address or, in a set of several parts, element is, "" for nowhere, and what holds it: the member,
// or the element that was added at run time, the one with the longest prefix. Returns ErrNotLoaded or ErrNoSet.
func (d *Dataplane) FindElement(set string, a ruleset.Tuple) (where string, found ruleset.Tuple, err error) {
	_, rs, err := d.Live()
	if err != nil {
		return "", found, err
	}
	s := rs.Set(set)
	if s == nil {
		return "", found, fmt.Errorf("set %q: %w", set, ErrNoSet)
	}
	if p, ok := memberOf(s, a); ok {
		return InMembers, p, nil
	}
	if s.Live == nil {
		return "", found, nil
	}
	err = d.look(func() error {
		return d.withSet(set, func(l *liveMaps) error {
			where, found, err = l.find(a)
			return err
		})
	})
	return where, found, err
}

// memberOf is the first member that has an address or element, if it can be told as one.
func memberOf(s *ruleset.Set, a ruleset.Tuple) (ruleset.Tuple, bool) {
	if len(s.Parts) > 0 {
		return s.Member(a)
	}
	for _, m := range s.Members {
		if m.Contains(a.Net.Addr()) {
			p, _ := m.Prefix()
			return ruleset.Tuple{Net: p}, true
		}
	}
	return ruleset.Tuple{}, false
}

// find looks an address up in the maps.
func (l *liveMaps) find(a ruleset.Tuple) (where string, found ruleset.Tuple, err error) {
	if l.elements != nil && a.Within(func(t ruleset.Tuple) bool { found = t; return l.has(t) }) {
		return InElements, found, nil
	}
	err = l.withTable(func(t *settable.Table) error {
		e, levels, second := translator.Entry(l.set.Parts, a, settable.Forever)
		if l.set.Live.Feed != nil && t.Lookup(rootOf(translator.RootFeed4, second), e.Key[:levels]) != settable.Out {
			where = InFeed
		}
		return nil
	})
	return where, ruleset.Tuple{}, err
}

// RefreshSet makes a list all that the feed of a set holds, in one moment, and remembers it for the next boot. Returns ErrNotLoaded,
// ErrNoSet, ErrNoFeed, ErrSetFull.
func (d *Dataplane) RefreshSet(ctx context.Context, set string, list []netip.Prefix) error {
	return d.change(ctx, func() error {
		return d.withSet(set, func(l *liveMaps) error {
			if l.set.Live.Feed == nil {
				return ErrNoFeed
			}
			if err := l.replaceFeed(list); err != nil {
				return err
			}
			return d.at.writeFeed(set, list)
		})
	})
}

// Feed is the list that a set's feed had last, and since when. Returns os.ErrNotExist if there never was one.
func (d *Dataplane) Feed(set string) (list []netip.Prefix, since time.Time, err error) {
	info, err := os.Stat(d.at.feedFile(set))
	if err != nil {
		return nil, since, err
	}
	list, err = d.at.readFeed(set)
	return list, info.ModTime(), err
}
