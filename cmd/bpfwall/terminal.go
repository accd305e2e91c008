package main

import "golang.org/x/sys/unix"

// isTerminal reports whether a file descriptor is a terminal; /dev/null is a character device too, but has no attributes.
func isTerminal(fd int) bool {
	_, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	return err == nil
}
