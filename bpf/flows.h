/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Limits of flows that rules set, as xt_connlimit does: of the places of a key (conncount.h) a flow has the first that is free behind the
 * one that its ends hash to. Whoever finds none is beyond the limit, and has the place with the limit's number, so that all can see that
 * there is one. A flow of TCP that is closing, and one whose first packet is not accepted, leaves its place.
 */
#ifndef BPFWALL_FLOWS_H
#define BPFWALL_FLOWS_H

#define FLOWS_MAX	65536		/* as ruleset.MaxFlowsOfKey */
#define FLOWS_REST	1000ULL		/* ns for each place, in which a key whose places are taken is not looked at for another flow */

static const struct flows no_flows;

/* taken was read before the tables: a flow that had begun was in them. */
static __always_inline int is_open(struct conncount_place *p, __u64 taken, __u64 now)
{
	struct ct_flow *f = taken & PLACE_CHANGES ? NULL : flow_in(p);

	if (!f)
		return !(taken & PLACE_BEGUN) && is_young(taken, now);
	if (p->flow.proto == IPPROTO_TCP && (f->tcp_state == CT_TIME_WAIT || f->tcp_state == CT_CLOSE))
		return 0; /* nf_conncount.c, already_closed */
	return f->expires > now;
}

/* The same of a place as it is now; there may be none. */
static __always_inline int is_held(struct conncount_place *p, __u64 now)
{
	return p && is_open(p, *(volatile __u64 *)&p->taken, now);
}

struct flows_scan {
	struct ct_work *w;	/* place_key and place: of the packet's flow */
	__u64 now;
	__u32 at, limit;
	__u32 mine, free;	/* 1: found */
};

static __always_inline void flows_next(struct flows_scan *s)
{
	s->w->place_key.place = s->at;
	s->at = s->at + 1 < s->limit ? s->at + 1 : 0;
}

static long flows_take(__u32 i, struct flows_scan *s)
{
	flows_next(s);
	if (!take_place(s->w, s->now, is_open))
		return 0;
	s->mine = 1;
	return 1;
}

static __always_inline int is_mine(const struct ct_work *w, const struct conncount_place *p)
{
	const __u32 *a = (const void *)&p->flow, *b = (const void *)&w->key;
	__u32 differ = 0;
	int i;

	for (i = 0; i < sizeof(w->key) / 4; i++)
		differ |= a[i] ^ b[i];
	return !differ && p->created == w->place.created;
}

/* Finds the place of the packet's flow, or whether one is free. */
static long flows_find(__u32 i, struct flows_scan *s)
{
	struct conncount_place *p;

	flows_next(s);
	p = bpf_map_lookup_elem(&conncount_places, &s->w->place_key);
	if (p && is_mine(s->w, p)) {
		s->mine = 1;
		return 1;
	}
	if (!is_held(p, s->now))
		s->free = 1;
	return 0;
}

static long flows_free(__u32 i, struct flows_scan *s)
{
	struct conncount_place *p;

	flows_next(s);
	p = bpf_map_lookup_elem(&conncount_places, &s->w->place_key);
	if (is_held(p, s->now))
		return 0;
	s->free = 1;
	return 1;
}

/* Takes the place of those beyond the limit, if nobody has it. Reports 1 if it did. */
static __always_inline int flows_beyond(struct flows_scan *s)
{
	s->w->place_key.place = s->limit;
	return take_place(s->w, s->now, is_open);
}

static __always_inline int is_beyond(struct flows_scan *s)
{
	struct conncount_place *p;

	s->w->place_key.place = s->limit;
	p = bpf_map_lookup_elem(&conncount_places, &s->w->place_key);
	return is_held(p, s->now);
}

/* The first packet of a flow: what it takes it gives back unless it is accepted. */
static __always_inline int flows_first(struct flows_scan *s)
{
	struct ct_work *w = s->w;
	struct conncount *c = bpf_map_lookup_elem(&conncounts, &w->place_key.key);
	struct conncount rest = { .rest = s->now + FLOWS_REST * s->limit };
	__u32 n = w->taken;

	if (c && c->rest > s->now)
		return 0;
	bpf_loop(s->limit, flows_take, s, 0);
	if (!s->mine) {
		bpf_map_update_elem(&conncounts, &w->place_key.key, &rest, BPF_ANY);
		if (!flows_beyond(s))
			return 0;
	}
	if (n < FLOWS_TAKEN) {
		w->places[n & (FLOWS_TAKEN - 1)] = w->place_key;
		w->taken = n + 1;
	}
	return s->mine;
}

/* A later packet of a flow. */
static __always_inline int flows_later(struct flows_scan *s)
{
	__u32 home = s->at;

	bpf_loop(s->limit, flows_find, s, 0);
	if (s->mine && !is_beyond(s))
		return 1;
	if (s->mine) {
		bpf_loop(s->limit, flows_free, s, 0);
		return s->free;
	}
	s->at = home;
	if (s->free)
		bpf_loop(s->limit, flows_take, s, 0);
	if (!s->mine)
		flows_beyond(s);
	return s->mine;
}

/* When the packet's flow began; 0 if it has none. */
static __always_inline __u64 flow_born(struct ct_work *w, const struct fw_pkt *pkt)
{
	struct ct_assured *a;
	struct ct_flow *f;

	if (w->op == CT_OP_CREATE)
		return w->flow.created;
	if (!(pkt->ct_state & (FW_STATE_NEW | FW_STATE_ESTABLISHED)) || pkt->frag)
		return 0;
	make_key(w, pkt);
	a = bpf_map_lookup_elem(&ct, &w->key);
	f = a ? &a->flow : bpf_map_lookup_elem(&ct_new, &w->key);
	return f ? f->created : 0;
}

/* The place that the packet's flow looks at first. */
static __always_inline __u32 flows_home(const struct ct_key *k, __u32 limit)
{
	__u32 h = k->lo_port * 2654435761U ^ k->hi_port * 2246822519U ^ k->lo_addr[0] ^ k->lo_addr[3] ^ k->hi_addr[0] ^ k->hi_addr[3];

	return (h ^ h >> 16) % limit;
}

/* Reports 1 if the packet's key has no more flows than it may, the packet's included. */
__noinline int fw_flows(struct fw_pkt *pkt, const struct flows *f)
{
	struct flows_scan s = { .w = ct_work(), .now = bpf_ktime_get_boot_ns() };
	struct ct_work *w = s.w;

	if (!pkt || !w || !f || !f->limit)
		return 0;
	s.limit = f->limit < FLOWS_MAX ? f->limit : FLOWS_MAX;
	__builtin_memset(&w->place_key, 0, sizeof(w->place_key));
	w->place_key.key.what = f->id;
	w->place_key.key.family = pkt->family;
	address_prefix(w->place_key.key.addr, f->dest ? pkt->daddr : pkt->saddr, pkt->family == 4 ? f->ipv4 : f->ipv6);
	w->place.created = flow_born(w, pkt);
	w->place.taken = (s.now & ~(__u64)PLACE_BITS) | (w->op != CT_OP_CREATE ? PLACE_BEGUN : 0);
	w->place.flow = w->key;
	s.at = flows_home(&w->key, s.limit);
	if (w->place.created && !cfg_dry)
		return w->op == CT_OP_CREATE ? flows_first(&s) : flows_later(&s);
	bpf_loop(s.limit, flows_free, &s, 0);
	return s.free;
}

/* For tests and explain, which track nothing: a packet in state NEW begins a flow if it is accepted. */
__noinline int fw_expect(struct fw_pkt *pkt)
{
	struct ct_work *w = ct_work();

	if (!pkt || !w)
		return 0;
	w->op = CT_OP_NONE;
	w->taken = 0;
	if (pkt->ct_state != FW_STATE_NEW || flow_born(w, pkt))
		return 0;
	__builtin_memset(&w->flow, 0, sizeof(w->flow));
	w->flow.created = bpf_ktime_get_boot_ns();
	w->flow.expires = w->flow.created + 3600 * SECOND;
	w->op = CT_OP_CREATE;
	return 0;
}

#endif
