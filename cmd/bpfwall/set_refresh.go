package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/bpfwall/bpfwall/countries"
	"github.com/bpfwall/bpfwall/dataplane"
	"github.com/bpfwall/bpfwall/ruleset"
)

// What is fetched may take so long, and be so large.
const (
	fetchTime  = 60 * time.Second
	fetchBytes = 256 << 20
)

// refreshed is what became of one set.
type refreshed struct {
	Set     string `json:"set"`
	Entries int    `json:"entries"`
	Added   int    `json:"added"`   // prefixes that the list before did not have
	Removed int    `json:"removed"` // and those that it had
	Kept    bool   `json:"kept"`    // it could not be fetched, and the last list stays
	Error   string `json:"error,omitempty"`
}

func (a *app) setRefresh() *cobra.Command {
	return &cobra.Command{
		Use:   "refresh [NAME]...",
		Short: "Fetch the lists of sets with a url or file; without names, those that are older than their refresh says",
		Long: `Fetch the lists of sets with a url or file; without names, those that are older than their refresh says.

A list has an address, prefix or range a line; # and ; begin comments. A list with anything else in it is refused as a whole. What cannot be
fetched or read leaves the last list in place, unless the set says on_error = "empty". At boot the last list is loaded, and nothing fetched.`,
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return a.setNames(), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, names []string) error {
			fw, err := a.firewall()
			if err != nil {
				return err
			}
			sets, err := fw.Sets()
			if err != nil {
				return err
			}
			due, err := dueSets(fw, sets, names)
			if err != nil {
				return err
			}
			return a.refreshSets(cmd.Context(), fw, due)
		},
	}
}

// dueSets are the sets named, or all whose list is too old.
func dueSets(fw *dataplane.Dataplane, sets []*ruleset.Set, names []string) (due []*ruleset.Set, err error) {
	for _, name := range names {
		i := slices.IndexFunc(sets, func(s *ruleset.Set) bool { return s.Name == name })
		if i < 0 {
			return nil, setError(name, fmt.Errorf("set %q: %w", name, dataplane.ErrNoSet))
		}
		if sets[i].Live == nil || sets[i].Live.Feed == nil {
			return nil, setError(name, fmt.Errorf("set %q: %w", name, dataplane.ErrNoFeed))
		}
		due = append(due, sets[i])
	}
	for _, s := range sets {
		if len(names) > 0 || s.Live == nil || s.Live.Feed == nil {
			continue
		}
		_, since, err := fw.Feed(s.Name)
		if old := time.Duration(s.Live.Feed.Refresh) * time.Second; err != nil || time.Since(since) >= old {
			due = append(due, s)
		}
	}
	return due, nil
}

// refreshSets fetches list after list. One that fails does not keep the others from being fetched.
func (a *app) refreshSets(ctx context.Context, fw *dataplane.Dataplane, due []*ruleset.Set) error {
	all := []refreshed{}
	var failed error
	for _, s := range due {
		r, err := a.refreshSet(ctx, fw, s)
		if err != nil {
			r.Error = err.Error()
			if failed == nil {
				failed = setError(s.Name, err)
			} else {
				a.warn("%s", err)
			}
		}
		all = append(all, r)
	}
	err := a.emit(struct {
		schema
		Sets []refreshed `json:"sets"`
	}{schemaOf("set-refresh"), all}, func() {
		for _, r := range all {
			if r.Error == "" {
				a.printf("@%s: %s, %s new, %s gone\n", escape(r.Set), count(r.Entries, "network"), grouped(uint64(r.Added)), grouped(uint64(r.Removed)))
			}
		}
		if len(all) == 0 {
			a.printf("nothing is due\n")
		}
	})
	if failed != nil {
		return failed
	}
	return err
}

func (a *app) refreshSet(ctx context.Context, fw *dataplane.Dataplane, s *ruleset.Set) (refreshed, error) {
	r := refreshed{Set: s.Name}
	before, _, _ := fw.Feed(s.Name)
	list, err := a.fetch(ctx, s)
	if err != nil && !s.Live.Feed.Empty {
		r.Kept, r.Entries = true, len(before)
		a.warn("set %q: its last list stays (%s)", s.Name, count(len(before), "network"))
		return r, fmt.Errorf("set %q: %w", s.Name, err)
	}
	slices.SortFunc(list, netip.Prefix.Compare)
	list = slices.Compact(list)
	r.Entries = len(list)
	r.Added, r.Removed = differences(before, list)
	if putErr := fw.RefreshSet(ctx, s.Name, list); putErr != nil {
		return r, putErr
	}
	return r, err
}

// differences counts what only one of two lists has.
func differences(before, after []netip.Prefix) (added, removed int) {
	was := make(map[netip.Prefix]bool, len(before))
	for _, p := range before {
		was[p] = true
	}
	for _, p := range after {
		if was[p] {
			delete(was, p)
		} else {
			added++
		}
	}
	return added, len(was)
}

// fetch reads the list of a set's feed.
func (a *app) fetch(ctx context.Context, s *ruleset.Set) ([]netip.Prefix, error) {
	f := s.Live.Feed
	name := f.URL + f.File
	if a.terminal[2] && !a.quiet {
		fmt.Fprintf(a.stderr, "fetching %s …\n", escape(name))
	}
	text, err := readFeed(ctx, f)
	if err != nil {
		return nil, err
	}
	if len(f.Country) > 0 {
		return networksOf(f, text)
	}
	list, err := parseElements(name, text)
	if err != nil {
		a.sources = map[string][]byte{name: text}
	}
	return list, err
}

// networksOf are the networks of a feed's countries. One that the database does not know is an error, not an empty list.
func networksOf(f *ruleset.Feed, database []byte) ([]netip.Prefix, error) {
	list, unknown, err := countries.Networks(database, f.Country)
	if err != nil {
		return nil, fmt.Errorf("database %q: %w", f.File, err)
	}
	if len(unknown) > 0 {
		return nil, fmt.Errorf("database %q: has no networks of %q", f.File, unknown)
	}
	return list, nil
}

func readFeed(ctx context.Context, f *ruleset.Feed) ([]byte, error) {
	if f.URL == "" {
		return os.ReadFile(f.File)
	}
	ctx, cancel := context.WithTimeout(ctx, fetchTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, f.URL, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", "bpfwall")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: the server says %s", f.URL, res.Status)
	}
	text, err := io.ReadAll(io.LimitReader(res.Body, fetchBytes+1))
	if len(text) > fetchBytes {
		return nil, fmt.Errorf("%s: larger than %d MiB", f.URL, fetchBytes>>20)
	}
	return text, err
}
