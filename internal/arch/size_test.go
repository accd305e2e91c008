package arch

import (
	"go/ast"
	"go/token"
	"testing"
)

// What does not fit on a screen or two is not read. A function that is one flat switch may be longer: it is a table.
const (
	maxFunction = 80
	maxFile     = 600
)

func TestSizes(t *testing.T) {
	for _, f := range goFiles(t) {
		if f.test || f.generated {
			continue
		}
		if n := f.lines(f.File.FileStart, f.File.FileEnd); n > maxFile {
			t.Errorf("%s: %d lines, at most %d", f.path, n, maxFile)
		}
		for _, decl := range f.Decls {
			fn, ok := decl.(*ast.FuncDecl)
			if !ok || fn.Body == nil {
				continue
			}
			if n := f.lines(fn.Body.Pos(), fn.Body.End()); n > maxFunction && !flatSwitch(fn.Body) {
				t.Errorf("%s: %s has %d lines, at most %d", f.path, fn.Name.Name, n, maxFunction)
			}
		}
	}
}

func (f file) lines(from, to token.Pos) int {
	return f.fset.Position(to).Line - f.fset.Position(from).Line + 1
}

// flatSwitch reports whether a switch is all that a function does, but for a few statements before and after.
func flatSwitch(body *ast.BlockStmt) bool {
	for _, s := range body.List {
		if _, ok := s.(*ast.SwitchStmt); ok && len(body.List) <= 4 {
			return true
		}
	}
	return false
}
