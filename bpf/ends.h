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

/*
 * Fills what all protocols have in their keys. Whoever takes the key reads it in words: what is written in smaller parts has to be on its way
 * to memory before.
 */
static __always_inline void set_ends(struct ct_key *k, const struct fw_pkt *pkt, __u32 sport, __u32 dport, int low_src)
{
	__u64 ports = low_src ? (__u16)sport | (__u64)(__u16)dport << 16 : (__u16)dport | (__u64)(__u16)sport << 16;

	__builtin_memcpy(k->lo_addr, low_src ? pkt->saddr : pkt->daddr, 16);
	__builtin_memcpy(k->hi_addr, low_src ? pkt->daddr : pkt->saddr, 16);
	*(__u64 *)&k->lo_port = ports | (__u64)pkt->family << 32 | (__u64)pkt->proto << 40;
}

#endif
