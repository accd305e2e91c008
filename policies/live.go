package policies

import (
	"bytes"
	"fmt"
	"strings"
	"time"

	"github.com/bpfwall/bpfwall/ruleset"
)

// live reads what of a set changes at run time; nil if nothing does.
func (p *parser) live(t table, name string) *ruleset.Live {
	l := &ruleset.Live{
		Dynamic: t.truth("dynamic"), Counters: t.truth("counters"), Max: p.bounded(t, "max", 1, ruleset.MaxElements),
		Feed: p.feed(t),
	}
	if v, ok := t.text("timeout"); ok {
		l.Timeout, _ = p.seconds(v)
	}
	for _, key := range []string{"timeout", "counters"} {
		if t.has(key) && !l.Dynamic {
			p.fail(t.keyPos(key), "set %q: %s: only dynamic sets have one", name, key).Help = "add dynamic = true"
		}
	}
	if !l.Dynamic && l.Feed == nil {
		if t.has("max") {
			p.fail(t.keyPos("max"), "set %q: max: this set is as large as it needs to be", name)
		}
		return nil
	}
	return l
}

// feed reads where the list comes from that is fetched when somebody asks; nil if there is none, or the file is read with the policy.
func (p *parser) feed(t table) *ruleset.Feed {
	url, hasURL := t.text("url")
	file, hasFile := t.text("file")
	refresh, hasRefresh := t.text("refresh")
	onError, hasOnError := t.text("on_error")
	if !hasURL && !hasRefresh {
		if hasOnError {
			p.fail(t.keyPos("on_error"), "on_error: belongs to url, or to file with refresh")
		}
		return nil
	}
	f := &ruleset.Feed{URL: url.s, Empty: onError.s == "empty"}
	switch {
	case hasURL && hasFile:
		p.fail(t.keyPos("file"), "a set has either a file or a url")
	case hasFile:
		f.File = p.besides(file.s)
	case t.has("country"):
		database, _ := t.text("database")
		f.File = p.besides(database.s)
		f.Country, _ = codesOf(t)
	case hasURL && !strings.HasPrefix(url.s, "https://") && !strings.HasPrefix(url.s, "http://"):
		p.fail(url.pos, "url %q: not an http or https address", url.s)
	case !hasURL:
		p.fail(t.keyPos("refresh"), "refresh: belongs to url, file or country")
	}
	if hasRefresh {
		f.Refresh, _ = p.seconds(refresh)
	}
	if hasOnError && onError.s != "keep" && onError.s != "empty" {
		p.unknown(onError, "word", onError.s, []string{"keep", "empty"})
	}
	return f
}

// readBan reads ban: the sender is put into a set, and its time begins anew with each packet.
func (b *builder) readBan() {
	if v, ok := b.t.text("ban"); ok {
		if c := b.p.ban(v, v.s); c != nil {
			b.statements = append(b.statements, ruleset.Statement{Change: c})
		}
	}
	for _, v := range b.t.texts("change") {
		if c := b.p.change(v); c != nil {
			b.statements = append(b.statements, ruleset.Statement{Change: c})
		}
	}
}

// ban reads "@set" or "1h in @set".
func (p *parser) ban(v text, s string) *ruleset.SetChange {
	c := &ruleset.SetChange{Field: ruleset.FieldSrcAddr, Renew: true}
	name := s
	if long, set, ok := strings.Cut(s, " in "); ok {
		n, good := p.seconds(text{strings.TrimSpace(long), v.pos})
		if !good {
			return nil
		}
		c.Timeout, name = int64(n), strings.TrimSpace(set)
	}
	return p.changed(v, c, name)
}

// changed is a change with its set, which must be dynamic.
func (p *parser) changed(v text, c *ruleset.SetChange, name string) *ruleset.SetChange {
	set, ok := strings.CutPrefix(name, "@")
	if !ok {
		p.fail(v.pos, "%q: names no set", v.s).Help = `write it as in ban = "1h in @banned"`
		return nil
	}
	s := p.useSet(v, set)
	if s == nil {
		return nil
	}
	if s.Live == nil || !s.Live.Dynamic {
		p.fail(v.pos, "set %q: rules cannot change it", set).Help = "declare it with dynamic = true"
		return nil
	}
	c.Set = set
	if len(s.Parts) > 0 && c.Field != ruleset.FieldElement {
		c.Field, c.Parts = ruleset.FieldElement, ruleset.FieldsOf(s.Parts)
	}
	return c
}

// changeVerbs are the first and third words of change.
var changeVerbs = map[string]string{"add": "to", "renew": "in", "delete": "from"}

// change reads "add source to @set for 1h", "renew destination in @set" or "delete source from @set".
func (p *parser) change(v text) *ruleset.SetChange {
	if c := p.changeParts(v); c != nil {
		return p.changed(v, c, "@"+c.Set)
	}
	words := strings.Fields(v.s)
	sides := map[string]ruleset.FieldID{"source": ruleset.FieldSrcAddr, "destination": ruleset.FieldDstAddr}
	if len(words) < 4 || changeVerbs[words[0]] != words[2] || sides[words[1]] == 0 || len(words) != 4 && (len(words) != 6 || words[4] != "for") {
		p.fail(v.pos, "%q: not a change of a set", v.s).Help = `write it as in change = "add source to @seen for 1h", "renew source in @seen" or "delete source from @seen"`
		return nil
	}
	c := &ruleset.SetChange{Field: sides[words[1]], Delete: words[0] == "delete", Renew: words[0] == "renew"}
	if len(words) == 6 && words[5] == "good" {
		c.Timeout = -1
	} else if len(words) == 6 {
		n, ok := p.seconds(text{words[5], v.pos})
		if !ok {
			return nil
		}
		c.Timeout = int64(n)
	}
	return p.changed(v, c, words[3])
}

// changeText is a change as its author would write it.
func changeText(c *ruleset.SetChange) string {
	verb, side := "add", "source"
	switch {
	case c.Delete:
		verb = "delete"
	case c.Renew:
		verb = "renew"
	}
	switch c.Field {
	case ruleset.FieldDstAddr:
		side = "destination"
	case ruleset.FieldElement:
		side = ruleset.FieldsText(c.Parts)
	}
	s := fmt.Sprintf("%s %s %s @%s", verb, side, changeVerbs[verb], c.Set)
	switch {
	case c.Timeout > 0:
		s += " for " + secondsText(uint32(c.Timeout))
	case c.Timeout < 0:
		s += " for good"
	}
	return s
}

func secondsText(s uint32) string { return (time.Duration(s) * time.Second).String() }

func quoteAll(words []string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = quote(w)
	}
	return strings.Join(quoted, ", ")
}

// writeLive writes a set that changes at run time as a table.
func writeLive(b *bytes.Buffer, s *ruleset.Set) {
	var parts []string
	add := func(format string, args ...any) { parts = append(parts, fmt.Sprintf(format, args...)) }
	l := s.Live
	if l == nil {
		l = &ruleset.Live{}
	}
	if len(s.Parts) > 0 {
		add("parts = [%s]", partsText(s.Parts))
	}
	if l.Dynamic {
		add("dynamic = true")
	}
	if f := l.Feed; f != nil {
		switch {
		case f.URL != "":
			add("url = %s", quote(f.URL))
		case f.Country != nil:
			add("country = [%s], database = %s", quoteAll(f.Country), quote(f.File))
		default:
			add("file = %s", quote(f.File))
		}
		if f.Refresh != 0 || f.File != "" {
			add("refresh = %s", quote(secondsText(max(f.Refresh, 1))))
		}
		if f.Empty {
			add(`on_error = "empty"`)
		}
	}
	if l.Max != 0 {
		add("max = %d", l.Max)
	}
	if l.Timeout != 0 {
		add("timeout = %s", quote(secondsText(l.Timeout)))
	}
	if l.Counters {
		add("counters = true")
	}
	var members []string
	for _, m := range s.Members {
		members = append(members, quote(addrText(m)))
	}
	for _, t := range s.Tuples {
		members = append(members, quote(t.Text(s.Parts)))
	}
	if members != nil {
		add("members = [%s]", strings.Join(members, ", "))
	}
	fmt.Fprintf(b, "%s = { %s }\n", key(s.Name), strings.Join(parts, ", "))
}
