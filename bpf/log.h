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
	e->generation = cfg_generation;
	__builtin_memcpy(&e->pkt, pkt, sizeof(*pkt));
	bpf_ringbuf_submit(e, 0);
	return 0;
}

#endif
