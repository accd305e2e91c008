package arch

import (
	"go/ast"
	"os"
	"regexp"
	"testing"
)

// TestDocsNameTests: a test that docs/semantics.md names as the one that holds a difference in place is there.
func TestDocsNameTests(t *testing.T) {
	have := map[string]bool{}
	for _, f := range goFiles(t) {
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok {
				have[fn.Name.Name] = true
			}
		}
	}
	text, err := os.ReadFile("../../docs/semantics.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range regexp.MustCompile("`(Test\\w+)`").FindAllSubmatch(text, -1) {
		if !have[string(name[1])] {
			t.Errorf("docs/semantics.md: no test %s", name[1])
		}
	}
}
