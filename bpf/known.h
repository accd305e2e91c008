/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Whether conntrack may know the flow of a datagram whose source routing has yet to choose. It only looks. */
#ifndef BPFWALL_KNOWN_H
#define BPFWALL_KNOWN_H

#include "ends.h"

static __always_inline int is_known(const struct fw_pkt *pkt, __u64 now)
{
	struct ct_assured *a;
	struct ct_flow *f;
	struct ct_key k;

	set_ends(&k, pkt, pkt->sport, pkt->dport, compare_ends(pkt, pkt->sport, pkt->dport) <= 0);
	a = bpf_map_lookup_elem(&ct, &k);
	if (a && a->flow.expires > now)
		return 1;
	f = bpf_map_lookup_elem(&ct_new, &k);
	return f && f->expires > now;
}

/* Tries every address that the source may be, if it is not said. (To one of this host, a datagram may come from that one itself.) */
__noinline int fw_may_be_known(struct fw_pkt *pkt)
{
	__u64 now = bpf_ktime_get_boot_ns();
	struct own_addr *own;
	__u32 i, key;

	if (!pkt)
		return 1;
	if (pkt->saddr[0] || pkt->saddr[1] || pkt->saddr[2] || pkt->saddr[3])
		return is_known(pkt, now);
	__builtin_memcpy(pkt->saddr, pkt->daddr, 16);
	if (is_known(pkt, now))
		return 1;
	for (i = 0; i < OWN_ADDRS; i++) {
		key = i;
		own = bpf_map_lookup_elem(&own_addrs, &key);
		if (!own || own->family == OWN_TOO_MANY)
			return 1;
		if (!own->family)
			return 0;
		if (own->family != pkt->family)
			continue;
		__builtin_memcpy(pkt->saddr, own->addr, 16);
		if (is_known(pkt, now))
			return 1;
	}
	return 1;
}

#endif
