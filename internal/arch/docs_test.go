package arch

import (
	"go/ast"
	"os"
	"regexp"
	"testing"
)

// TestDocsNameTests: the tests that tables of the documentation name as those that hold their rows in place are there.
func TestDocsNameTests(t *testing.T) {
	have := map[string]bool{}
	for _, f := range goFiles(t) {
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok {
				have[fn.Name.Name] = true
			}
		}
	}
	for _, file := range []string{"semantics.md", "failures.md"} {
		text, err := os.ReadFile("../../docs/" + file)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range regexp.MustCompile("`(Test\\w+)[`/]").FindAllSubmatch(text, -1) {
			if !have[string(name[1])] {
				t.Errorf("docs/%s: no test %s", file, name[1])
			}
		}
	}
}
