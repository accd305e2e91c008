/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* The ends of a flow's key, the lower one first. */
#ifndef BPFWALL_ENDS_H
#define BPFWALL_ENDS_H

/* < 0, 0 or > 0, in any fixed order. */
static __always_inline int compare_ends(const struct fw_pkt *pkt, __u32 sport, __u32 dport)
{
	int i;

	for (i = 0; i < 4; i++)
		if (pkt->saddr[i] != pkt->daddr[i])
			return pkt->saddr[i] < pkt->daddr[i] ? -1 : 1;
	return (int)sport - (int)dport;
}

/* Fills what all protocols have in their keys. */
static __always_inline void set_ends(struct ct_key *k, const struct fw_pkt *pkt, __u32 sport, __u32 dport, int low_src)
{
	__builtin_memcpy(k->lo_addr, low_src ? pkt->saddr : pkt->daddr, 16);
	__builtin_memcpy(k->hi_addr, low_src ? pkt->daddr : pkt->saddr, 16);
	k->lo_port = low_src ? sport : dport;
	k->hi_port = low_src ? dport : sport;
	k->family = pkt->family;
	k->proto = pkt->proto;
	k->kind = 0;
	k->pad = 0;
}

#endif
