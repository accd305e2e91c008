package policies_test

import (
	"io/fs"
	"testing"

	"github.com/bpfwall/bpfwall/policies"
)

func TestExamples(t *testing.T) {
	names, err := fs.Glob(policies.Examples, "examples/*.toml")
	if err != nil || len(names) < 3 {
		t.Fatalf("examples: %v %v", names, err)
	}
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			src, _ := policies.Examples.ReadFile(name)
			p, err := policies.Parse(name, src, policies.Options{})
			if err != nil {
				t.Fatal(err)
			}
			for _, w := range p.Warnings {
				t.Errorf("warning: %v", w)
			}
			results := p.RunTests(nil)
			for _, r := range results {
				if r.Problem != nil {
					t.Errorf("%v\n%s", r.Problem, r.Problem.Help)
				}
			}
			if len(results) < 10 {
				t.Errorf("only %d expectations", len(results))
			}
		})
	}
}
