// Package accounts knows the numbers of users and groups by the names that this host gives them.
package accounts

import (
	"os/user"
	"strconv"
)

// User is the number of a user, given as a number or by name.
func User(s string) (uint32, bool) {
	return id(s, func(name string) (string, error) {
		u, err := user.Lookup(name)
		if err != nil {
			return "", err
		}
		return u.Uid, nil
	})
}

// Group is the number of a group, given as a number or by name.
func Group(s string) (uint32, bool) {
	return id(s, func(name string) (string, error) {
		g, err := user.LookupGroup(name)
		if err != nil {
			return "", err
		}
		return g.Gid, nil
	})
}

// id reads a number, or finds a name: a name may be all digits (useradd(8)), and then comes first, as with getpwnam(3).
func id(s string, find func(name string) (string, error)) (uint32, bool) {
	if found, err := find(s); err == nil {
		s = found
	}
	n, err := strconv.ParseUint(s, 10, 32)
	return uint32(n), err == nil && n != 1<<32-1 // -1 is nobody's number
}

// UserName is the name of a user, or the number if it has none here.
func UserName(id uint32) string {
	number := strconv.FormatUint(uint64(id), 10)
	if u, err := user.LookupId(number); err == nil {
		return u.Username
	}
	return number
}
