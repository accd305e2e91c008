/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* The places of the compiled rules: the translator puts generated instructions in place of these bodies. */
#ifndef BPFWALL_HOOKS_H
#define BPFWALL_HOOKS_H

/*
 * What a stub does: accept. The asm hides the value and claims to write memory, so that clang neither folds the call away nor
 * keeps members of pkt in registers across it: the generated body does change them.
 */
static __always_inline int stub(struct fw_pkt *pkt)
{
	int verdict = FW_ACCEPT;

	if (!pkt)
		return FW_DROP;
	asm volatile("" : "+r"(verdict) : "r"(pkt) : "memory");
	return verdict;
}

__noinline int fw_prerouting(struct fw_pkt *pkt) { return stub(pkt); }
__noinline int fw_raw_output(struct fw_pkt *pkt) { return stub(pkt); }
__noinline int fw_input(struct fw_pkt *pkt) { return stub(pkt); }
__noinline int fw_forward(struct fw_pkt *pkt) { return stub(pkt); }
__noinline int fw_output(struct fw_pkt *pkt) { return stub(pkt); }
__noinline int fw_listen(struct fw_pkt *pkt) { return stub(pkt); }

static const struct meter no_meter;
static const struct recent no_recent;
volatile const __u8 cfg_never; /* always 0; the verifier's first pass does not know */

/* Links the helpers of generated code into each program, whether or not its rules call them. */
static __always_inline void keep_helpers(struct fw_pkt *pkt)
{
	if (cfg_never) {
		fw_log(pkt, 0);
		fw_limit(0, 0, 0);
		fw_nth(0, 0, 0);
		fw_quota(0, 0, 0);
		fw_recent(pkt, &no_recent);
		fw_meter(pkt, &no_meter);
	}
}

static __always_inline int verdict_kind(int verdict) { return verdict & 0xff; }
static __always_inline int verdict_reject(int verdict) { return verdict >> 8 & 0xff; }

#endif
