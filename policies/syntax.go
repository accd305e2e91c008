package policies

import (
	"bytes"
	"errors"
	"regexp"
	"strings"

	"github.com/BurntSushi/toml"
	"github.com/pelletier/go-toml/v2/unstable"
)

// decode reads the TOML and indexes it. What is wrong with the syntax is said in the words of a policy's author.
func (p *parser) decode() (map[string]any, bool) {
	var data map[string]any
	if bytes.HasPrefix(p.src.text, []byte("\ufeff")) {
		p.errs.Add(p.src.pos(span{}), "syntax: the file begins with a byte order mark").Help = "save it as UTF-8 without one"
		return nil, false
	}
	if _, err := toml.Decode(string(p.src.text), &data); err != nil {
		p.syntaxError(err)
		return nil, false
	}
	if err := p.src.index(); err != nil {
		p.indexError(err)
		return nil, false
	}
	return data, true
}

// syntaxAdvice turns messages of the TOML library into what the author should know.
var syntaxAdvice = []struct {
	message *regexp.Regexp
	say     string
	help    string
	widen   bool // the place is the whole word
}{
	{regexp.MustCompile(`^Invalid float value|^invalid datetime|^Invalid integer`), "addresses, ports and rates are text",
		`put it in quotes, as in from = "10.0.0.0/8"`, true},
	{regexp.MustCompile(`^expected value but found (?:"[^\n]|'@)`), "names are text", `put it in quotes, as in allow = "ssh"`, true},
	{regexp.MustCompile(`to end with a newline`), "a value ends where its line ends", `put values in quotes, as in limit = "6/minute"`, false},
	{regexp.MustCompile(`already created and cannot be used as an array`), "this list is already written as one value",
		`a direction has one spelling in a file: [[inbound]] blocks, or inbound = [ … ] under [rules]`, false},
	{regexp.MustCompile(`has already been defined`), "this key is already defined above",
		`each key stands once; a rule starts with a line [[inbound]]`, false},
	{regexp.MustCompile(`newlines`), "a string ends on its own line", `close the quotes`, false},
}

func (p *parser) syntaxError(err error) {
	var pe toml.ParseError
	if !errors.As(err, &pe) {
		p.errs.Add(p.src.pos(span{}), "syntax: %v", err)
		return
	}
	at := span{start: max(0, min(pe.Position.Start, len(p.src.text)))}
	at.end = max(at.start, min(pe.Position.Start+pe.Position.Len, len(p.src.text)))
	for _, a := range syntaxAdvice {
		if !a.message.MatchString(pe.Message) {
			continue
		}
		if a.widen {
			at = p.word(at)
		}
		e := p.errs.Add(p.src.pos(at), "syntax: %s", a.say)
		e.Help = a.help
		if a.widen {
			e.Hint = "put it in quotes"
		}
		return
	}
	p.errs.Add(p.src.pos(at), "syntax: %s", strings.TrimSuffix(pe.Message, "."))
}

// word widens a place to the end of the bare word that starts there.
func (p *parser) word(at span) span {
	for at.end = at.start; at.end < len(p.src.text); at.end++ {
		if strings.IndexByte(" \t\r\n,]}#", p.src.text[at.end]) >= 0 {
			break
		}
	}
	return at
}

func (p *parser) indexError(err error) {
	at := span{}
	var pe *unstable.ParserError
	if errors.As(err, &pe) {
		at = p.find(pe.Highlight)
	}
	p.errs.Add(p.src.pos(at), "syntax: %v", err)
}

// find is the place of a subslice of the source.
func (p *parser) find(part []byte) span {
	if start := cap(p.src.text) - cap(part); cap(part) > 0 && start >= 0 && start <= len(p.src.text) {
		return span{start, min(start+len(part), len(p.src.text))}
	}
	return span{}
}
