// Package settable keeps large sets of prefixes in a piece of memory that compiled rules search without a helper: a BPF array of one
// entry, mapped into user space. It knows no kernel; memory is a slice of bytes, and the layout below is what the translator's
// generated code reads.
//
// # Layout
//
// A key is a list of 16-bit words, most significant first: an IPv4 address is two, an IPv6 address eight, and a concatenation is its
// exact parts followed by one address. A table is a tree with a level for each word. Everything is in the machine's byte order.
//
//	0     roots [8]uint32    a cell each
//	32    header, for the writer only, and notes of its users
//	256   nodes
//
// A cell (uint32) says what holds for a span of values of the word: not in the set (0), in it until a second of the monotonic clock
// (01 in the top two bits, the second below), in it for good (11), or a node that knows by the next word (10: four bits of size
// class k, 26 bits of offset in units of 16 bytes).
//
// A node of class k has 1<<k keys, sorted, of 16 bits, and then as many cells: the cell of the last key that is not above the word
// counts. The first key is 0, and keys that are too many repeat the last cell at 0xffff. Class 15 has no keys, but a cell for each of
// the 65536 values. Class 0 is a path, for keys that share several words with no other: the number of words, up to seven of them, and behind
// these the cell of keys that have them and the cell of those that have not. Nodes lie at multiples of 32 bytes.
//
// # Changes while packets are looked up
//
// What readers can reach is never changed but by one aligned store of a cell. A change writes new nodes where no reader looks and then
// stores the one cell that leads there; Replace makes all of a new set visible with one store. A node that is no longer reached is
// used again only after every program that could have seen it has ended (Table.wait).
package settable
