/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * What the routing table has said of addresses, so that not every packet has to ask: by destination, as long as the kernel's count of route
 * changes stays what it was. Where rules of policy routing, or routes by source, ask for more of a packet than its destination, nothing is noted.
 */
#ifndef BPFWALL_ROUTE_NOTE_H
#define BPFWALL_ROUTE_NOTE_H

#define ROUTE_BITS	10
#define ROUTE_NOTES	(1 << ROUTE_BITS) /* a CPU */
#define ROUTE_TICK	8	/* a note holds for 2^8 jiffies at most: a second or less, where HZ is 250 or more */

enum route { ROUTE_UNKNOWN, ROUTE_HERE, ROUTE_ONWARD };

struct route_note {
	__be32 daddr[4];
	__u32 ifindex;
	__u32 kind;	/* family << 8 | TOS */
	__u32 changes;	/* that routes had seen, struct route_epoch */
	__u32 tick;
	__u64 route;	/* enum route */
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, ROUTE_NOTES);
	__type(key, __u32);
	__type(value, struct route_note);
} route_notes SEC(".maps");

/* Whether the way of a packet depends on more than its destination and where it came in. */
static __always_inline int routed_by_more(struct net *net, __u8 family)
{
	if (family == 4)
		return IS_THERE(net->ipv4.fib_has_custom_rules) && net->ipv4.fib_has_custom_rules;
	return (IS_THERE(net->ipv6.fib6_has_custom_rules) && net->ipv6.fib6_has_custom_rules) ||
	       (IS_THERE(net->ipv6.fib6_routes_require_src) && net->ipv6.fib6_routes_require_src);
}

/* What a note is found by. */
static __always_inline void note_of(struct route_note *n, __u8 family, const __be32 *daddr, __u8 tos)
{
	int i;

	for (i = 0; i < 4; i++)
		n->daddr[i] = i && family == 4 ? 0 : daddr[i];
	n->kind = family << 8 | tos;
}

/* Adds what it holds for. Reports 0 where nothing can be noted. */
static __always_inline int date_note(struct __sk_buff *skb, struct route_note *n)
{
	struct sk_buff *k = bpf_cast_to_kern_ctx(skb);
	struct net *net = k->dev->nd_net.net;
	__u8 family = n->kind >> 8;

	if (routed_by_more(net, family))
		return 0;
	n->ifindex = skb->ifindex;
	n->changes = family == 4 ? net->ipv4.rt_genid.counter : net->ipv6.fib6_sernum.counter;
	n->tick = bpf_jiffies64() >> ROUTE_TICK;
	return 1;
}

static __always_inline struct route_note *place_of(const struct route_note *n)
{
	__u32 mix = (n->daddr[0] ^ n->daddr[1] ^ n->daddr[2] ^ n->daddr[3] ^ n->ifindex) * 0x9e3779b1; /* 2^32 / golden ratio */
	__u32 slot = mix >> (32 - ROUTE_BITS); /* the high bits: all of an address matters to them, whose last byte is its highest here */

	return bpf_map_lookup_elem(&route_notes, &slot);
}

static __always_inline enum route recall_route(const struct route_note *asked)
{
	const struct route_note *n = place_of(asked);

	if (!n || n->daddr[0] != asked->daddr[0] || n->daddr[1] != asked->daddr[1] || n->daddr[2] != asked->daddr[2] ||
	    n->daddr[3] != asked->daddr[3] || n->ifindex != asked->ifindex || n->kind != asked->kind || n->changes != asked->changes ||
	    n->tick != asked->tick)
		return ROUTE_UNKNOWN;
	return n->route;
}

/* rc: of bpf_fib_lookup. */
static __always_inline void note_route(struct route_note *n, int rc)
{
	struct route_note *to = place_of(n);

	n->route = rc == BPF_FIB_LKUP_RET_NOT_FWDED ? ROUTE_HERE : ROUTE_ONWARD;
	if (to)
		*to = *n;
}

#endif
