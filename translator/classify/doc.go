// Package classify builds tables that say which of many rules is the first that a packet meets. It knows neither packets nor the kernel:
// it makes one block of bytes, to be put into a map, and the numbers that code needs to look something up in it.
//
// # How a lookup works
//
// The rules are divided into a few subsets. In each of them the source addresses fall into classes, one for every combination of the
// subset's rules that ask for an address of the class, and the destination addresses too. A packet's two addresses are searched once,
// which gives their classes in all subsets. A pair of classes has a cell with the rules that are left, seldom more than one or two: their
// ports and their pattern (what else rules ask for, as one bit of 64) are compared one after the other. One that is alone stands in the cell
// itself, unless it asks for a source port; if there are many, a table over the classes of both ports says which of them to compare. The first rule of all subsets
// wins. Rules that do not end the packet's way through the rules are in subsets of their own, which are asked when the winner is known: all that
// the packet meets of them in front of it count.
//
// Cells are the elements of a sparse matrix, packed by row displacement: the class of the source says where its row ends, the class of
// the destination how far in front of that the cell is, and the cell says which row it belongs to. So a subset costs a packet one probe,
// of one line of the cache, whatever the packet is, and nobody can choose addresses that collide.
//
// # What bounds the size
//
// A rule for a wide source and a wide destination has a cell for every pair of classes in them. Such rules are kept apart from those that
// would make classes for them: a subset takes a rule in only as long as its cells stay within a budget. Rules that another rule of the same
// cell makes unreachable are left out of it; open ones make none so.
//
// There are rules for which no division helps. They are refused, soon, and Vectors takes them.
package classify
