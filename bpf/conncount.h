/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * How many flows a key has at the same time, for limits of them. A key has as many numbered places as it may have flows, and each
 * place names the flow that is in it. Nothing has to be counted down when a flow ends, is pushed out or is forgotten: a place whose
 * flow is no longer in the tables is free. A key never has more flows than places, as long as no more flows were new meanwhile than
 * conncount_places has entries.
 */
#ifndef BPFWALL_CONNCOUNT_H
#define BPFWALL_CONNCOUNT_H

#define CONNCOUNT_SCAN	1024		/* places that are looked at for a packet */
#define CONNCOUNT_REST	10000000ULL	/* ns in which a key whose places are taken is not looked at again */
#define CONNCOUNT_YOUNG	10000000ULL	/* ns in which the flow of a place may not be in the tables yet */

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1); /* user space sets the size */
	__type(key, struct conncount_key);
	__type(value, struct conncount);
} conncounts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1);
	__type(key, struct conncount_place_key);
	__type(value, struct conncount_place);
} conncount_places SEC(".maps");

struct conncount_scan {
	struct ct_work *w;	/* place_key and place: what is to be taken */
	__u64 now;
	__u32 at, limit;
	__u32 found;
};

/* The flow of a place, if it is in the tables. */
static __always_inline struct ct_flow *flow_in(struct conncount_place *p)
{
	struct ct_assured *a = bpf_map_lookup_elem(&ct, &p->flow);
	struct ct_flow *f = a ? &a->flow : bpf_map_lookup_elem(&ct_new, &p->flow);

	return f && f->created == p->created ? f : NULL;
}

/* taken: of the place, read before anything else of it. */
static __always_inline int is_young(__u64 taken, __u64 now) { return now < taken + CONNCOUNT_YOUNG; }

static __always_inline int is_taken(struct conncount_place *p, __u64 taken, __u64 now)
{
	struct ct_flow *f = flow_in(p);

	return f ? f->expires > now : is_young(taken, now);
}

/*
 * Takes a place if it is free. Reports 1 if it did. It stays where it is in memory: another CPU may be reading it, and would read of another
 * place there.
 */
static __always_inline int take_place(struct ct_work *w, __u64 now, int (*is_taken)(struct conncount_place *, __u64, __u64))
{
	struct conncount_place *p = bpf_map_lookup_elem(&conncount_places, &w->place_key);
	__u64 was;

	if (!p)
		return !bpf_map_update_elem(&conncount_places, &w->place_key, &w->place, BPF_NOEXIST);
	was = *(volatile __u64 *)&p->taken;
	if (was & PLACE_CHANGES ? is_young(was, now) : is_taken(p, was, now))
		return 0;
	if (__sync_val_compare_and_swap(&p->taken, was, w->place.taken | PLACE_CHANGES) != was)
		return 0; /* another CPU was first */
	p->created = w->place.created;
	p->flow = w->place.flow;
	__sync_lock_test_and_set(&p->taken, w->place.taken);
	return 1;
}

static long conncount_try(__u32 i, struct conncount_scan *s)
{
	s->w->place_key.place = s->at;
	s->at = s->at + 1 < s->limit ? s->at + 1 : 0;
	s->found = take_place(s->w, s->now, is_taken);
	return s->found;
}

/* Gives the flow of w, which is about to begin, a place of key. Reports 0 if all of them are taken. */
static __always_inline int conncount_add(struct ct_work *w, const struct conncount_key *key, __u32 limit, __u64 now)
{
	struct conncount_scan s = { .w = w, .now = now, .limit = limit };
	struct conncount *c = bpf_map_lookup_elem(&conncounts, key);
	struct conncount fresh = {};

	if (c && c->rest > now)
		return 0;
	w->place_key.key = *key;
	w->place.created = w->flow.created;
	w->place.taken = bpf_ktime_get_boot_ns() & ~(__u64)PLACE_BITS;
	w->place.flow = w->key;
	if (c)
		s.at = c->next < limit ? c->next : 0;
	bpf_loop(limit < CONNCOUNT_SCAN ? limit : CONNCOUNT_SCAN, conncount_try, &s, 0);
	fresh.next = s.at;
	fresh.rest = s.found ? 0 : now + CONNCOUNT_REST;
	if (c)
		*c = fresh;
	else
		bpf_map_update_elem(&conncounts, key, &fresh, BPF_ANY);
	return s.found;
}

/* The flow did not begin after all. */
static __always_inline void conncount_undo(struct ct_work *w) { bpf_map_delete_elem(&conncount_places, &w->place_key); }

/* Has a received packet's source as many flows as a source may have? If not, the packet's flow is counted. */
static __always_inline int source_is_full(struct ct_work *w, const struct fw_pkt *pkt, __u64 now)
{
	struct conncount_key key = { .what = CONNCOUNT_SOURCE, .family = pkt->family };

	address_prefix(key.addr, pkt->saddr, pkt->family == 4 ? cfg_source_ipv4 : cfg_source_ipv6);
	return !conncount_add(w, &key, cfg_ct_per_source, now);
}

#endif
