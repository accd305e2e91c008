package iptables

import (
	"strings"
	"sync"

	"github.com/bpfwall/bpfwall/ruleset"
)

// manyLines is how many lines are read at a time, fewLines how many of them are worth a second processor.
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
	n := min(len(p.workers), 1+len(lines)/fewLines)
	var all sync.WaitGroup
	for i := range n {
		l, from, to := &p.workers[i], i*len(lines)/n, (i+1)*len(lines)/n
		l.family, l.table = p.file.family, p.open
		all.Go(func() {
			for i := from; i < to; i++ {
				err := l.read(lines[i], p.at(number+i, lines[i]))
				read[i] = readLine{l.cmd.chain, l.rule, err, l.ignored}
			}
		})
	}
	all.Wait()
	for _, r := range read {
		if r.err == nil && !r.ignored {
			r.err = p.open.execute(command{verb: 'A', chain: r.chain}, r.rule)
		}
		p.note(r.err)
	}
}
