// Package ruleset says what firewall rules are and what they mean: chains, rules, matches, sets and verdicts as data,
// the table of everything a rule can look at, the checks, and the reference evaluator. It knows no kernel and no text format.
package ruleset
