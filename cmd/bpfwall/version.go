package main

import (
	"runtime"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

// version is stamped by the Makefile.
var version = "unknown"

func (a *app) version() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version, and that of the kernel",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			answer := struct {
				schema
				Version string `json:"version"`
				Go      string `json:"go"`
				Kernel  string `json:"kernel"`
			}{schemaOf("version"), version, runtime.Version(), kernel()}
			return a.emit(answer, func() { a.printf("bpfwall %s (%s), Linux %s\n", answer.Version, answer.Go, answer.Kernel) })
		},
	}
}

// kernel is the release of the running kernel, as uname -r prints it.
func kernel() string {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return "unknown"
	}
	return unix.ByteSliceToString(u.Release[:])
}
