/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Which flow a packet belongs to. */
#ifndef BPFWALL_CT_KEY_H
#define BPFWALL_CT_KEY_H

#include "ends.h"

/* What an ICMP type is to conntrack. */
enum icmp_role { ICMP_NONE, ICMP_REQUEST, ICMP_REPLY, ICMP_ERROR, ICMP_UNTRACKED };

static __always_inline enum icmp_role icmp4_role(__u16 type)
{
	switch (type) {
	case 8: case 13: case 15: case 17: /* echo, timestamp, information, address mask */
		return ICMP_REQUEST;
	case 0: case 14: case 16: case 18:
		return ICMP_REPLY;
	case 3: case 4: case 5: case 11: case 12:
		return ICMP_ERROR;
	}
	return ICMP_NONE;
}

/* nf_conntrack_proto_icmpv6.c: neighbour discovery and MLD are not tracked. */
static __always_inline enum icmp_role icmp6_role(__u16 type)
{
	switch (type) {
	case 128: case 139: /* echo, node information */
		return ICMP_REQUEST;
	case 129: case 140:
		return ICMP_REPLY;
	case 130: case 131: case 132: case 133: case 134: case 135: case 136: case 143: case 151: case 152:
		return ICMP_UNTRACKED;
	case 137: /* redirect */
		return ICMP_ERROR;
	}
	return type < 128 ? ICMP_ERROR : ICMP_NONE;
}

static __always_inline enum icmp_role icmp_role(const struct fw_pkt *pkt)
{
	return pkt->family == 4 ? icmp4_role(pkt->icmp_type) : icmp6_role(pkt->icmp_type);
}

/* The type of the request that a query's packet belongs to. */
static __always_inline __u8 icmp_request_type(const struct fw_pkt *pkt)
{
	if (icmp_role(pkt) == ICMP_REQUEST)
		return pkt->icmp_type;
	if (pkt->family == 4)
		return pkt->icmp_type ? pkt->icmp_type - 1 : 8;
	return pkt->icmp_type - 1;
}

/*
 * Fills work->key from a packet, and which end sends it. An end that talks to itself with one port cannot be told from its
 * peer; netfilter finds the reply then, see track_dir.
 */
static __always_inline void make_key(struct ct_work *w, const struct fw_pkt *pkt)
{
	__u32 sport = pkt->sport == FW_ABSENT16 ? 0 : pkt->sport, dport = pkt->dport == FW_ABSENT16 ? 0 : pkt->dport;
	struct ct_key *k = &w->key;
	int icmp = is_icmp(pkt), order;

	if (pkt->proto == IPPROTO_DCCP) /* Linux 6.16 and later know no ports of it */
		sport = dport = 0;
	if (pkt->proto == IPPROTO_GRE) /* without PPTP's control connection nobody knows the id of the other direction */
		dport = pkt->icmp_id;
	order = compare_ends(pkt, sport, dport);
	w->low_src = order <= 0;
	if (icmp && !order) /* a host asks itself: the low end is the one that asks */
		w->low_src = icmp_role(pkt) == ICMP_REQUEST;
	set_ends(k, pkt, sport, dport, w->low_src);
	if (!icmp)
		return;
	k->lo_port = pkt->icmp_id;
	k->hi_port = icmp_request_type(pkt) << 8 | (pkt->icmp_code & 0xff);
	k->kind = w->low_src == (icmp_role(pkt) == ICMP_REQUEST) ? 1 : 2;
}

/* 0 in the originator's direction. */
static __always_inline __u8 track_dir(const struct ct_work *w, const struct ct_flow *f)
{
	int i, self = w->key.lo_port == w->key.hi_port && !w->key.kind;

	for (i = 0; i < 4; i++)
		self &= w->key.lo_addr[i] == w->key.hi_addr[i];
	return self || w->low_src != f->low_is_orig;
}

#endif
