/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Is a received packet for this host, or passing through? */
#ifndef BPFWALL_ROUTE_H
#define BPFWALL_ROUTE_H

#include "route_note.h"
/*
 * What ip_route_input and ip6_rcv take for their own without asking the routing table, whatever the frame's address: groups,
 * limited broadcast, IPv4 addresses of a host that has none yet; and link-local ones.
 */
static __always_inline int here_by_value(__u8 family, __be32 d) /* d: the first word of the destination */
{
	if (family == 4)
		return !d || d == 0xffffffff || (d & bpf_htonl(0xf0000000)) == bpf_htonl(0xe0000000);
	return (d & bpf_htonl(0xff000000)) == bpf_htonl(0xff000000) || (d & bpf_htonl(0xffc00000)) == bpf_htonl(0xfe800000);
}

/* Asks the routing table. What it cannot route is nobody's: the stack drops it, no input chain sees it. */
__noinline int fw_routed_here(struct __sk_buff *skb, struct fw_pkt *pkt)
{
	struct route_note n = {};
	struct bpf_fib_lookup f;
	int noted = 0, rc;

	if (!pkt || pkt->pkt_type != 1 || here_by_value(pkt->family, pkt->daddr[0]))
		return 1;
	if (cfg_route_notes) {
		note_of(&n, pkt->family, pkt->daddr, pkt->tos);
		noted = date_note(skb, &n); /* as it is before the table is asked */
	}
	fib_from(&f, pkt, skb->ifindex);
	rc = bpf_fib_lookup(skb, &f, sizeof(f), 0);
	if (noted && (rc == BPF_FIB_LKUP_RET_SUCCESS || rc == BPF_FIB_LKUP_RET_NO_NEIGH || rc == BPF_FIB_LKUP_RET_NOT_FWDED))
		note_route(&n, rc);
	return ends(rc);
}

/*
 * What a note is found by, from the frame itself. Reports 0 for packets that have to be looked at closely: fragments, and headers that
 * are not the usual ones. The stack, or egress, refuses what else is wrong with them.
 */
static __always_inline int glance_at(struct __sk_buff *skb, struct route_note *n)
{
	__u32 off = link_len(skb), room = skb->len - off;
	struct ipv6hdr h6;
	struct iphdr h;

	if (in_vlan(skb))
		return 0;
	if (skb->protocol == bpf_htons(ETH_P_IP)) {
		if (glimpse(skb, off, &h, sizeof(h)) || h.version != 4 || h.ihl != 5 || (h.frag_off & bpf_htons(0x3fff)) ||
		    bpf_ntohs(h.tot_len) < sizeof(h) || bpf_ntohs(h.tot_len) > room)
			return 0;
		note_of(n, 4, &h.daddr, h.tos);
		return 1;
	}
	if (skb->protocol != bpf_htons(ETH_P_IPV6) || glimpse(skb, off, &h6, sizeof(h6)) || h6.version != 6 || is_extension(h6.nexthdr) ||
	    sizeof(h6) + bpf_ntohs(h6.payload_len) > room)
		return 0;
	note_of(n, 6, h6.daddr.s6_addr32, h6.priority << 4 | h6.flow_lbl[0] >> 4);
	return 1;
}

/* The same as fw_routed_here, if it is known without asking. */
static __always_inline enum route glance(struct __sk_buff *skb)
{
	struct route_note n;

	if (!cfg_forwarding || !cfg_route_notes || skb->ifindex == LOOPBACK || skb->pkt_type != PACKET_HOST || !glance_at(skb, &n) ||
	    here_by_value(n.kind >> 8, n.daddr[0]))
		return ROUTE_UNKNOWN;
	return date_note(skb, &n) ? recall_route(&n) : ROUTE_UNKNOWN;
}

/* noted: what glance said. */
static __always_inline int is_local(struct __sk_buff *skb, struct fw_pkt *pkt, enum route noted)
{
	if (!cfg_forwarding || skb->ifindex == LOOPBACK || noted == ROUTE_HERE)
		return 1;
	return noted == ROUTE_UNKNOWN && fw_routed_here(skb, pkt);
}

#endif
