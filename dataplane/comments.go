package dataplane

import (
	"encoding/json"
	"errors"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/bpfwall/bpfwall/ruleset"
)

// comments are what people have said of elements of a set; those of elements that are gone go with the next one that is said.
type comments map[string]string

// of is what was said of an element.
func (c comments) of(t ruleset.Tuple) string { return c[commentKey(t)] }

// commentKey is an element as comments name it: a network, or all of an element's parts in JSON.
func commentKey(t ruleset.Tuple) string {
	if t == (ruleset.Tuple{Net: t.Net}) {
		return t.Net.String()
	}
	text, _ := json.Marshal(t)
	return string(text)
}

func elementOfComment(key string) (t ruleset.Tuple) {
	if p, err := netip.ParsePrefix(key); err == nil {
		return ruleset.Tuple{Net: p}
	}
	_ = json.Unmarshal([]byte(key), &t) // what is not understood is in no set
	return t
}

func (l layout) commentsFile(set string) string {
	return filepath.Join(l.state, "sets", escapeName(set)+".comments")
}

func (l layout) readComments(set string) (comments, error) {
	c := comments{}
	text, err := os.ReadFile(l.commentsFile(set))
	if errors.Is(err, os.ErrNotExist) {
		return c, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &c)
	}
	return c, err
}

// comment remembers what is said of new elements.
func (d *Dataplane) comment(l *liveMaps, list []NewElement) error {
	var c comments
	for _, n := range list {
		if n.Comment == "" {
			continue
		}
		if c == nil {
			var err error
			if c, err = d.at.readComments(l.set.Name); err != nil {
				return err
			}
		}
		c[commentKey(n.tuple())] = n.Comment
	}
	if c == nil {
		return nil
	}
	for key := range c {
		if !l.has(elementOfComment(key)) {
			delete(c, key)
		}
	}
	text, err := json.Marshal(c)
	if err != nil {
		return err
	}
	return writeWhole(d.at.commentsFile(l.set.Name), text)
}
