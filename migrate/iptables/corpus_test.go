package iptables

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bpfwall/bpfwall/ruleset"
)

var corpus = flag.String("corpus", "", "directory with iptables/ and ip6tables/ files and, one level up, their SOURCES.tsv")

// TestCorpus imports every file of a directory and prints what became of them. By default the directory is testdata/corpus; a
// SOURCES.tsv with the columns file and iptables_nft_restore_test tells what the real tools say of each.
func TestCorpus(t *testing.T) {
	dir := *corpus
	if dir == "" {
		dir = "testdata/corpus"
	}
	verdicts := readVerdicts(t, dir)
	count := map[string]int{}
	for _, sub := range []string{"iptables", "ip6tables"} {
		files, err := filepath.Glob(filepath.Join(dir, sub, "*"))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: no files", filepath.Join(dir, sub))
		}
		for _, path := range files {
			name := filepath.Join(sub, filepath.Base(path))
			result, detail := importOne(t, path, sub)
			refused := result == "refused"
			if real, ok := verdicts[name]; ok && refused == (real.verdict == "ok") && real.class != "env:ipset" {
				result = "DISAGREES"
				t.Errorf("%s: the real tool says %s; we say: %s", name, real.verdict, detail)
			}
			count[result]++
			count["all"]++
			t.Logf("%-9s %s %s", result, name, detail)
		}
	}
	t.Logf("%d files: %d in full, %d in part, %d refused as iptables refuses them, %d disagreements",
		count["all"], count["full"], count["part"], count["refused"], count["DISAGREES"])
}

// importOne imports one file and says how it went.
func importOne(t *testing.T, path, sub string) (result, detail string) {
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	family := map[string]ruleset.Family{"iptables": ruleset.FamilyIPv4, "ip6tables": ruleset.FamilyIPv6}[sub]
	rs, report, err := Import([]Source{{Name: filepath.Base(path), Text: text, Family: family}}, Options{})
	if err != nil {
		first, _, _ := strings.Cut(err.Error(), "\n")
		return "refused", first
	}
	if rs == nil || report == nil {
		t.Fatalf("%s: no error and no ruleset", path)
	}
	if total := report.Files[0].Rules; len(report.Rules) != total {
		t.Errorf("%s: %d rules, %d in the report", path, total, len(report.Rules))
	}
	if err := rs.Check(); err != nil {
		t.Errorf("%s: the ruleset: %v", path, err)
	}
	if got := detect(strings.Split(string(text), "\n")); got != family {
		t.Logf("%s: taken for %s", path, got)
	}
	if n := report.Lost(); n > 0 {
		return "part", fmt.Sprintf("%d of %d lost", n, len(report.Rules))
	}
	return "full", fmt.Sprintf("%d rules", len(report.Rules))
}

// realVerdict is what the real tool says of a file, and the class of its reason: env:ipset means that only a set is missing.
type realVerdict struct{ verdict, class string }

// readVerdicts reads what the real tools say of each file.
func readVerdicts(t *testing.T, dir string) map[string]realVerdict {
	for _, path := range []string{filepath.Join(dir, "SOURCES.tsv"), filepath.Join(dir, "..", "SOURCES.tsv")} {
		text, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		out := map[string]realVerdict{}
		lines := strings.Split(strings.TrimSpace(string(text)), "\n")
		column := columns(lines[0])
		for _, line := range lines[1:] {
			cells := append(strings.Split(line, "\t"), make([]string, len(column))...)
			out[cells[0]] = realVerdict{cells[column["iptables_nft_restore_test"]], cells[column["reject_class"]]}
		}
		return out
	}
	t.Logf("%s: no SOURCES.tsv, nothing to compare with", dir)
	return nil
}

// columns is the place of each column of a table by its name.
func columns(header string) map[string]int {
	out := map[string]int{}
	for i, name := range strings.Split(header, "\t") {
		out[name] = i
	}
	return out
}

var conformance = flag.String("conformance", "", "tab-separated file of rules: family, table, chains, rule and whether iptables-nft takes it")

// TestConformance compares what is accepted and refused with what the real tool does, rule by rule.
func TestConformance(t *testing.T) {
	if *conformance == "" {
		t.Skip("no -conformance FILE")
	}
	text, err := os.ReadFile(*conformance)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	column := columns(lines[0])
	count := map[string]int{}
	for _, line := range lines[1:] {
		cells := strings.Split(line, "\t")
		family := map[string]ruleset.Family{"4": ruleset.FamilyIPv4, "6": ruleset.FamilyIPv6}[cells[column["family"]]]
		want := cells[column["local_nft_1.8.9"]]
		if family == ruleset.FamilyAny || want != "OK" && want != "FAIL" {
			continue
		}
		file := "*" + cells[column["table"]] + "\n"
		for _, chain := range strings.Split(cells[column["chains"]], ",") {
			file += "-A " + chain + " " + cells[column["rule"]] + "\n"
		}
		_, report, err := Import([]Source{{Name: "x", Text: []byte(file + "COMMIT\n"), Family: family}}, Options{})
		got := "OK"
		if err != nil {
			got = "FAIL"
		} else {
			count[string(report.Rules[0].Status)]++
		}
		count[want]++
		if got != want {
			count["disagree"]++
			t.Errorf("%s %s: %s; we: %v", cells[0], strings.ReplaceAll(file, "\n", " "), want, err)
		}
	}
	t.Log(count)
}
