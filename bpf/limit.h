/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Token buckets, with the arithmetic of nft_limit.c: tokens are nanoseconds that accrue with time. */
#ifndef BPFWALL_LIMIT_H
#define BPFWALL_LIMIT_H

static __always_inline int take_token(struct limit_state *limit, __u64 cost_ns, __u64 max_ns)
{
	__u64 now = bpf_ktime_get_ns(), tokens;
	int ok;

	bpf_spin_lock(&limit->lock);
	tokens = limit->last ? limit->tokens + (now - limit->last) : max_ns;
	if (tokens > max_ns)
		tokens = max_ns;
	ok = tokens >= cost_ns;
	if (!cfg_dry) {
		limit->tokens = ok ? tokens - cost_ns : tokens;
		limit->last = now;
	}
	bpf_spin_unlock(&limit->lock);
	return ok;
}

/* Reports 1 and takes cost_ns if the bucket of this slot holds as much; it never holds more than max_ns. */
__noinline int fw_limit(__u32 slot, __u64 cost_ns, __u64 max_ns)
{
	struct limit_state *limit = bpf_map_lookup_elem(&limits, &slot);

	return limit ? take_token(limit, cost_ns, max_ns) : 0;
}

/* Reports 1 for one of every so many packets that ask, the one after skip others: xt_statistic. */
__noinline int fw_nth(__u32 slot, __u64 every, __u64 skip)
{
	struct limit_state *limit = bpf_map_lookup_elem(&limits, &slot);
	__u64 n;

	if (!limit || !every)
		return 0;
	n = cfg_dry ? limit->tokens : count_up(&limit->tokens);
	return n % every == skip;
}

/* Reports 1 while the bytes of the packets that asked are within a quota. The first that is too much ends it: xt_quota. */
__noinline int fw_quota(__u32 slot, __u64 quota, __u32 length)
{
	struct limit_state *limit = bpf_map_lookup_elem(&limits, &slot);
	__u64 used;
	int ok;

	if (!limit)
		return 0;
	bpf_spin_lock(&limit->lock);
	used = limit->tokens;
	ok = used <= quota && length <= quota - used;
	if (!cfg_dry && ok)
		limit->tokens = used + length;
	else if (!cfg_dry && used < quota)
		limit->tokens = quota;
	bpf_spin_unlock(&limit->lock);
	return ok;
}

/* A token bucket of one CPU: rate a second, burst in units. */
static __always_inline int bucket_take(struct fw_bucket *b, __u32 rate, __u32 burst)
{
	__u64 now = bpf_ktime_get_ns(), cost = 1000000000ULL / (rate ?: 1), max = cost * burst;
	__u64 tokens = b->last ? b->tokens + (now - b->last) : max;

	if (tokens > max)
		tokens = max;
	b->last = now;
	b->tokens = tokens;
	if (tokens < cost)
		return 0;
	b->tokens = tokens - cost;
	return 1;
}

#endif
