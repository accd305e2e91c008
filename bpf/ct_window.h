/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * TCP windows: is this segment one that its sender may send now? After van Rooij, "Real Stateful TCP Packet Filtering in
 * IP Filter", with the tolerance of nf_conntrack_proto_tcp.c. No helper calls here: the caller may hold a lock.
 */
#ifndef BPFWALL_CT_WINDOW_H
#define BPFWALL_CT_WINDOW_H

enum ct_side_flag {
	CT_SIDE_SCALE = 1,		/* offered window scaling */
	CT_SIDE_SACK = 2,		/* offered selective acknowledgement */
	CT_SIDE_CLOSES = 4,		/* sent the first FIN */
	CT_SIDE_LIBERAL = 8,		/* picked up in the middle: windows unknown */
	CT_SIDE_UNACKED = 16,		/* sent data that was not acknowledged yet */
	CT_SIDE_MAXACK = 32,		/* maxack is set */
	CT_LAST_CHALLENGE = 64,		/* last_flags: a challenge ACK is due */
	CT_LAST_SIMULTANEOUS = 128,	/* last_flags: both ends sent a SYN */
};

enum ct_result { CT_OK, CT_IGNORE, CT_INVALID, CT_KILL, CT_RESTART };

static __always_inline int before(__u32 a, __u32 b) { return (__s32)(a - b) < 0; }
static __always_inline int after(__u32 a, __u32 b) { return before(b, a); }

static __always_inline __u32 segment_end(const struct fw_pkt *pkt)
{
	return pkt->seq + pkt->payload + !!(pkt->tcp_flags & TCP_SYN) + !!(pkt->tcp_flags & TCP_FIN);
}

/* The options of a SYN. */
static __always_inline __u8 syn_options(const struct fw_pkt *pkt, __u8 *scale)
{
	*scale = pkt->tcp_offer & 15;
	return (pkt->tcp_offer & FW_OFFER_SCALE ? CT_SIDE_SCALE : 0) | (pkt->tcp_offer & FW_OFFER_SACK ? CT_SIDE_SACK : 0);
}

/* A SYN without any option leaves what an earlier one offered. */
static __always_inline void take_options(struct ct_side *snd, const struct fw_pkt *pkt)
{
	if (pkt->has_options)
		snd->flags = (snd->flags & CT_SIDE_LIBERAL) | syn_options(pkt, &snd->scale);
}

static __always_inline void init_sender(struct ct_side *snd, struct ct_side *rcv, const struct fw_pkt *pkt, const struct segment *s)
{
	snd->end = snd->maxend = s->end;
	snd->maxwin = s->win ?: 1;
	take_options(snd, pkt);
	if (s->dir && !(snd->flags & rcv->flags & CT_SIDE_SCALE)) /* RFC 7323 1.3: both or none */
		snd->scale = rcv->scale = 0;
}

/* First segment that is seen of this side and is no SYN: believe it. */
static __always_inline void adopt_sender(struct ct_side *snd, struct ct_side *rcv, const struct segment *s)
{
	snd->end = s->end;
	snd->maxwin = s->win << snd->scale ?: 1;
	snd->maxend = s->end + snd->maxwin;
	if (!rcv->maxwin)
		rcv->end = rcv->maxend = s->sack;
	else if (s->sack == rcv->end + 1)
		rcv->end++; /* answer to a keepalive */
}

/* A SYN sent again with a higher number starts the side afresh while nothing is established. */
static __always_inline int reopens(const struct ct_flow *f, const struct ct_side *snd, const struct segment *s)
{
	return (f->tcp_state == CT_SYN_SENT || f->tcp_state == CT_SYN_RECV) && after(s->end, snd->end);
}

/* Starts the tracking of a side. Reports 1 if there is nothing more to check. */
static __always_inline int start_side(struct ct_flow *f, struct ct_side *snd, struct ct_side *rcv, const struct fw_pkt *pkt,
				      const struct segment *s)
{
	__u16 flags = pkt->tcp_flags;

	if (!snd->maxwin && !(flags & TCP_SYN)) {
		adopt_sender(snd, rcv, s);
		return 0;
	}
	if (!snd->maxwin) {
		init_sender(snd, rcv, pkt, s);
		return !(flags & TCP_ACK); /* simultaneous open */
	}
	if (!(flags & TCP_SYN) || !reopens(f, snd, s))
		return 0;
	init_sender(snd, rcv, pkt, s);
	return s->dir && !(flags & TCP_ACK);
}

/* Segments whose numbers cannot be taken as they stand. */
static __always_inline void repair(const struct ct_flow *f, const struct ct_side *snd, const struct ct_side *rcv, __u16 flags,
				   struct segment *s)
{
	if (!(flags & TCP_ACK) || ((flags & TCP_RST) && !s->ack))
		s->ack = s->sack = rcv->end;
	if ((flags & TCP_RST) && !s->seq && f->tcp_state == CT_SYN_SENT)
		s->seq = s->end = snd->end; /* answer to a SYN */
}

/* The four bounds. */
static __always_inline enum ct_result check_bounds(struct ct_side *snd, const struct ct_side *rcv, const struct segment *s)
{
	__u32 ackwin = snd->maxwin > 66000 ? snd->maxwin : 66000; /* MAXACKWINDOW */
	__u32 overshot = s->end - snd->maxend + 1;
	int recv_ok = after(s->end, snd->end - rcv->maxwin - 1);
	int ack_ok = after(s->sack, rcv->end - ackwin - 1);

	if (!before(s->seq, snd->maxend + 1)) {
		if (!(rcv->maxwin && recv_ok && ack_ok && overshot <= rcv->maxwin && before(s->sack, rcv->end + 1)))
			return CT_INVALID;
		snd->end = s->end; /* more than the window, but the receiver may take it */
		snd->flags |= CT_SIDE_UNACKED;
		return CT_IGNORE;
	}
	if (!before(s->sack, rcv->end + 1))
		return CT_INVALID; /* acknowledges what was never sent */
	if (rcv->maxwin && !recv_ok)
		return CT_IGNORE; /* long acknowledged */
	return ack_ok ? CT_OK : CT_IGNORE;
}

static __always_inline void update_sides(struct ct_side *snd, struct ct_side *rcv, const struct fw_pkt *pkt, const struct segment *s)
{
	__u32 win = pkt->tcp_flags & TCP_SYN ? s->win : s->win << snd->scale;

	if (snd->maxwin < win + (s->sack - s->ack))
		snd->maxwin = win + (s->sack - s->ack);
	if (after(s->end, snd->end)) {
		snd->end = s->end;
		snd->flags |= CT_SIDE_UNACKED;
	}
	if ((pkt->tcp_flags & TCP_ACK) && (!(snd->flags & CT_SIDE_MAXACK) || after(s->ack, snd->maxack))) {
		snd->maxack = s->ack;
		snd->flags |= CT_SIDE_MAXACK;
	}
	if (rcv->maxwin && after(s->end, snd->maxend))
		rcv->maxwin += s->end - snd->maxend;
	if (after(s->sack + win, rcv->maxend - 1))
		rcv->maxend = s->sack + win + !win;
	if (s->ack == rcv->end)
		rcv->flags &= ~CT_SIDE_UNACKED;
}

static __always_inline void note_retransmission(struct ct_flow *f, const struct segment *s)
{
	if (f->last_dir == s->dir && f->last_seq == s->seq && f->last_ack == s->ack && f->last_end == s->end && f->last_win == s->win) {
		if (f->retrans < 255)
			f->retrans++;
		return;
	}
	f->last_dir = s->dir;
	f->last_seq = s->seq;
	f->last_ack = s->ack;
	f->last_end = s->end;
	f->last_win = s->win;
	f->retrans = 0;
}

/* Checks a segment and moves the windows. */
static __always_inline enum ct_result tcp_window(struct ct_flow *f, struct ct_side *snd, struct ct_side *rcv, const struct fw_pkt *pkt,
						 struct segment *s)
{
	enum ct_result rc;

	if (rcv->flags & CT_SIDE_SACK)
		s->sack = pkt->tcp_sack;
	if (start_side(f, snd, rcv, pkt, s))
		return CT_OK;
	repair(f, snd, rcv, pkt->tcp_flags, s);
	rc = check_bounds(snd, rcv, s);
	if (rc != CT_OK)
		return snd->flags & CT_SIDE_LIBERAL || cfg_tcp_liberal ? CT_OK : rc;
	update_sides(snd, rcv, pkt, s);
	if (s->index == CT_INDEX_ACK)
		note_retransmission(f, s);
	return CT_OK;
}

#endif
