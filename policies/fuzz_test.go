package policies

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// FuzzParse: no text makes Parse panic, and the decoder and the index know the same paths.
func FuzzParse(f *testing.F) {
	for _, pattern := range []string{"examples/*.toml", "testdata/*.toml", "testdata/broken.txt"} {
		files, _ := filepath.Glob(pattern)
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(text)
		}
	}
	f.Add([]byte("version = 1\na.b.c = [[1], {x = [{}]}]\n[d.e]\n[[d.e.f]]\n[[d.e.f]]\nx = 1\n[d.e.f.g]\n\"q.[0]\" = {'' = 1}\n"))
	f.Add([]byte("\x03"))
	f.Fuzz(func(t *testing.T, src []byte) {
		opts := Options{Now: time.Unix(1, 0), ReadFile: func(string) ([]byte, error) { return src, nil }}
		pol, err := Parse("fuzz.toml", src, opts)
		if (pol == nil) == (err == nil) {
			t.Fatalf("policy %v, error %v", pol, err)
		}
		if pol != nil {
			pol.RunTests(nil)
			if _, err := Write(pol.Ruleset, string(src)); err != nil && strings.Contains(err.Error(), "read back") {
				t.Fatal(err)
			}
		}
		samePaths(t, src, opts)
	})
}

func samePaths(t *testing.T, src []byte, opts Options) {
	p := newParser(newSource("fuzz.toml", src), opts)
	data, ok := p.decode()
	if !ok {
		return
	}
	var decoded []string
	collectPaths("", data, &decoded)
	slices.Sort(decoded)
	var indexed []string
	for path := range p.src.places {
		indexed = append(indexed, path)
	}
	slices.Sort(indexed)
	if !slices.Equal(decoded, indexed) {
		t.Fatalf("decoder: %q\nindex:   %q", decoded, indexed)
	}
	for path, at := range p.src.places {
		if at.value.start < at.key.start && at.value.start != 0 || at.value.end > len(src) || at.value.end < at.value.start {
			t.Fatalf("%s: %+v of %d", path, at, len(src))
		}
		if pos := p.src.pos(at.value); pos.Line < 1 || pos.Col < 1 {
			t.Fatalf("%s: %v", path, pos)
		}
	}
}

// collectPaths lists the paths of everything below a value, as the index names them.
func collectPaths(path string, v any, out *[]string) {
	if path != "" {
		*out = append(*out, path)
	}
	switch v := v.(type) {
	case map[string]any:
		for k, e := range v {
			collectPaths(sub(path, k), e, out)
		}
	case []map[string]any:
		for i, e := range v {
			collectPaths(item(path, i), e, out)
		}
	case []any:
		for i, e := range v {
			collectPaths(item(path, i), e, out)
		}
	}
}
