package main

import (
	"bytes"
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxExcerpt is how many columns of a source line an error shows.
const maxExcerpt = 160

// sourceLine is line n, counted from 1, of a text.
func sourceLine(src []byte, n int) (string, bool) {
	for ; n > 1; n-- {
		i := bytes.IndexByte(src, '\n')
		if i < 0 {
			return "", false
		}
		src = src[i+1:]
	}
	if n < 1 || len(src) == 0 {
		return "", false
	}
	line, _, _ := bytes.Cut(src, []byte("\n"))
	return strings.TrimSuffix(string(line), "\r"), true
}

// mark makes a source line fit to print and the carets that go below its bytes col..col+length, counted from 1.
func mark(line string, col, length int) (shown, caret string) {
	if col < 1 || col > len(line)+1 {
		return cut(escape(line), 0), ""
	}
	start := col - 1
	end := min(start+max(length, 1), len(line))
	before, marked := escape(line[:start]), escape(line[start:max(end, start)])
	from := 0
	if utf8.RuneCountInString(before)+utf8.RuneCountInString(marked) > maxExcerpt {
		from = max(0, utf8.RuneCountInString(before)-maxExcerpt/4)
	}
	indent := utf8.RuneCountInString(before) - from
	if from > 0 {
		indent++ // the ellipsis
	}
	width := min(max(utf8.RuneCountInString(marked), 1), maxExcerpt-indent)
	return cut(escape(line), from), strings.Repeat(" ", indent) + strings.Repeat("^", width)
}

// cut shows maxExcerpt columns of a text from column from on.
func cut(s string, from int) string {
	runes := []rune(s)
	if from > 0 {
		runes = append([]rune("…"), runes[from:]...)
	}
	if len(runes) > maxExcerpt {
		runes = append(runes[:maxExcerpt-1:maxExcerpt-1], '…')
	}
	return string(runes)
}

// escape makes text from a file or a user fit for a terminal: control characters, invisible ones and broken UTF-8 are spelt
// out as in a Go string, a tab becomes a space.
func escape(s string) string {
	var out strings.Builder
	for len(s) > 0 {
		r, size := utf8.DecodeRuneInString(s)
		switch {
		case r == '\t':
			out.WriteByte(' ')
		case r == '\n':
			out.WriteByte('\n')
		case r == utf8.RuneError && size == 1:
			out.WriteString(`\x` + strconv.FormatUint(uint64(s[0])|0x100, 16)[1:])
		case strconv.IsPrint(r):
			out.WriteRune(r)
		default:
			quoted := strconv.QuoteRune(r)
			out.WriteString(quoted[1 : len(quoted)-1])
		}
		s = s[size:]
	}
	return out.String()
}
