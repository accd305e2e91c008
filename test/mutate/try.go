package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// outcome is what became of a mutant.
type outcome string

const (
	killed     outcome = "killed"
	survived   outcome = "SURVIVED"
	timedOut   outcome = "TIMEOUT"
	noBuild    outcome = "does not build"
	noLoad     outcome = "does not load"
	same       outcome = "same instructions"
	equivalent outcome = "equivalent"
)

// result is a mutant that was tried.
type result struct {
	mutant
	outcome
	by   string // the test that noticed it
	took time.Duration
	err  error // of the tool
}

func (r result) String() string {
	return strings.TrimSpace(fmt.Sprintf("%-17s %s  %s", r.outcome, r.mutant, r.by)) + fmt.Sprintf(" %.1fs", r.took.Seconds())
}

// trial is how mutants are tried: in a copy of its own, with limits on the time.
type trial struct {
	*copied
	usual map[string]time.Duration
}

// patience is how many times the usual time a suite may take, and slack is for what has nothing to do with it.
const (
	patience = 4
	slack    = 20 * time.Second
)

// try changes the copy, runs the tests and changes it back.
func (t *trial) try(m mutant) result {
	start := time.Now()
	path := filepath.Join(t.dir, m.path)
	src, err := os.ReadFile(path)
	if err != nil {
		return result{err: err}
	}
	if err := os.WriteFile(path, []byte(m.apply(string(src))), 0o644); err != nil {
		return result{err: err}
	}
	r := t.judge(m)
	r.mutant, r.took = m, time.Since(start)
	if err := os.WriteFile(path, src, 0o644); err != nil {
		r.err = err
	}
	return r
}

func (t *trial) judge(m mutant) result {
	if t.compile() != nil {
		return result{outcome: noBuild}
	}
	code, err := t.instructions()
	if err != nil {
		return result{err: err}
	}
	if code == t.code {
		return result{outcome: same}
	}
	if err := t.put(); err != nil {
		return result{err: err}
	}
	for _, s := range suitesOf(m.path) {
		j, err := t.noticed(s)
		if err == nil && strings.Contains(j.out, "load program") {
			var load judged
			if load, err = t.noticed(loading); err == nil && load.by != "" {
				return result{outcome: noLoad}
			}
		}
		switch {
		case errors.Is(err, errTimeout):
			return result{outcome: timedOut, by: err.Error()}
		case err != nil:
			return result{err: err}
		case j.by != "":
			return result{outcome: killed, by: j.by}
		}
	}
	return result{outcome: survived}
}

// noticed reports the test of a suite that fails, twice: a machine that is busy makes some fail once.
func (t *trial) noticed(s suite) (judged, error) {
	limit := patience*t.usual[s.name] + slack
	j, err := t.runSuite(s, limit)
	if err != nil || !strings.HasPrefix(j.by, "Test") {
		return j, err
	}
	again, err := t.runSuite(s, limit, "-test.run", "^"+strings.ReplaceAll(regexp.QuoteMeta(j.by), "/", "$/^")+"$", "-test.skip", "")
	if err != nil || again.by != "" {
		return again, err
	}
	return t.runSuite(s, limit) // it was not the change
}
