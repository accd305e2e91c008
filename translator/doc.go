// Package translator compiles a ruleset into eBPF: it plans the hooks' chains, improves the plan in a list of passes, lowers it to
// instructions, and splices these into the C object in place of its stubs. It is pure: it opens no file, socket or descriptor, and
// the same ruleset gives the same programs on every machine.
//
// # How rules become code
//
// Every hook has a global function `int fw_<hook>(struct fw_pkt *)`; chains that are jumped to are further ones, or stand where the
// jump is. A rule is its matches in order, each three to six instructions that jump to the next rule if it does not hold, then its
// counter, its statements and its verdict. The fields of the packet are loaded from memory for every comparison: the verifier
// follows what it learns about a register, and for a field kept in a register that makes its work quadratic in the rules.
//
// A function returns enum fw_verdict (bpf/fw.h) in its low byte and ruleset.RejectWith in the second. The one that decides has
// counted the rule or policy that did and stored its counter slot in fw_pkt.rule, which is NoRule if none did.
//
// # Conventions of the generated code
//
//	R0     result of calls; the function's result
//	R1-R5  one comparison, or the arguments of a call; nothing in them outlives a match
//	R6     struct fw_pkt *, the function's argument. Callee-saved, so calls keep it
//	R7     verdict, from the decision to the function's tail; the counter slot goes there in pkt->rule
//	R10-24 a set's key: the address as in the packet, 4 or 16 bytes
//	R10-28 the prefix length that an LPM trie wants in front of it
//	R10-32 the key of the counters map
package translator
