package policies

import (
	"strings"

	"github.com/bpfwall/bpfwall/countries"
	"github.com/bpfwall/bpfwall/ruleset"
)

// countries are the networks of a set's countries; nil if they are read later, by refresh.
func (p *parser) countries(t table, name string) (out []ruleset.AddrRange) {
	path, ok := t.text("database")
	codes := p.countryCodes(t)
	for _, key := range []string{"file", "url"} {
		if t.has(key) {
			p.fail(t.keyPos(key), "set %q: either the networks of countries or a %s", name, key).Help = "make two sets, and name both where they are used"
		}
	}
	switch {
	case !t.has("country"):
		p.fail(t.keyPos("database"), "database: belongs to country")
		return nil
	case !ok:
		if !t.has("database") {
			p.fail(t.keyPos("country"), "set %q: country: needs a database", name).Help = `add database = "…/GeoLite2-Country.mmdb", a file that is on this host`
		}
		return nil
	case len(codes) == 0 || t.has("refresh"):
		return nil
	}
	full := p.besides(path.s)
	content, err := p.opts.ReadFile(full)
	if err != nil {
		p.fail(path.pos, "set %q: %v", name, err)
		return nil
	}
	networks, unknown, err := countries.Networks(content, codes)
	if err != nil {
		p.fail(path.pos, "set %q: database %q: %v", name, full, err)
		return nil
	}
	for _, v := range t.texts("country") {
		for _, u := range unknown {
			if strings.EqualFold(v.s, u) {
				p.fail(v.pos, "country %q: the database has no networks of it", v.s).Help = "codes are those of ISO 3166-1, such as DE or KP"
			}
		}
	}
	for _, n := range networks {
		out = append(out, ruleset.Prefix(n))
	}
	return out
}

// countryCodes are the codes of a set's countries; what cannot be one is reported.
func (p *parser) countryCodes(t table) []string {
	codes, bad := codesOf(t)
	for _, v := range bad {
		p.fail(v.pos, "country %q: not two letters", v.s).Help = "codes are those of ISO 3166-1, such as DE or KP"
	}
	if len(codes)+len(bad) == 0 && t.has("country") {
		p.fail(t.keyPos("country"), "country: none is named")
	}
	return codes
}

func codesOf(t table) (codes []string, bad []text) {
	for _, v := range t.texts("country") {
		if code, ok := countries.Code(v.s); ok {
			codes = append(codes, code)
		} else {
			bad = append(bad, v)
		}
	}
	return codes, bad
}
