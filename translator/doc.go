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
// A run of rules that ask for the same field becomes a fork: a tree of comparisons whose leaves are the rules that a packet can still
// meet, in their order. It costs a packet some log2(rules) comparisons, where trying the rules costs one for each. Long lists of
// addresses are looked up in maps, long lists of ports searched in a tree of their own.
//
// Many rules become a classifier: a table in a map (package classify), which code asks for the first rule that a packet meets;
// chooseEngines says when, and what it costs. It takes rules in whatever order, whatever they ask for. A rule that a table cannot
// hold all of (it has a limit, logs, sets a mark, jumps) is a stop: the table holds those of its tests that it can. A lookup first finds the rule
// that ends the packet's way, then collects the stops in front of it that the packet meets, as bits, and counts the rules that only count.
// The stops' own code follows, from one that is met to the next, unless one of them ends the chain. So a packet pays for the stops that it meets,
// not for those that there are. If a classifier has stops and rules that count, these wait where a stop is met: a function counts those in front
// of each stop before its code runs. Many stops are functions of 64. A rule that every packet would stop at (all it has is a limit, say)
// stands between two classifiers instead.
//
// Where a table is refused, or dearer, the classifier is of bit vectors. A function of its own looks up in these, the first time and behind
// stops.
//
// The verifier bounds a function's branches and the depth of calls. Chains that are too long are cut into pieces, functions that the
// chain's own calls one after the other; chains that nest too deep for calls stand where they are jumped to; a *LimitError says when
// neither helps.
//
// A function returns enum fw_verdict (bpf/fw.h) in its low byte and ruleset.RejectWith in the second. The one that decides has
// counted the rule or policy that did and stored its counter slot in fw_pkt.rule, which is NoRule if none did. A rule that logs
// has its slot there while it does. A piece of a chain returns 255 where a rule of it returned from the chain.
//
// # Conventions of the generated code
//
//	R0     result of calls; the function's result
//	R1-R5  one comparison, or the arguments of a call; nothing in them outlives a match
//	R6     struct fw_pkt *, the function's argument. Callee-saved, so calls keep it
//	R7     verdict, from the decision to the function's tail; the counter slot goes there in pkt->rule. Scratch before
//	R8-R9  a lookup in a set, together with R0-R5 and R7
//	R7-R9  a lookup in a classifier: the best rule so far and the records of the two addresses, together with R0-R5
//	R10-32 the key of the counters map
//	R10-24 what of a lookup in a classifier outlives it, see kept: 8 bytes each; where lookups nest, further down
//	R10-40 a lookup in a classifier: the patterns that the packet meets and the class of its ports, 8 bytes each
//	R10-64 the same, while a rule is counted: the place in its list
//	R10-56 the key of an element of a live set of addresses
//	R10-136 the key of an element of several parts
//	R10-248 bit vectors: for each dimension, the record and the row of the packet's value, from R10-64 on
//	R10-88 an element that is added to one (Element)
//	R10-80 what is asked of a key's bucket or of a list (bpf.Meter, bpf.Recent)
package translator
