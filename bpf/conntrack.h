/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Connection tracking in two maps: ct_new for flows that anybody can make up, ct for those that have proved to be answered.
 * fw_track gives a packet its state and moves the flow on, once a packet and direction, by the hook that decides; fw_confirm
 * makes the entry of a first packet after it was accepted.
 *
 * An entry of ct_new is copied, changed and put back: an LRU map may have given its memory to another flow meanwhile. Those of ct
 * have a lock. Only what most packets change, and what would do another flow no harm, is changed in place without: renew().
 * Times are bpf_ktime_get_boot_ns: a host that slept has lost its idle flows, as their other ends have.
 */
#ifndef BPFWALL_CONNTRACK_H
#define BPFWALL_CONNTRACK_H

enum ct_op { CT_OP_NONE, CT_OP_CREATE };

#define SECOND 1000000000ULL

static __always_inline struct ct_work *ct_work(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&ct_scratch, &zero);
}

/*
 * The time, at most a jiffy old, which is how nf_conntrack measures: where packets come fast, they share one look at the clock, which costs
 * more than all of a window's checks.
 */
static __always_inline __u64 clock(struct ct_work *w)
{
	__u64 tick = bpf_jiffies64();

	if (w->tick != tick) {
		w->tick = tick;
		w->now = bpf_ktime_get_boot_ns();
	}
	return w->now;
}

/* Seconds that a flow without TCP states lives on. UDP that is assured has been a stream, which saves a look at when it began. */
static __always_inline __u32 plain_timeout(const struct ct_flow *f, const struct fw_pkt *pkt, __u64 now)
{
	int replied = f->flags & CT_FLOW_SEEN_REPLY;

	switch (pkt->proto) {
	case IPPROTO_UDP: case IPPROTO_UDPLITE:
		replied = replied && (f->flags & CT_FLOW_ASSURED || now > f->created + 2 * SECOND);
		return seconds(replied ? CT_TIME_UDP_STREAM : CT_TIME_UDP);
	case IPPROTO_GRE:
		return seconds(replied ? CT_TIME_GRE_STREAM : CT_TIME_GRE);
	case IPPROTO_ICMP: case IPPROTO_ICMPV6:
		return seconds(CT_TIME_ICMP);
	}
	return seconds(CT_TIME_GENERIC);
}

/* UDP becomes assured as a stream, two seconds old; GRE once answered; ICMP and the others never. */
static __always_inline int plain_assured(const struct ct_flow *f, const struct fw_pkt *pkt, __u64 now)
{
	if (!(f->flags & CT_FLOW_SEEN_REPLY))
		return 0;
	if (pkt->proto == IPPROTO_UDP || pkt->proto == IPPROTO_UDPLITE)
		return now > f->created + 2 * SECOND;
	return pkt->proto == IPPROTO_GRE;
}

/* Without states of their own. */
static __always_inline int is_plain(const struct fw_pkt *pkt) { return pkt->proto != IPPROTO_TCP && pkt->proto != IPPROTO_SCTP; }

/*
 * Whether a packet of a flow without states moves nothing but its numbers, which renew() does: it is not the first answer, and the flow does
 * not become assured by it.
 */
static __always_inline int only_renews(const struct ct_flow *f, const struct fw_pkt *pkt, __u8 dir, __u64 now)
{
	return is_plain(pkt) && (!dir || (f->flags & CT_FLOW_SEEN_REPLY)) && !plain_assured(f, pkt, now);
}

/*
 * The flow goes on: moves its end, and counts. Sets the packet's state. Where the entry is another flow's by now, that one's end stays, and its
 * counts are off; two CPUs that count at the same time may count one packet: a lock would cost more than all else that is done here.
 */
static __always_inline void renew(struct ct_flow *f, struct fw_pkt *pkt, __u8 dir, __u64 now)
{
	__u64 before = f->expires, then = now + plain_timeout(f, pkt, now) * SECOND;

	pkt->ct_state = dir || (f->flags & CT_FLOW_SEEN_REPLY) ? FW_STATE_ESTABLISHED : FW_STATE_NEW;
	if (before != then)
		replace_if(&f->expires, before, then);
	f->packets[dir & 1]++;
	f->bytes[dir & 1] += pkt->length;
}

static __always_inline enum ct_result plain_packet(struct ct_flow *f, const struct fw_pkt *pkt, __u64 now)
{
	if (plain_assured(f, pkt, now))
		f->flags |= CT_FLOW_ASSURED;
	f->expires = now + plain_timeout(f, pkt, now) * SECOND;
	return CT_OK;
}

static __always_inline enum ct_result protocol_packet(struct ct_work *w, struct ct_flow *f, struct fw_pkt *pkt, __u64 now)
{
	switch (pkt->proto) {
	case IPPROTO_TCP:
		return tcp_packet(f, pkt, &w->segment, w->dir, now);
	case IPPROTO_SCTP:
		return sctp_packet(f, pkt, w->dir, now, 0);
	}
	return plain_packet(f, pkt, now);
}

/* Moves a flow on by one packet. Sets the packet's state. No helper calls: the caller may hold a lock. */
static __always_inline enum ct_result move_flow(struct ct_work *w, struct ct_flow *f, struct fw_pkt *pkt, __u64 now)
{
	__u8 dir = w->dir;
	enum ct_result rc;

	pkt->ct_state = dir || (f->flags & CT_FLOW_SEEN_REPLY) ? FW_STATE_ESTABLISHED : FW_STATE_NEW;
	rc = protocol_packet(w, f, pkt, now);
	if (rc == CT_INVALID) {
		pkt->ct_state = FW_STATE_INVALID;
		return rc;
	}
	if (dir)
		f->flags |= CT_FLOW_SEEN_REPLY;
	if (rc == CT_IGNORE)
		return rc; /* netfilter does not count it either */
	f->packets[dir & 1]++;
	f->bytes[dir & 1] += pkt->length;
	return rc;
}

/* Reports CT_RESTART if there is no such flow, or one that is over. */
static __always_inline enum ct_result track_assured(struct ct_work *w, struct fw_pkt *pkt, __u64 now)
{
	struct ct_assured *a = bpf_map_lookup_elem(&ct, &w->key);
	enum ct_result rc = CT_RESTART;

	if (!a)
		return CT_RESTART;
	w->dir = track_dir(w, &a->flow);
	if (is_plain(pkt) && a->flow.expires > now) { /* it has been answered: nothing else can change */
		renew(&a->flow, pkt, w->dir, now);
		return CT_OK;
	}
	bpf_spin_lock(&a->lock);
	if (a->flow.expires > now)
		rc = move_flow(w, &a->flow, pkt, now);
	bpf_spin_unlock(&a->lock);
	if (rc == CT_RESTART || rc == CT_KILL)
		bpf_map_delete_elem(&ct, &w->key);
	return rc;
}

/* Moves a flow that has become assured into the map of those. If that is full, the flow goes on where it is. */
static __always_inline int promote(struct ct_work *w, struct fw_pkt *pkt)
{
	w->lock = 0;
	if (bpf_map_update_elem(&ct, &w->key, &w->lock, BPF_NOEXIST)) {
		if (!(w->flow.flags & CT_FLOW_FULL))
			count(FW_STAT_CT_FULL);
		notice(pkt, FW_NOTICE_CT_FULL);
		w->flow.flags |= CT_FLOW_FULL;
		return 0;
	}
	bpf_map_delete_elem(&ct_new, &w->key);
	return 1;
}

static __always_inline enum ct_result track_half_open(struct ct_work *w, struct fw_pkt *pkt, __u64 now)
{
	struct ct_flow *f = bpf_map_lookup_elem(&ct_new, &w->key);
	enum ct_result rc;

	if (!f)
		return CT_RESTART;
	w->dir = track_dir(w, f);
	if (f->expires > now && only_renews(f, pkt, w->dir, now)) {
		renew(f, pkt, w->dir, now);
		return CT_OK;
	}
	w->flow = *f;
	w->dir = track_dir(w, &w->flow);
	rc = w->flow.expires > now ? move_flow(w, &w->flow, pkt, now) : CT_RESTART;
	if (rc == CT_RESTART || rc == CT_KILL)
		bpf_map_delete_elem(&ct_new, &w->key);
	else if (!(w->flow.flags & CT_FLOW_ASSURED) || !promote(w, pkt))
		bpf_map_update_elem(&ct_new, &w->key, &w->flow, BPF_EXIST);
	return rc;
}

/* A packet without a flow: prepares the entry, which fw_confirm makes. */
static __always_inline void track_first(struct ct_work *w, struct fw_pkt *pkt, __u64 now)
{
	struct ct_flow *f = &w->flow;

	__builtin_memset(f, 0, sizeof(*f));
	pkt->ct_state = FW_STATE_INVALID;
	if (is_icmp(pkt) && icmp_role(pkt) != ICMP_REQUEST)
		return;
	if (pkt->proto == IPPROTO_TCP && !tcp_open(f, pkt, &w->segment))
		return;
	if (pkt->proto == IPPROTO_SCTP && !sctp_open(f, pkt, now))
		return;
	f->low_is_orig = w->low_src;
	f->created = now;
	f->packets[0] = 1;
	f->bytes[0] = pkt->length;
	if (pkt->proto == IPPROTO_TCP)
		f->expires = now + tcp_lone_timeout(f, f->last_index) * SECOND;
	else if (pkt->proto != IPPROTO_SCTP)
		f->expires = now + plain_timeout(f, pkt, now) * SECOND;
	pkt->ct_state = FW_STATE_NEW;
	w->op = CT_OP_CREATE;
}

/* What no flow can have. */
static __always_inline int untrackable(const struct fw_pkt *pkt)
{
	if (pkt->malformed && pkt->proto != IPPROTO_DCCP)
		return 1;
	if (pkt->proto == IPPROTO_GRE)
		return pkt->seq;
	if (pkt->proto == IPPROTO_TCP)
		return !tcp_flags_valid(pkt->tcp_flags);
	if (is_icmp(pkt))
		return icmp_role(pkt) == ICMP_NONE;
	if (pkt->proto == IPPROTO_ICMP || pkt->proto == IPPROTO_ICMPV6) /* of the other family */
		return 1;
	return pkt->family == 6 && pkt->proto == IPPROTO_NONE;
}

/* Sets pkt->ct_state and moves the packet's flow on. bad: the checksum is wrong. */
static __always_inline int track_packet(struct __sk_buff *skb, struct fw_pkt *pkt, __u32 bad)
{
	struct ct_work *w = ct_work();
	enum ct_result rc;
	__u64 now;

	if (!pkt || !w)
		return 0;
	now = clock(w);
	w->op = CT_OP_NONE;
	w->taken = 0;
	pkt->ct_state = FW_STATE_UNTRACKED;
	if (pkt->notrack || (is_icmp(pkt) && icmp_role(pkt) == ICMP_UNTRACKED && !bad))
		return 0;
	pkt->ct_state = FW_STATE_INVALID;
	if (bad || untrackable(pkt))
		return 0;
	if (is_icmp(pkt) && icmp_role(pkt) == ICMP_ERROR)
		return is_head(skb) ? track_error(skb, pkt) : fw_track_error(skb, pkt);
	make_key(w, pkt);
	rc = track_assured(w, pkt, now);
	if (rc == CT_RESTART)
		rc = track_half_open(w, pkt, now);
	if (rc == CT_RESTART)
		track_first(w, pkt, now);
	return 0;
}

__noinline int fw_track(struct __sk_buff *skb, struct fw_pkt *pkt, __u32 bad) { return track_packet(skb, pkt, bad); }
__noinline int fw_track_head(struct fw_pkt *pkt, __u32 bad) { return track_packet(NULL, pkt, bad); }

/* The packet was not accepted: its flow, if it was to begin, gives back the places that rules gave it. */
__noinline int fw_abandon(void)
{
	struct ct_work *w = ct_work();
	int i;

	if (!w)
		return 0;
	for (i = 0; i < FLOWS_TAKEN; i++) {
		if (i < w->taken)
			bpf_map_delete_elem(&conncount_places, &w->places[i]);
	}
	w->taken = 0;
	return 0;
}

/* The flow has begun, and keeps the places that rules gave it. */
static __always_inline void keep_places(struct ct_work *w)
{
	struct conncount_place *p;
	int i;

	for (i = 0; i < FLOWS_TAKEN; i++) {
		p = i < w->taken ? bpf_map_lookup_elem(&conncount_places, &w->places[i]) : NULL;
		if (p && p->created == w->flow.created)
			__sync_fetch_and_or(&p->taken, PLACE_BEGUN);
	}
	w->taken = 0;
}

/*
 * The packet was accepted: its flow begins, if it is the first. where: CT_FLOW_LOCAL or CT_FLOW_FORWARDED. Reports 1 if it must not
 * begin, so that the packet is to be dropped.
 */
__noinline int fw_confirm(struct fw_pkt *pkt, __u32 where)
{
	struct ct_work *w = ct_work();
	int limited;

	if (!pkt || !w || w->op != CT_OP_CREATE)
		return 0;
	w->op = CT_OP_NONE;
	w->flow.flags = where;
	limited = cfg_ct_per_source && pkt->in_ifindex;
	if (limited && source_is_full(w, pkt, w->flow.created)) {
		count(FW_STAT_SOURCE_FULL);
		notice(pkt, FW_NOTICE_SOURCE_FULL);
		fw_abandon();
		return 1;
	}
	/* Another CPU may have been first, with a packet of the same flow: its entry stands. */
	if (!bpf_map_update_elem(&ct_new, &w->key, &w->flow, BPF_NOEXIST)) {
		count(FW_STAT_CT_CREATED);
		if (cfg_flows)
			keep_places(w);
		return 0;
	}
	if (limited)
		conncount_undo(w);
	fw_abandon();
	return 0;
}

#endif
