/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Room in the map of assured flows without anybody's help: who finds it full deletes flows that are over. At most once in
 * SWEEP_EVERY, and not more than SWEEP_MAX flows at a time, so that a packet is not held up for long.
 */
#ifndef BPFWALL_CT_SWEEP_H
#define BPFWALL_CT_SWEEP_H

#define SWEEP_EVERY (5 * SECOND)
#define SWEEP_MAX 4096

struct sweep {
	__u64 now;		/* of the last one, bpf_ktime_get_boot_ns */
	__u64 deleted;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct sweep);
} ct_swept SEC(".maps");

/* The sweep is reached through the stack: what the verifier knows the value of, it would count all the way up. */
static long sweep_one(void *map, struct ct_key *key, struct ct_assured *a, struct sweep **s)
{
	if (a->flow.expires > (*s)->now)
		return 0;
	bpf_map_delete_elem(&ct, key);
	(*s)->deleted++;
	return (*s)->deleted >= SWEEP_MAX;
}

/* Whether this CPU is to sweep now: one in SWEEP_EVERY is. */
static __always_inline int sweep_is_due(struct sweep *s, __u64 now)
{
	__u64 then = *(volatile __u64 *)&s->now;

	return (!then || now - then >= SWEEP_EVERY) && __sync_bool_compare_and_swap(&s->now, then, now);
}

/* Reports how many flows were deleted. */
static __always_inline __u64 sweep_expired(void)
{
	__u32 zero = 0;
	struct sweep *s = bpf_map_lookup_elem(&ct_swept, &zero);

	if (!s || !sweep_is_due(s, bpf_ktime_get_boot_ns()))
		return 0;
	s->deleted = 0;
	bpf_for_each_map_elem(&ct, sweep_one, &s, 0);
	return s->deleted;
}

#endif
