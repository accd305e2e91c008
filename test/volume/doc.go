// Package volume puts millions of frames, right ones and damaged ones, through the whole programs of random rulesets and compares what
// becomes of them with packet.Decode and ruleset.Eval. It has tests only.
package volume
