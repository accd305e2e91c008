// Package policies is the front end for bpfwall's own language: it turns a TOML policy into a ruleset, writes a ruleset
// as a policy, and runs the tests that a policy carries. Every problem of a file is reported with its line and column.
package policies
