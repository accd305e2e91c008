// Package countries finds the networks of countries in a database of the MaxMind DB form, which is in a local file.
package countries

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/oschwald/maxminddb-golang/v2"
)

// fields are where databases have a network's country, as ISO 3166-1 alpha-2: those of MaxMind and DB-IP, of ipinfo, of others.
var fields = [][]any{{"country", "iso_code"}, {"country_code"}, {"country"}}

// Networks reads the networks of some countries, in order. Countries of which the database knows no network are returned as unknown, in the
// order in which they were asked for.
func Networks(database []byte, codes []string) (networks []netip.Prefix, unknown []string, err error) {
	db, err := maxminddb.OpenBytes(database)
	if err != nil {
		return nil, nil, fmt.Errorf("not a MaxMind database: %s", strings.TrimSuffix(err.Error(), "."))
	}
	defer func() { _ = db.Close() }()
	found := map[string]bool{}
	for _, c := range codes {
		found[c] = false
	}
	known := map[uintptr]string{} // by the place of the record, which networks share
	for r := range db.Networks() {
		code, ok := known[r.Offset()]
		if !ok {
			if code, err = country(r); err != nil {
				return nil, nil, fmt.Errorf("damaged: %s", err)
			}
			known[r.Offset()] = code
		}
		if _, wanted := found[code]; wanted {
			found[code] = true
			networks = append(networks, r.Prefix().Masked())
		}
	}
	if len(known) == 0 {
		return nil, nil, fmt.Errorf("has no networks")
	}
	if !slices.ContainsFunc(mapValues(known), func(c string) bool { return c != "" }) {
		return nil, nil, fmt.Errorf("is of type %q, which does not tell countries", db.Metadata.DatabaseType)
	}
	unknown = slices.DeleteFunc(slices.Clone(codes), func(c string) bool { return found[c] })
	slices.SortFunc(networks, netip.Prefix.Compare)
	return slices.Compact(networks), unknown, nil
}

func mapValues(m map[uintptr]string) (out []string) {
	for _, v := range m {
		out = append(out, v)
	}
	return out
}

// country is the country of a record; "" if it has none.
func country(r maxminddb.Result) (code string, err error) {
	if err := r.Err(); err != nil {
		return "", err
	}
	for _, path := range fields {
		if err := r.DecodePath(&code, path...); err == nil && code != "" {
			return strings.ToUpper(code), nil
		}
	}
	var whole any
	return "", r.Decode(&whole) // an error if the record cannot be read at all
}

// Code is a country's code as databases have it; not ok if it cannot be one.
func Code(s string) (code string, ok bool) {
	letter := func(c byte) bool { return 'A' <= c && c <= 'Z' }
	code = strings.ToUpper(s)
	return code, len(code) == 2 && letter(code[0]) && letter(code[1])
}
