package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// save writes a file in one piece: whoever reads it meanwhile, or after a crash or a full disk, finds the old one or the new one.
func save(name string, text []byte) error {
	temp, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+".*")
	var at *fs.PathError
	if errors.As(err, &at) {
		return fmt.Errorf("%s: %w", name, at.Err) // it names the temporary file
	}
	if err != nil {
		return err
	}
	defer os.Remove(temp.Name()) // in vain after the rename
	_, err = temp.Write(text)
	if err = errors.Join(err, temp.Sync(), temp.Chmod(0o644), temp.Close()); err != nil {
		return fmt.Errorf("%s: %w; nothing was written", name, err)
	}
	return os.Rename(temp.Name(), name)
}

// refuseExisting is an error if there is something of that name already.
func refuseExisting(name string) error {
	_, err := os.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return fail(exitUsage, "%s: is there already", name).withHelp("--force replaces it")
}
