package translator

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"github.com/bpfwall/bpfwall/migrate/iptables"
	"github.com/bpfwall/bpfwall/policies"
	"github.com/bpfwall/bpfwall/ruleset"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestGolden translates the rules of testdata/*.txtar, and compares the plan and the listing with what is there.
func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden files (%v)", err)
	}
	for _, path := range files {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar"), func(t *testing.T) {
			ar, err := txtar.ParseFile(path)
			if err != nil {
				t.Fatal(err)
			}
			got := golden(t, ar)
			if *update {
				if err := os.WriteFile(path, txtar.Format(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(string(txtar.Format(ar)), string(txtar.Format(got))); diff != "" && !*update {
				t.Errorf("-want +got (write with -update):\n%s", diff)
			}
		})
	}
}

// golden is an archive with the same rules and what they become now. Listings leave out functions without rules.
func golden(t *testing.T, ar *txtar.Archive) *txtar.Archive {
	t.Helper()
	out := &txtar.Archive{Comment: ar.Comment}
	var sources []iptables.Source
	engine := EngineAuto
	for _, f := range ar.Files {
		if f.Name == "engine" {
			var err error
			if engine, err = ParseEngine(strings.TrimSpace(string(f.Data))); err != nil {
				t.Fatal(err)
			}
			out.Files = append(out.Files, f)
		}
		if f.Name == "policy.toml" {
			out.Files = append(out.Files, f)
			p, err := policies.Parse(f.Name, f.Data, policies.Options{})
			if err != nil {
				t.Fatal(err)
			}
			return translated(t, out, p.Ruleset, engine)
		}
		if family, ok := map[string]ruleset.Family{"rules.v4": ruleset.FamilyIPv4, "rules.v6": ruleset.FamilyIPv6}[f.Name]; ok {
			sources = append(sources, iptables.Source{Name: f.Name, Text: f.Data, Family: family})
			out.Files = append(out.Files, f)
		}
	}
	rs, _, err := iptables.Import(sources, iptables.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return translated(t, out, rs, engine)
}

// translated adds the plan and the listing of a ruleset to an archive.
func translated(t *testing.T, out *txtar.Archive, rs *ruleset.Ruleset, engine Engine) *txtar.Archive {
	t.Helper()
	o, err := Options{Engine: engine}.Translate(rs, Slots{})
	if err != nil {
		t.Fatal(err)
	}
	listing := ""
	for _, fn := range strings.SplitAfter(o.Listing(), "\n\n") {
		if strings.Contains(fn, "; rules.v") || strings.Contains(fn, "; policy.toml") {
			listing += fn
		}
	}
	out.Files = append(out.Files,
		txtar.File{Name: "plan", Data: []byte(o.Plan())},
		txtar.File{Name: "listing", Data: []byte(strings.TrimRight(listing, "\n") + "\n")})
	return out
}
