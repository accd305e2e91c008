package iptables

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/bpfwall/bpfwall/ruleset"
)

// FuzzImport: no input panics or takes long, an error comes without a ruleset, and what is imported passes Check.
func FuzzImport(f *testing.F) {
	seeds, _ := filepath.Glob("testdata/corpus/*/*.save")
	for _, path := range seeds {
		text, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text, []byte{})
	}
	for _, text := range append(refusedFiles, acceptedLines...) {
		f.Add([]byte(fileOf(text)), []byte("create bad hash:net family inet\nadd bad 10.0.0.0/8\n"))
	}
	f.Fuzz(func(t *testing.T, text, sets []byte) {
		start := time.Now()
		rs, report, err := Import([]Source{{Name: "f", Text: text}}, Options{IPSets: []Source{{Name: "s", Text: sets}}})
		if d := time.Since(start); d > time.Second {
			t.Errorf("took %v", d)
		}
		switch {
		case err != nil && (rs != nil || report != nil):
			t.Error("an error and a ruleset")
		case err != nil:
			if list, ok := err.(ruleset.ErrorList); !ok || len(list) == 0 {
				t.Errorf("error of type %T", err)
			}
			return
		case report.Summary.Exact+report.Summary.Rewritten+report.Summary.NotDone > len(report.Rules):
			t.Error("the counts are more than the rules")
		}
		_ = report.Text()
		if err := rs.Check(); err != nil {
			t.Error(err)
		}
	})
}
