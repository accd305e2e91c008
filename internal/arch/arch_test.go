// Package arch holds the rules about the source itself: who imports whom, and what has to be documented.
package arch

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/bpfwall/bpfwall/"

// mayImport is the import graph: what of ours each folder may import. Nothing points upwards. Tests may import more, see below.
var mayImport = map[string][]string{
	"ruleset":          {},
	"settable":         {},
	"bpf":              {},
	"services":         {},
	"accounts":         {},
	"countries":        {},
	"packet":           {"ruleset", "services", "accounts"},
	"policies":         {"ruleset", "services", "accounts", "countries", "packet"},
	"migrate/iptables": {"ruleset", "services", "accounts"},
	"migrate/nftables": {"ruleset", "services"},
	"session":          {"ruleset"},
	"input":            {"ruleset", "policies", "migrate/iptables", "migrate/nftables"},
	"translator":       {"ruleset", "bpf", "settable"},
	"dataplane":        {"ruleset", "bpf", "packet", "settable", "translator"},
	"offload/nfp":      {"ruleset", "translator", "dataplane"},
	"cmd":              {"*"},
	"test":             {"*"},
	"demo":             {"*"},
	"internal":         {"*"},
}

// onlyIn are imports from outside that belong to certain folders: what changes the machine is in one place.
var onlyIn = map[string][]string{
	"github.com/cilium/ebpf/link":      {"dataplane", "offload/nfp", "test", "bpf"},
	"github.com/spf13/cobra":           {"cmd"},
	"github.com/BurntSushi/toml":       {"policies"},
	"github.com/vishvananda/netlink":   {"dataplane", "test", "internal"},
	"github.com/google/nftables":       {"migrate/nftables", "dataplane", "test"},
	"github.com/pelletier/go-toml/v2/": {"policies"},
	"github.com/oschwald/maxminddb-":   {"countries"},
}

// file is one parsed Go file.
type file struct {
	path, dir string // relative to the root, with slashes
	test      bool
	generated bool
	fset      *token.FileSet
	*ast.File
}

func TestImportDirection(t *testing.T) {
	for _, f := range goFiles(t) {
		for _, spec := range f.Imports {
			path := strings.Trim(spec.Path.Value, `"`)
			if f.test {
				continue // an external test may look at its package from above, e.g. run rules through the programs
			}
			if ours, ok := strings.CutPrefix(path, module); ok && !allowed(f.dir, ours) {
				t.Errorf("%s imports %s; allowed there: %q", f.path, ours, mayImport[area(f.dir)])
			}
			for prefix, dirs := range onlyIn {
				if strings.HasPrefix(path, prefix) && !slices.ContainsFunc(dirs, func(d string) bool { return within(f.dir, d) }) {
					t.Errorf("%s imports %s, which belongs to %q", f.path, path, dirs)
				}
			}
		}
	}
}

// area is the row of mayImport that a folder belongs to.
func area(dir string) string {
	for row := range mayImport {
		if within(dir, row) {
			return row
		}
	}
	return ""
}

func within(dir, parent string) bool { return dir == parent || strings.HasPrefix(dir, parent+"/") }

func allowed(dir, imported string) bool {
	row := area(dir)
	may := mayImport[row]
	return row != "" && (within(imported, row) || slices.Contains(may, "*") || slices.ContainsFunc(may, func(m string) bool { return within(imported, m) }))
}

func TestEveryFolderHasARow(t *testing.T) {
	for _, f := range goFiles(t) {
		if area(f.dir) == "" && f.dir != "." {
			t.Errorf("%s: folder %s is not in the import graph", f.path, f.dir)
		}
	}
}

func TestOnePackageComment(t *testing.T) {
	docs := map[string][]string{}
	for _, f := range goFiles(t) {
		key := f.dir + " " + f.Name.Name
		if strings.HasSuffix(f.Name.Name, "_test") {
			continue
		}
		docs[key] = append(docs[key], "")
		if f.Doc != nil && strings.TrimSpace(f.Doc.Text()) != "" {
			docs[key] = append(docs[key], f.path)
		}
	}
	for key, files := range docs {
		files = slices.DeleteFunc(files, func(s string) bool { return s == "" })
		if len(files) != 1 {
			t.Errorf("%s: want a package comment in one file, have it in %q", key, files)
		}
	}
}

func TestExportedIsDocumented(t *testing.T) {
	for _, f := range goFiles(t) {
		if f.test || f.generated || f.Name.Name == "main" {
			continue
		}
		for _, decl := range f.Decls {
			for _, name := range undocumented(decl) {
				t.Errorf("%s: exported %s has no comment", f.path, name)
			}
		}
	}
}

// undocumented lists the exported names of a declaration that have no comment. In a group, the group's comment or one on
// the line counts.
func undocumented(decl ast.Decl) []string {
	switch d := decl.(type) {
	case *ast.FuncDecl:
		if d.Doc == nil && d.Name.IsExported() && exportedReceiver(d) && !wellKnown[d.Name.Name] {
			return []string{d.Name.Name}
		}
	case *ast.GenDecl:
		return undocumentedSpecs(d)
	}
	return nil
}

func undocumentedSpecs(d *ast.GenDecl) []string {
	var names []string
	for _, spec := range d.Specs {
		switch s := spec.(type) {
		case *ast.TypeSpec:
			if s.Name.IsExported() && d.Doc == nil && s.Doc == nil {
				names = append(names, s.Name.Name)
			}
		case *ast.ValueSpec:
			if d.Doc == nil && s.Doc == nil && s.Comment == nil && s.Names[0].IsExported() {
				names = append(names, s.Names[0].Name)
			}
		}
	}
	return names
}

// wellKnown are methods whose meaning is fixed by the standard library.
var wellKnown = map[string]bool{
	"String": true, "Error": true, "Unwrap": true, "Is": true, "Close": true, "Len": true, "Less": true, "Swap": true,
	"MarshalJSON": true, "UnmarshalJSON": true, "MarshalText": true, "UnmarshalText": true,
}

// exportedReceiver reports whether d is a function, or a method of an exported type.
func exportedReceiver(d *ast.FuncDecl) bool {
	if d.Recv == nil {
		return true
	}
	typ := d.Recv.List[0].Type
	if star, ok := typ.(*ast.StarExpr); ok {
		typ = star.X
	}
	if index, ok := typ.(*ast.IndexExpr); ok {
		typ = index.X
	}
	name, ok := typ.(*ast.Ident)
	return ok && name.IsExported()
}

// TestNoMachinePaths keeps the paths of whoever wrote a file out of it: the product must not depend on one machine.
func TestNoMachinePaths(t *testing.T) {
	// Spelt in two halves, for this file is read too.
	banned := []string{"/wo" + "rk/", "/tmp/" + "land", "/fa" + "rm/", "/ro" + "ot/", "/ho" + "me/"}
	err := walk(t, func(path string) {
		text, err := os.ReadFile(filepath.Join(root, path))
		if err != nil {
			t.Fatal(err)
		}
		for n, line := range strings.Split(string(text), "\n") {
			for _, b := range banned {
				if strings.Contains(line, b) && !strings.HasSuffix(path, ".o") {
					t.Errorf("%s:%d: %q is a path of one machine", path, n+1, b)
				}
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
}

// root is the top folder of the repository, seen from here.
const root = "../.."

// walk calls f with every file's path relative to the root.
func walk(t *testing.T, f func(path string)) error {
	t.Helper()
	return filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(root, path)
		switch {
		case d.IsDir() && (rel == ".git" || rel == "build"):
			return filepath.SkipDir
		case d.Type().IsRegular() && rel != ".git":
			f(filepath.ToSlash(rel))
		}
		return nil
	})
}

func goFiles(t *testing.T) []file {
	t.Helper()
	var files []file
	err := walk(t, func(path string) {
		if !strings.HasSuffix(path, ".go") || strings.Contains(path, "/testdata/") {
			return
		}
		fset := token.NewFileSet()
		parsed, err := parser.ParseFile(fset, filepath.Join(root, path), nil, parser.ParseComments)
		if err != nil {
			t.Errorf("%v", err)
			return
		}
		dir := filepath.ToSlash(filepath.Dir(path))
		files = append(files, file{path, dir, strings.HasSuffix(path, "_test.go"), ast.IsGenerated(parsed), fset, parsed})
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}
