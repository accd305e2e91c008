package policies_test

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/bpfwall/bpfwall/policies"
	"github.com/bpfwall/bpfwall/ruleset"
	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite testdata")

// options are those of every test: a day that does not move, and no files but one list.
func options() policies.Options {
	return policies.Options{
		Now: time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC),
		ReadFile: func(path string) ([]byte, error) {
			if path == "lists/bad.txt" {
				return []byte("10.0.0.0/8 # private\n\n; nothing\n  bogus\n2001:db8::/32\n10.1.2.3/16\n"), nil
			}
			if path == "lists/good.txt" {
				return []byte("# ours\n10.0.0.0/8\n2001:db8::/32 ; documentation\n192.0.2.1-192.0.2.9\n"), nil
			}
			return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
		},
	}
}

// TestBroken parses the files of testdata/broken.txt. Behind each stand the lines that must be said of it.
func TestBroken(t *testing.T) {
	const file = "testdata/broken.txt"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	cases := strings.Split(strings.TrimSuffix(string(text), "---\n"), "---\n")
	for _, c := range cases {
		src, _, _ := strings.Cut(c, "=> ")
		_, err := policies.Parse("p.toml", []byte(src), options())
		var list ruleset.ErrorList
		if !errors.As(err, &list) {
			t.Errorf("no error in:\n%s", src)
		}
		fmt.Fprintf(&out, "%s%s---\n", src, saidOf(list))
	}
	if len(cases) < 30 {
		t.Errorf("only %d files", len(cases))
	}
	golden(t, file, out.String())
}

// saidOf writes errors as file:line:col+length message, hint and help.
func saidOf(list ruleset.ErrorList) string {
	var b strings.Builder
	for _, e := range list {
		fmt.Fprintf(&b, "=> %s+%d %s", e.Pos, e.Pos.Len, e.Msg)
		if e.Hint != "" {
			fmt.Fprintf(&b, " (%s)", e.Hint)
		}
		if e.Help != "" {
			fmt.Fprintf(&b, " [%s]", e.Help)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// golden compares with a file, or writes it with -update.
func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", file, diff)
	}
}

// TestListing compares the rulesets that policies become with testdata/*.rules.
func TestListing(t *testing.T) {
	files, err := fs.Glob(os.DirFS("testdata"), "*.toml")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		t.Run(file, func(t *testing.T) {
			src, err := os.ReadFile("testdata/" + file)
			if err != nil {
				t.Fatal(err)
			}
			p, err := policies.Parse(file, src, options())
			if err != nil {
				t.Fatal(err)
			}
			got := p.Ruleset.String() + "warnings:\n" + saidOf(p.Warnings)
			golden(t, "testdata/"+strings.TrimSuffix(file, "toml")+"rules", got)
			for _, r := range p.RunTests(nil) {
				if r.Problem != nil {
					t.Errorf("%v\n%s", r.Problem, r.Problem.Help)
				}
			}
		})
	}
}
