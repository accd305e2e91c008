/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Lists of addresses with the times of their last packets, as xt_recent.c has them. All lists are in one LRU map: addresses that nobody
 * asked for longest make room for new ones. The times of an address are a ring; what is asked is whether the n-th last one is long ago.
 */
#ifndef BPFWALL_RECENT_H
#define BPFWALL_RECENT_H

volatile const __u32 cfg_recent_mask = RECENT_STAMPS - 1; /* times of an address, less one: a power of two, less one */

/* User space sets the sizes, of the values too: they have as many times as cfg_recent_mask says. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1);
	__type(key, struct recent_key);
	__type(value, struct recent_entry);
} recents SEC(".maps");

/* Where a new value is put together. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct recent_entry);
} recent_fresh SEC(".maps");

static __always_inline __u64 *recent_stamp(struct recent_entry *e, __u64 n) { return (__u64 *)(e->stamps + (n & cfg_recent_mask)); }

/* The packet is noted. */
static __always_inline void recent_note(struct recent_entry *e, __u8 ttl, __u64 now)
{
	*recent_stamp(e, count_up(&e->count)) = now;
	e->ttl = ttl;
}

static __always_inline void recent_set(struct recent_entry *e, const struct recent_key *key, __u8 ttl, __u64 now)
{
	struct recent_entry *fresh;
	__u32 zero = 0;

	if (!e) {
		fresh = bpf_map_lookup_elem(&recent_fresh, &zero);
		if (!fresh)
			return;
		fresh->count = 1;
		fresh->ttl = ttl;
		*recent_stamp(fresh, 0) = now;
		if (!bpf_map_update_elem(&recents, key, fresh, BPF_NOEXIST))
			return;
		e = bpf_map_lookup_elem(&recents, key); /* another CPU was first */
	}
	if (e)
		recent_note(e, ttl, now);
}

/* Were so many packets noted in the time that is asked for? */
static __always_inline int recent_hit(struct recent_entry *e, const struct recent *r, __u64 now)
{
	__u64 count = e->count;

	if (count < r->hits)
		return 0;
	return !r->within || *recent_stamp(e, count - r->hits) + r->within >= now;
}

static __always_inline void recent_key(struct recent_key *key, const struct fw_pkt *pkt, const struct recent *r)
{
	key->id = r->id;
	key->family = pkt->family;
	address_prefix(key->addr, r->flags & RECENT_DEST ? pkt->daddr : pkt->saddr, pkt->family == 4 ? r->ipv4 : r->ipv6);
}

/* Asks a list, and changes it. Reports 1 if the match holds, before negation. */
__noinline int fw_recent(struct fw_pkt *pkt, const struct recent *r)
{
	__u64 now = bpf_ktime_get_ns();
	struct recent_key key = {};
	struct recent_entry *e;
	__u8 ttl;
	int hit;

	if (!pkt || !r)
		return 0;
	recent_key(&key, pkt, r);
	ttl = pkt->ttl + (pkt->hook == FW_HOOK_FORWARD); /* as it was before it was forwarded */
	e = bpf_map_lookup_elem(&recents, &key);
	if (e && r->flags & RECENT_TTL && e->ttl && ttl && e->ttl != ttl)
		e = NULL;
	if (r->op == RECENT_SET) {
		if (!cfg_dry)
			recent_set(e, &key, ttl, now);
		return 1;
	}
	if (!e)
		return 0;
	hit = r->op == RECENT_REMOVE || recent_hit(e, r, now);
	if (cfg_dry)
		return hit;
	if (r->op == RECENT_UPDATE && hit != !!(r->flags & RECENT_NOT))
		recent_note(e, ttl, now);
	else if (r->op == RECENT_REMOVE || (r->flags & RECENT_REAP && *recent_stamp(e, e->count - 1) + r->within < now))
		bpf_map_delete_elem(&recents, &key);
	return hit;
}

#endif
