//go:build ignore
/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Clears away assured flows that are over: newcomers push nothing out of their map, so a timer has to make room. */
#include <linux/types.h>
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>
#include "fw.h"
#include "work_queue.h"

#define CLOCK_BOOTTIME 7

volatile const __u64 period = 10000000000ULL; /* ns */

/* As in maps.h; user space puts the pinned one in its place. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 262144);
	__type(key, struct ct_key);
	__type(value, struct ct_assured);
} ct SEC(".maps");

struct fw_reaper {
	struct bpf_timer timer;
	struct bpf_wq work;
	__u64 runs;
	__u64 reaped;
	__u64 took;	/* ns, of the last run */
};

/* The timer lives as long as the pin of this map does. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct fw_reaper);
} reaper SEC(".maps");

struct visit {
	__u64 now;
	__u64 reaped;
};

static long reap(void *map, struct ct_key *key, struct ct_assured *a, struct visit *v)
{
	if (a->flow.expires <= v->now && !bpf_map_delete_elem(map, key))
		v->reaped++;
	return 0;
}

static __always_inline int reap_all(struct fw_reaper *r)
{
	struct visit v = { .now = bpf_ktime_get_boot_ns() };

	bpf_for_each_map_elem(&ct, reap, &v, 0);
	r->runs++;
	r->reaped += v.reaped;
	r->took = bpf_ktime_get_boot_ns() - v.now;
	bpf_timer_start(&r->timer, period, 0);
	return 0;
}

/* In a kernel thread, where it holds nobody up. */
static int work(void *map, int *key, void *value)
{
	return reap_all(value);
}

/* In a soft interrupt: passes the work on if the kernel can. */
static int tick(void *map, __u32 *key, struct fw_reaper *r)
{
	if (!in_thread)
		return reap_all(r);
	bpf_wq_start(&r->work, 0);
	return 0;
}

/* User space runs it once. */
SEC("tc")
int reaper_start(struct __sk_buff *skb)
{
	__u32 zero = 0;
	struct fw_reaper *r = bpf_map_lookup_elem(&reaper, &zero);

	if (!r)
		return 1;
	if (in_thread && prepare_work(&r->work, &reaper, work))
		return 2;
	bpf_timer_init(&r->timer, &reaper, CLOCK_BOOTTIME);
	bpf_timer_set_callback(&r->timer, tick);
	return bpf_timer_start(&r->timer, period, 0);
}

char _license[] SEC("license") = "GPL";
