package iptables

import (
	"os"
	"strings"
	"testing"

	"github.com/bpfwall/bpfwall/ruleset"
)

// TestDocs keeps the lists of docs/iptables.md as the tables are.
func TestDocs(t *testing.T) {
	const path, marker = "../../docs/iptables.md", "-update -->\n"
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	head, _, found := strings.Cut(string(text), marker)
	if !found {
		t.Fatalf("%s: no marker", path)
	}
	var b strings.Builder
	b.WriteString(head + marker)
	b.WriteString("\n## Matches\n\n| match | imported | not imported |\n|---|---|---|\n")
	writeRows(&b, matches)
	b.WriteString("\n## Targets\n\nACCEPT, DROP, RETURN, user chains, `-g` and rules without a target are imported.\n\n| target | options |\n|---|---|\n")
	for _, e := range targets {
		b.WriteString("| `" + e.name + "` | " + options(e.options) + " |\n")
	}
	b.WriteString("\n## Read, but not imported\n\n| extension | why |\n|---|---|\n")
	for _, e := range append(knownMatches[:len(knownMatches):len(knownMatches)], knownTargets...) {
		b.WriteString("| `" + e.name + "`" + only(e.family) + " | " + e.why + " |\n")
	}
	golden(t, path, b.String())
}

// byExtension are the extensions that import their options together, but for those left.
var (
	byExtension = map[string]bool{"hashlimit": true, "statistic": true, "quota": true, "recent": true, "connlimit": true}
	left        = map[string]bool{"hashlimit-rate-match": true, "hashlimit-rate-interval": true}
)

func writeRows(b *strings.Builder, table []extension) {
	for _, e := range table {
		var done, not []option
		for _, o := range e.options {
			byModule := map[string]bool{"limit": true, "limit-burst": true, "match-set": true, "add-set": true, "del-set": true, "exist": true, "timeout": true, "ctproto": true, "path": true, "rt-type": true}
			if o.lower != nil || byExtension[e.name] && !left[o.name()] || e.lower != nil && byModule[o.name()] {
				done = append(done, o)
			} else {
				not = append(not, o)
			}
		}
		b.WriteString("| `" + strings.ReplaceAll(e.name, "|", "`, `") + "`" + only(e.family) + " | " + options(done) + " | " + options(not) + " |\n")
	}
}

func options(list []option) string {
	var names []string
	for _, o := range list {
		names = append(names, "`--"+strings.ReplaceAll(o.names, "|", "` `--")+"`")
	}
	return join(names)
}

func only(f ruleset.Family) string {
	if f == ruleset.FamilyAny {
		return ""
	}
	return " (" + f.String() + ")"
}
