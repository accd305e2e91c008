package iptables

import (
	"strings"
	"sync"

	"github.com/bpfwall/bpfwall/ruleset"
)

// manyLines is how many lines are read at a time, fewLines how many of them are worth a processor of their own.
const manyLines, fewLines = 8192, 256

// readLine is a line that appends a rule, as far as it can be told from the line alone.
type readLine struct {
	chain   token
	rule    *rule
	err     *ruleset.Error
	ignored bool
}

// appended counts the lines up to the first that may do something else than to append a rule.
func appended(lines []string) int {
	for i, line := range lines {
		if i == manyLines || !appends(line) {
			return i
		}
	}
	return len(lines)
}

// appends reports whether a line, with or without counters, can only append a rule. That changes nothing that other lines depend on.
func appends(line string) bool {
	if strings.HasPrefix(line, "[") {
		_, line, _ = strings.Cut(line, "] ")
	}
	return strings.HasPrefix(line, "-A ") && line[len(line)-1] != '\r'
}

// appendRules reads lines that append rules, the first of which has a number in the file, at the same time; and then appends them in their order.
func (p *parser) appendRules(lines []string, number int) {
	read := make([]readLine, len(lines))
	inParts(len(lines), len(p.workers), func(part, from, to int) {
		l := &p.workers[part]
		l.family, l.table = p.file.family, p.open
		for i := from; i < to; i++ {
			err := l.read(lines[i], p.at(number+i, lines[i]))
			read[i] = readLine{l.cmd.chain, l.rule, err, l.ignored}
		}
	})
	for _, r := range read {
		if r.err == nil && !r.ignored {
			r.err = p.open.execute(command{verb: 'A', chain: r.chain}, r.rule)
		}
		p.note(r.err)
	}
}

// inParts divides n things into at most so many parts, one after the other, and does all parts at the same time.
func inParts(n, parts int, do func(part, from, to int)) {
	parts = min(parts, 1+n/fewLines)
	var all sync.WaitGroup
	for i := range parts {
		all.Go(func() { do(i, i*n/parts, (i+1)*n/parts) })
	}
	all.Wait()
}
