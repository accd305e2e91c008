package dataplane

import (
	"encoding/json"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
)

// comments are what people have said of elements of a set; those of elements that are gone go with the next one that is said.
type comments map[netip.Prefix]string

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
		c[n.Prefix.Masked()] = n.Comment
	}
	if c == nil {
		return nil
	}
	for p := range c {
		if !l.has(p) {
			delete(c, p)
		}
	}
	text, err := json.Marshal(c)
	if err != nil {
		return err
	}
	return writeWhole(d.at.commentsFile(l.set.Name), text)
}
