package policies_test

import (
	"flag"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bpfwall/bpfwall/migrate/iptables"
	"github.com/bpfwall/bpfwall/policies"
	"github.com/bpfwall/bpfwall/ruleset"
)

var corpus = flag.String("corpus", "", "directory with iptables/ and ip6tables/ files to import, write and compare")

func source(t *testing.T, name string, f ruleset.Family) iptables.Source {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return iptables.Source{Name: filepath.Base(name), Text: text, Family: f}
}

// TestWriteImported compares the policy written of two imported files with testdata/rules.written.
func TestWriteImported(t *testing.T) {
	rs, _, err := iptables.Import([]iptables.Source{
		source(t, "testdata/rules.v4", ruleset.FamilyIPv4), source(t, "testdata/rules.v6", ruleset.FamilyIPv6),
	}, iptables.Options{})
	if err != nil {
		t.Fatal(err)
	}
	written, err := policies.Write(rs, "imported from rules.v4 and rules.v6")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "testdata/rules.written", string(written))
	compare(t, dice{rand.New(rand.NewPCG(1, 2))}, rs, mustParse(t, "written.toml", written), string(written))
}

// TestWriteImportedLines writes every kind of rule that the importer accepts, one at a time.
func TestWriteImportedLines(t *testing.T) {
	text, err := os.ReadFile("../migrate/iptables/testdata/accepted.golden")
	if err != nil {
		t.Fatal(err)
	}
	tried, refused := 0, 0
	for rule := range strings.Lines(string(text)) {
		if !strings.HasPrefix(rule, "-A ") {
			continue
		}
		for _, f := range []ruleset.Family{ruleset.FamilyIPv4, ruleset.FamilyIPv6} {
			lines := iptables.Source{Name: "rules", Text: []byte("*filter\n" + rule + "COMMIT\n"), Family: f}
			rs, _, err := iptables.Import([]iptables.Source{lines}, iptables.Options{})
			if err != nil {
				continue
			}
			tried++
			if !roundTrip(t, rs, rule) {
				refused++
			}
		}
	}
	t.Logf("%d rules, %d cannot be written", tried, refused)
	if tried < 100 || refused*20 > tried {
		t.Errorf("%d rules, %d cannot be written", tried, refused)
	}
}

// TestCorpus imports and writes every file of a directory.
func TestCorpus(t *testing.T) {
	if *corpus == "" {
		t.Skip("no -corpus DIR")
	}
	tried, refused := 0, 0
	for sub, f := range map[string]ruleset.Family{"iptables": ruleset.FamilyIPv4, "ip6tables": ruleset.FamilyIPv6} {
		files, _ := filepath.Glob(filepath.Join(*corpus, sub, "*"))
		for _, path := range files {
			rs, _, err := iptables.Import([]iptables.Source{source(t, path, f)}, iptables.Options{})
			if err != nil || rs.Check() != nil {
				continue
			}
			tried++
			if !roundTrip(t, rs, path) {
				refused++
			}
		}
	}
	t.Logf("%d files, %d cannot be written", tried, refused)
}

// roundTrip writes a ruleset and compares; it is false if the language cannot say it.
func roundTrip(t *testing.T, rs *ruleset.Ruleset, about string) bool {
	t.Helper()
	written, err := policies.Write(rs, "")
	if err != nil {
		t.Logf("%s: %v", strings.TrimSpace(about), err)
		if strings.Contains(err.Error(), "read back") {
			t.Fail()
		}
		return false
	}
	compare(t, dice{rand.New(rand.NewPCG(1, 2))}, rs, mustParse(t, "written.toml", written), about+string(written))
	return true
}
