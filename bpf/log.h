/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Log events: bounded by a rate and by the ring buffer, counted when they cannot be had, never waited for. */
#ifndef BPFWALL_LOG_H
#define BPFWALL_LOG_H

static __always_inline int log_allowed(void)
{
	__u32 zero = 0;
	struct fw_bucket *b = bpf_map_lookup_elem(&log_rate, &zero);

	return !b || !cfg_log_rate || bucket_take(b, cfg_log_rate, cfg_log_burst);
}

/* Reports a packet under the number of a log statement. The result means nothing; generated code ignores it. */
__noinline int fw_log(struct fw_pkt *pkt, __u32 log_id)
{
	struct fw_event *e;

	if (!pkt || cfg_dry)
		return 0;
	if (!log_allowed()) {
		count(FW_STAT_EVENTS_SUPPRESSED);
		return 0;
	}
	e = bpf_ringbuf_reserve(&events, sizeof(*e), 0);
	if (!e) {
		count(FW_STAT_EVENTS_LOST);
		return 0;
	}
	e->ts = bpf_ktime_get_boot_ns();
	e->log_id = log_id;
	e->generation = own_generation;
	__builtin_memcpy(&e->pkt, pkt, sizeof(*pkt));
	bpf_ringbuf_submit(e, 0);
	return 0;
}

/* When each enum fw_notice, from 0 on, was last given: bpf_ktime_get_boot_ns. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2);
	__type(key, enum fw_notice);
	__type(value, __u64);
} notices SEC(".maps");

/* Reports a packet that something has happened with which is no rule's doing, once a second at most. */
static __always_inline void notice(struct fw_pkt *pkt, enum fw_notice what)
{
	__u32 key = what - FW_NOTICE_SOURCE_FULL;
	__u64 now = bpf_ktime_get_boot_ns(), was, *last = bpf_map_lookup_elem(&notices, &key);

	if (!last)
		return;
	was = *last;
	if ((!was || now - was >= 1000000000ULL) && replace_if(last, was, now) == was)
		fw_log(pkt, what);
}

#endif
