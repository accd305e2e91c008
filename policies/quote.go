package policies

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// textList writes one string, or a list of them.
func textList(items []string) string {
	if len(items) == 1 {
		return quote(items[0])
	}
	quoted := make([]string, len(items))
	for i, s := range items {
		quoted[i] = quote(s)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}

// quote writes a TOML basic string.
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case unicode.IsControl(r):
			fmt.Fprintf(&b, `\u%04X`, r)
		default:
			b.WriteRune(r) // bytes that are not UTF-8 become U+FFFD
		}
	}
	b.WriteByte('"')
	return b.String()
}

// key writes a TOML key.
func key(s string) string {
	if bareKey(s) {
		return s
	}
	return quote(s)
}

// comment writes a line as a TOML comment, which cannot hold control characters.
func comment(s string) string {
	clean := strings.Map(func(r rune) rune {
		switch {
		case unicode.IsControl(r) && r != '\t':
			return ' '
		case r == utf8.RuneError:
			return '?'
		}
		return r
	}, s)
	return strings.TrimRight("# "+clean, " ")
}
