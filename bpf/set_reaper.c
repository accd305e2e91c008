//go:build ignore
/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Takes elements out of a live set whose time is over, so that they leave room for others: one of these for each set. */
#include <linux/types.h>
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>
#include "work_queue.h"

#define CLOCK_MONOTONIC 1

volatile const __u64 period = 10000000000ULL; /* ns */

/* translator.ElementKey and translator.Element */
struct set_key {
	__u8 family;
	__u8 bits;
	__u16 pad;
	__u8 addr[16];
};

struct set_element {
	__u64 expires; /* ns, bpf_ktime_get_ns; 0: never */
	__u64 added;
	__u64 packets;
	__u64 bytes;
};

/* User space puts the pinned one in its place. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct set_key);
	__type(value, struct set_element);
} elements SEC(".maps");

struct set_timer {
	struct bpf_timer timer;
	struct bpf_wq work;
	__u64 runs;
	__u64 reaped;
};

/* The timer lives as long as the pin of this map does. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct set_timer);
} set_timer SEC(".maps");

struct visit {
	__u64 now;
	__u64 reaped;
};

static long reap(void *map, struct set_key *key, struct set_element *e, struct visit *v)
{
	if (e->expires && e->expires <= v->now && !bpf_map_delete_elem(map, key))
		v->reaped++;
	return 0;
}

static __always_inline int reap_all(struct set_timer *t)
{
	struct visit v = { .now = bpf_ktime_get_ns() };

	bpf_for_each_map_elem(&elements, reap, &v, 0);
	t->runs++;
	t->reaped += v.reaped;
	bpf_timer_start(&t->timer, period, 0);
	return 0;
}

/* In a kernel thread, where it holds nobody up. */
static int work(void *map, int *key, void *value)
{
	return reap_all(value);
}

/* In a soft interrupt: passes the work on if the kernel can. */
static int tick(void *map, __u32 *key, struct set_timer *t)
{
	if (!in_thread)
		return reap_all(t);
	bpf_wq_start(&t->work, 0);
	return 0;
}

/* User space runs it once. */
SEC("tc")
int set_reaper_start(struct __sk_buff *skb)
{
	__u32 zero = 0;
	struct set_timer *t = bpf_map_lookup_elem(&set_timer, &zero);

	if (!t)
		return 1;
	if (in_thread && prepare_work(&t->work, &set_timer, work))
		return 2;
	bpf_timer_init(&t->timer, &set_timer, CLOCK_MONOTONIC);
	bpf_timer_set_callback(&t->timer, tick);
	return bpf_timer_start(&t->timer, period, 0);
}

char _license[] SEC("license") = "GPL";
