/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Is a received packet for this host, or passing through? */
#ifndef BPFWALL_ROUTE_H
#define BPFWALL_ROUTE_H

#include "route_note.h"
/*
 * What ip_route_input and ip6_rcv take for their own without asking the routing table, whatever the frame's address: groups,
 * limited broadcast, IPv4 addresses of a host that has none yet; and link-local ones.
 */
static __always_inline int here_by_value(const struct fw_pkt *pkt)
{
	__be32 d = pkt->daddr[0];

	if (pkt->family == 4)
		return !d || d == 0xffffffff || (d & bpf_htonl(0xf0000000)) == bpf_htonl(0xe0000000);
	return (d & bpf_htonl(0xff000000)) == bpf_htonl(0xff000000) || (d & bpf_htonl(0xffc00000)) == bpf_htonl(0xfe800000);
}

/* Asks the routing table. What it cannot route is nobody's: the stack drops it, no input chain sees it. */
__noinline int fw_routed_here(struct __sk_buff *skb, struct fw_pkt *pkt)
{
	struct route_note n = {};
	struct bpf_fib_lookup f;
	int noted, rc;

	if (!pkt || pkt->pkt_type != 1 || here_by_value(pkt))
		return 1;
	noted = cfg_route_notes && describe_route(skb, pkt, &n); /* as it is before the table is asked */
	fib_from(&f, pkt, skb->ifindex);
	rc = bpf_fib_lookup(skb, &f, sizeof(f), 0);
	if (noted && (rc == BPF_FIB_LKUP_RET_SUCCESS || rc == BPF_FIB_LKUP_RET_NO_NEIGH || rc == BPF_FIB_LKUP_RET_NOT_FWDED))
		note_route(&n, rc);
	return ends(rc);
}

/* The same, if it is known without asking. */
static __always_inline enum route noted_route(struct __sk_buff *skb, const struct fw_pkt *pkt)
{
	struct route_note n;

	if (!cfg_forwarding || !cfg_route_notes || skb->ifindex == LOOPBACK || skb->pkt_type != PACKET_HOST || here_by_value(pkt))
		return ROUTE_UNKNOWN;
	return describe_route(skb, pkt, &n) ? recall_route(&n) : ROUTE_UNKNOWN;
}

/* noted: what noted_route said. */
static __always_inline int is_local(struct __sk_buff *skb, struct fw_pkt *pkt, enum route noted)
{
	if (!cfg_forwarding || skb->ifindex == LOOPBACK || noted == ROUTE_HERE)
		return 1;
	return noted == ROUTE_UNKNOWN && fw_routed_here(skb, pkt);
}

#endif
