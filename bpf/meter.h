/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Token buckets of keys: of each source, network, port and so on that a rule tells apart. All of them are in one LRU map, so that
 * a flood of made-up sources pushes out those that nobody asks for, and needs no more memory. The map has no lock that an entry could
 * be changed under, so a bucket is one word: the time at which it is full again.
 */
#ifndef BPFWALL_METER_H
#define BPFWALL_METER_H

#define METER_TRIES 16 /* changes by other CPUs that are waited for */

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1); /* user space sets the size */
	__type(key, struct meter_key);
	__type(value, struct meter_state);
} meters SEC(".maps");

/* The first bits of an address; they are at most as many as there are. */
static __always_inline void address_prefix(__be32 *to, const __be32 *addr, __u32 bits)
{
	int i;

	for (i = 0; i < 4; i++) {
		if (bits >= 32)
			to[i] = addr[i];
		else
			to[i] = bits ? addr[i] & bpf_htonl(~0U << (32 - (bits & 31))) : 0;
		bits = bits > 32 ? bits - 32 : 0;
	}
}

static __always_inline void meter_key(struct meter_key *key, const struct fw_pkt *pkt, const struct meter *m)
{
	key->id = m->id;
	if (m->parts & (METER_SOURCE | METER_DEST))
		key->family = pkt->family;
	if (m->parts & METER_SOURCE)
		address_prefix(key->saddr, pkt->saddr, pkt->family == 4 ? m->source_ipv4 : m->source_ipv6);
	if (m->parts & METER_DEST)
		address_prefix(key->daddr, pkt->daddr, pkt->family == 4 ? m->dest_ipv4 : m->dest_ipv6);
	if (m->parts & METER_SOURCE_PORT)
		key->sport = pkt->sport & FW_ABSENT16 ? 0 : pkt->sport;
	if (m->parts & METER_DEST_PORT)
		key->dport = pkt->dport & FW_ABSENT16 ? 0 : pkt->dport;
}

/* Takes cost from a bucket that holds max. Reports 1 if it has as much. */
static __always_inline int meter_take(struct meter_state *s, const struct meter *m, __u64 cost, __u64 now)
{
	int i, ok = 0;

	for (i = 0; i < METER_TRIES; i++) {
		__u64 was = *(volatile __u64 *)&s->full, full = was;

		if (full < now || (m->idle && now - s->last >= m->idle && now > s->last))
			full = now;
		if (full > now + m->max)
			full = now + m->max; /* it held more when the rule had another rate */
		ok = full + cost <= now + m->max;
		if (!ok || cfg_dry || replace_if(&s->full, was, full + cost) == was)
			break;
	}
	if (!cfg_dry)
		s->last = now;
	return ok && i < METER_TRIES;
}

/* Reports 1 if the bucket of the packet's key has a packet's tokens, which it takes. */
__noinline int fw_meter(struct fw_pkt *pkt, const struct meter *m)
{
	__u64 now = bpf_ktime_get_ns(), cost;
	struct meter_key key = {};
	struct meter_state fresh = {}, *s;

	if (!pkt || !m)
		return 0;
	cost = m->bytes ? m->cost * pkt->length / m->bytes : m->cost;
	meter_key(&key, pkt, m);
	s = bpf_map_lookup_elem(&meters, &key);
	if (!s) {
		fresh.full = fresh.last = now;
		if (cfg_dry)
			return cost <= m->max;
		bpf_map_update_elem(&meters, &key, &fresh, BPF_NOEXIST);
		s = bpf_map_lookup_elem(&meters, &key);
	}
	return s ? meter_take(s, m, cost, now) : cost <= m->max;
}

#endif
