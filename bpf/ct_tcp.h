/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* TCP states: the transitions of nf_conntrack_proto_tcp.c as one table, and the cases that a table cannot tell apart. */
#ifndef BPFWALL_CT_TCP_H
#define BPFWALL_CT_TCP_H

enum ct_tcp_state {
	CT_NONE, CT_SYN_SENT, CT_SYN_RECV, CT_ESTABLISHED, CT_FIN_WAIT, CT_CLOSE_WAIT, CT_LAST_ACK, CT_TIME_WAIT, CT_CLOSE,
	CT_SYN_SENT2, CT_STATES,
};

enum ct_index { CT_INDEX_SYN, CT_INDEX_SYNACK, CT_INDEX_FIN, CT_INDEX_ACK, CT_INDEX_RST, CT_INDEX_NONE, CT_INDICES };

#include "ct_window.h"

/* Besides states: IG let through without a change, IV invalid. */
enum { NO, SS, SR, ES, FW, CW, LA, TW, CL, S2, IG, IV };

/* [reply][flags][state before]; more than there are, for the bounds */
static const __u8 tcp_next[2][8][16] = {
	{ /*           NO  SS  SR  ES  FW  CW  LA  TW  CL  S2 */
	/* syn    */ { SS, SS, IG, IG, IG, IG, IG, SS, SS, S2 },
	/* synack */ { IV, IV, SR, IV, IV, IV, IV, IV, IV, SR },
	/* fin    */ { IV, IV, FW, FW, LA, LA, LA, TW, CL, IV },
	/* ack    */ { ES, IV, ES, ES, CW, CW, TW, TW, CL, IV },
	/* rst    */ { IV, CL, CL, CL, CL, CL, CL, CL, CL, CL },
	/* none   */ { IV, IV, IV, IV, IV, IV, IV, IV, IV, IV },
	},
	{ /*           NO  SS  SR  ES  FW  CW  LA  TW  CL  S2 */
	/* syn    */ { IV, S2, IV, IV, IV, IV, IV, SS, IV, S2 },
	/* synack */ { IV, SR, IG, IG, IG, IG, IG, IG, IG, SR },
	/* fin    */ { IV, IV, FW, FW, LA, LA, LA, TW, CL, IV },
	/* ack    */ { IV, IG, SR, ES, CW, CW, TW, TW, CL, IG },
	/* rst    */ { IV, CL, CL, CL, CL, CL, CL, CL, CL, CL },
	/* none   */ { IV, IV, IV, IV, IV, IV, IV, IV, IV, IV },
	},
};

/* The sets of FIN SYN RST ACK URG that have a meaning, as bits numbered by the flag byte. PSH, ECE and CWR do not count. */
#define FLAG_SET(flags) (1ULL << (flags))
#define VALID_FLAGS (FLAG_SET(TCP_SYN) | FLAG_SET(TCP_SYN | TCP_URG) | FLAG_SET(TCP_SYN | TCP_ACK) | FLAG_SET(TCP_RST) | \
	FLAG_SET(TCP_RST | TCP_ACK) | FLAG_SET(TCP_FIN | TCP_ACK) | FLAG_SET(TCP_FIN | TCP_ACK | TCP_URG) | FLAG_SET(TCP_ACK) | \
	FLAG_SET(TCP_ACK | TCP_URG))

static __always_inline int tcp_flags_valid(__u16 flags)
{
	return VALID_FLAGS >> (flags & (TCP_FIN | TCP_SYN | TCP_RST | TCP_ACK | TCP_URG)) & 1;
}

/* By the sets of FIN SYN RST PSH ACK. A table, so that the verifier follows one segment, not one of each kind. */
#define INDEX(f) ((f) & TCP_RST ? CT_INDEX_RST : \
	(f) & TCP_SYN ? ((f) & TCP_ACK ? CT_INDEX_SYNACK : CT_INDEX_SYN) : \
	(f) & TCP_FIN ? CT_INDEX_FIN : (f) & TCP_ACK ? CT_INDEX_ACK : CT_INDEX_NONE)
#define INDEX_4(f) INDEX(f), INDEX((f) + 1), INDEX((f) + 2), INDEX((f) + 3)
#define INDEX_16(f) INDEX_4(f), INDEX_4((f) + 4), INDEX_4((f) + 8), INDEX_4((f) + 12)

static const __u8 tcp_indices[32] = { INDEX_16(0), INDEX_16(16) };

static __always_inline __u8 tcp_index(__u16 flags)
{
	__u32 index = tcp_indices[flags & 31];

	asm volatile("" : "+r"(index)); /* clang knows what is in the table, the verifier does not */
	return index;
}

static __always_inline __u8 tcp_transition(__u8 dir, __u8 index, __u8 state)
{
	return tcp_next[dir & 1][index & 7][state & 15];
}

/* The state that a segment leads to. */
static __always_inline __u8 read_segment(struct segment *s, const struct fw_pkt *pkt, __u8 dir, __u8 state)
{
	__u8 index = tcp_index(pkt->tcp_flags);

	*s = (struct segment){ pkt->seq, segment_end(pkt), pkt->ack, pkt->ack, pkt->wnd, index, dir };
	return tcp_transition(dir, index, state);
}

/* The entry of a first segment, which is a SYN or, if loose, an ACK. Reports whether there is to be one. */
static __always_inline int tcp_open(struct ct_flow *f, const struct fw_pkt *pkt, struct segment *s)
{
	__u8 next = read_segment(s, pkt, 0, CT_NONE);
	struct ct_side *snd = &f->side[0], *rcv = &f->side[1];

	if (next == IV || (next != SS && !cfg_tcp_loose && !pkt->cookie))
		return 0;
	snd->end = snd->maxend = s->end;
	snd->maxwin = s->win ?: 1;
	f->last_index = s->index;
	f->tcp_state = next;
	if (next == SS) {
		snd->flags = syn_options(pkt, &snd->scale);
		return 1;
	}
	snd->maxend += snd->maxwin;
	snd->flags = rcv->flags = CT_SIDE_SACK | CT_SIDE_LIBERAL;
	tcp_window(f, snd, rcv, pkt, s);
	return 1;
}

/* We closed it, or the last thing from this side was a RST: a SYN starts a new connection, RFC 9293 3.6.1. */
static __always_inline int tcp_reincarnates(const struct ct_flow *f, __u8 dir)
{
	return ((f->side[0].flags | f->side[1].flags) & CT_SIDE_CLOSES) || (f->last_dir == dir && f->last_index == CT_INDEX_RST);
}

/* A SYN/ACK that acknowledges a SYN which we let through: the ends agree, we follow them. */
static __always_inline int tcp_resync(struct ct_flow *f, struct ct_side *snd, struct ct_side *rcv, const struct fw_pkt *pkt,
				      const struct segment *s)
{
	__u8 liberal = snd->flags & CT_SIDE_LIBERAL;

	if (s->index != CT_INDEX_SYNACK || f->last_index != CT_INDEX_SYN || f->last_dir == s->dir || pkt->ack != f->last_end)
		return 0;
	rcv->end = rcv->maxend = f->last_end;
	rcv->maxwin = f->last_win ?: 1;
	rcv->scale = f->last_scale;
	f->last_flags &= ~CT_LAST_CHALLENGE;
	rcv->flags = f->last_flags;
	__builtin_memset(snd, 0, sizeof(*snd));
	snd->flags = liberal;
	return 1;
}

/* Lets a segment through and keeps what it would have said, should the other end agree with it. */
static __always_inline enum ct_result tcp_ignore(struct ct_flow *f, const struct fw_pkt *pkt, const struct segment *s)
{
	f->last_index = s->index;
	f->last_dir = s->dir;
	f->last_seq = pkt->seq;
	f->last_end = s->end;
	f->last_win = pkt->wnd;
	if (s->index == CT_INDEX_SYN && !s->dir) {
		f->last_flags = syn_options(pkt, &f->last_scale);
		if (f->tcp_state == CT_LAST_ACK)
			f->last_flags |= CT_LAST_CHALLENGE;
	}
	if (f->tcp_state == CT_SYN_SENT && s->index == CT_INDEX_ACK && s->dir)
		f->last_ack = pkt->ack; /* perhaps a challenge ACK */
	return CT_IGNORE;
}

/* What a RST may do: RST_CHECK its window too, RST_CLOSE without, RST_KEEP check but keep the state, RST_BAD nothing. */
enum rst { RST_CHECK, RST_CLOSE, RST_KEEP, RST_BAD };

static __always_inline enum rst tcp_rst(const struct ct_flow *f, const struct ct_side *rcv, const struct fw_pkt *pkt, __u8 dir)
{
	enum rst rc = RST_CHECK;
	int established = f->tcp_state == CT_ESTABLISHED && (f->flags & CT_FLOW_ASSURED);
	int syn_or_ack = ((f->flags & CT_FLOW_SEEN_REPLY) && f->last_index == CT_INDEX_SYN && f->last_dir != dir) ||
			 (!(f->flags & CT_FLOW_ASSURED) && f->last_index == CT_INDEX_ACK);

	if (f->tcp_state >= CT_FIN_WAIT && f->tcp_state <= CT_CLOSE)
		return RST_CLOSE; /* the ends may already be further on */
	if ((rcv->flags & CT_SIDE_MAXACK) && f->last_index != CT_INDEX_SYN) {
		if (!pkt->seq && !established)
			return RST_CHECK;
		if (before(pkt->seq, rcv->maxack))
			return RST_BAD;
		if (!established || pkt->seq == rcv->maxack)
			return RST_CHECK;
		if (f->last_index == CT_INDEX_ACK && f->last_dir == dir && pkt->seq == f->last_end)
			return RST_CHECK; /* follows its own data */
		rc = RST_KEEP; /* RFC 5961 3.2: draws a challenge ACK */
	}
	if (f->tcp_state == CT_SYN_SENT && f->last_index == CT_INDEX_ACK && f->last_dir && pkt->seq == f->last_ack)
		return RST_CLOSE; /* answers a challenge ACK */
	return syn_or_ack && pkt->ack == f->last_end ? (rc == RST_KEEP ? RST_KEEP : RST_CLOSE) : rc;
}

/* Seconds until the entry expires, unless something happens. */
static __always_inline __u32 tcp_timeout(const struct ct_flow *f, __u8 index)
{
	__u32 t = seconds(f->tcp_state);
	__u8 flags = f->side[0].flags | f->side[1].flags;

	if (f->retrans >= 3 && t > seconds(CT_TIME_MAX_RETRANS))
		return seconds(CT_TIME_MAX_RETRANS);
	if (index == CT_INDEX_RST)
		return seconds(CT_CLOSE);
	if ((flags & CT_SIDE_UNACKED) && t > seconds(CT_TIME_UNACK))
		return seconds(CT_TIME_UNACK);
	if (!f->last_win && t > seconds(CT_TIME_MAX_RETRANS))
		return seconds(CT_TIME_MAX_RETRANS);
	return t;
}

/* The same while there is no answer: what was picked up in the middle does not stay for days. */
static __always_inline __u32 tcp_lone_timeout(const struct ct_flow *f, __u8 index)
{
	__u32 t = tcp_timeout(f, index);

	return f->tcp_state == CT_ESTABLISHED && t > seconds(CT_TIME_UNACK) ? seconds(CT_TIME_UNACK) : t;
}

/* The segment is good: new state, timeout, assurance. */
static __always_inline enum ct_result tcp_commit(struct ct_flow *f, __u8 dir, __u8 index, __u8 next, __u64 now)
{
	__u8 old = f->tcp_state;
	__u32 t;

	f->last_index = index;
	f->last_dir = dir;
	f->tcp_state = next;
	if (old != next && next == CT_FIN_WAIT)
		f->side[dir & 1].flags |= CT_SIDE_CLOSES;
	t = f->flags & CT_FLOW_SEEN_REPLY ? tcp_timeout(f, index) : tcp_lone_timeout(f, index);
	if (!(f->flags & CT_FLOW_SEEN_REPLY)) {
		if (index == CT_INDEX_RST)
			return CT_KILL;
		if (index == CT_INDEX_SYN && old == CT_SYN_SENT)
			return CT_IGNORE; /* a SYN sent again buys no time */
	} else if ((old == CT_SYN_RECV || old == CT_ESTABLISHED) && next == CT_ESTABLISHED) {
		f->flags |= CT_FLOW_ASSURED;
	}
	f->expires = now + t * 1000000000ULL;
	return CT_OK;
}

/*
 * A FIN or RST outside of the windows: the ends and we may be out of step. After one from each end the entry does not stay for
 * days.
 */
static __always_inline void tcp_out_of_window(struct ct_flow *f, __u8 dir, __u8 index, __u64 now)
{
	__u64 soon = now + seconds(CT_TIME_UNACK) * 1000000000ULL;

	if (!(f->flags & CT_FLOW_ASSURED) || (index != CT_INDEX_RST && index != CT_INDEX_FIN))
		return;
	if (f->last_dir == dir || (f->last_index != CT_INDEX_FIN && f->last_index != CT_INDEX_RST)) {
		f->last_index = index;
		f->last_dir = dir;
	} else if (f->expires > soon && f->expires >= now + 120 * 1000000000ULL) { /* as nf_tcp_handle_invalid */
		f->expires = soon;
	}
}

/* Moves a connection on by one segment. No helper calls: the caller may hold a lock. */
static __always_inline enum ct_result tcp_packet(struct ct_flow *f, const struct fw_pkt *pkt, struct segment *s, __u8 dir, __u64 now)
{
	struct ct_side *snd = &f->side[dir & 1], *rcv = &f->side[~dir & 1];
	__u8 next = read_segment(s, pkt, dir, f->tcp_state);
	enum rst rst = RST_CHECK;
	enum ct_result rc;

	if (next == IV)
		return CT_INVALID;
	if (next == SS && f->tcp_state >= CT_TIME_WAIT) {
		if (tcp_reincarnates(f, dir))
			return CT_RESTART;
		next = IG;
	}
	if (next == IG) {
		if (!tcp_resync(f, snd, rcv, pkt, s))
			return tcp_ignore(f, pkt, s);
		next = SR;
	}
	if (next == TW && f->tcp_state == CT_LAST_ACK && s->index == CT_INDEX_ACK && f->last_dir != dir &&
	    f->last_index == CT_INDEX_SYN && (f->last_flags & CT_LAST_CHALLENGE)) {
		f->last_flags &= ~CT_LAST_CHALLENGE;
		return CT_IGNORE; /* RFC 5961 4.2: answers the SYN, not the FIN */
	}
	if (next == S2)
		f->last_flags |= CT_LAST_SIMULTANEOUS;
	if (next == SR && dir && s->index == CT_INDEX_ACK && (f->last_flags & CT_LAST_SIMULTANEOUS))
		next = ES;
	if (s->index == CT_INDEX_RST && next == CL)
		rst = tcp_rst(f, rcv, pkt, dir);
	if (rst == RST_BAD)
		return CT_INVALID;
	s->next = rst == RST_KEEP ? f->tcp_state : next;
	if (rst != RST_CLOSE) {
		seen_as_one();
		rc = tcp_window(f, snd, rcv, pkt, s);
		if (rc == CT_INVALID)
			tcp_out_of_window(f, s->dir, s->index, now);
		if (rc != CT_OK)
			return rc;
	}
	seen_as_one();
	return tcp_commit(f, s->dir, s->index, s->next, now);
}

#endif
