/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* The kernel's work queues for BPF: what would hold up a timer's soft interrupt goes to a thread. */
#ifndef BPFWALL_WORK_QUEUE_H
#define BPFWALL_WORK_QUEUE_H

/* Whether there are any. User space takes out the calls of what there is not, as the verifier looks at them all. */
enum work_queue { WORK_NONE, WORK_AUX /* Linux 6.10 */, WORK_PLAIN /* Linux 7.0 */ };

volatile const __u8 in_thread; /* enum work_queue */

/* linux/bpf.h has it from 6.10 on. */
struct bpf_wq {
	__u64 opaque[2];
} __attribute__((aligned(8)));

typedef int (*work_fn)(void *map, int *key, void *value);

extern int bpf_wq_init(struct bpf_wq *wq, void *map, unsigned int flags) __ksym __weak;
extern int bpf_wq_start(struct bpf_wq *wq, unsigned int flags) __ksym __weak;
extern int bpf_wq_set_callback_impl(struct bpf_wq *wq, work_fn callback, unsigned int flags, void *aux) __ksym __weak;
extern int bpf_wq_set_callback(struct bpf_wq *wq, work_fn callback, unsigned int flags) __ksym __weak;

/* Reports anything but 0 if it cannot be had. */
#define prepare_work(wq, map, callback) \
	(bpf_wq_init(wq, map, 0) || \
	 (in_thread == WORK_AUX ? bpf_wq_set_callback_impl(wq, callback, 0, 0) : bpf_wq_set_callback(wq, callback, 0)))

#endif
